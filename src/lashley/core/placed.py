"""Where sets of sites lie in a prompt."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from lashley.core.run import Run
from lashley.core.site import KINDS, Site, Sites

Spot = tuple[int, int, int, int]  # layer, number of its kind, unit (-1: none), position
WHOLE = {KINDS.index("head"): KINDS.index("attn"), KINDS.index("neuron"): KINDS.index("mlp")}  # what units are part of


def placed(run: Run, sets: Sequence[Sequence[Site]], edits: Mapping[Site, int] | None = None) -> Sites:
    """Site sets with roles replaced by a run's positions; in columns, for there may be 100,000. Raises `BadSite`.

    What a set names twice, or within what it names as well (a neuron of its MLP, a position of all), is there once:
    `L0.mlp`, of `L0.mlp+L0.mlp@final+L0.mlp.n3`. `edits` are the numbers of the sites' edits (default: all 0).
    """
    spots: dict[object, list[int]] = {None: [Sites.ALL]}
    for site in {s.position: s for sites in sets for s in sites if s.position is not None}.values():
        spots[site.position] = [int(s.position) for s in run.resolve(site)]  # pyright: ignore[reportArgumentType]
    flat: list[tuple[int, ...]] = []
    sizes: list[int] = []
    for sites in sets:
        own: dict[Spot, int] = {}
        for s in sites:
            place = s.layer, KINDS.index(s.kind), -1 if s.unit is None else s.unit
            for at in spots[s.position]:
                own.setdefault((*place, at), edits[s] if edits else 0)
        kept = own if len(own) == 1 else [spot for spot in own if not _within(spot, own)]
        flat += [(*spot, own[spot]) for spot in kept]
        sizes.append(len(kept))
    return Sites.pack(*np.array(flat, np.int32).T, sizes=sizes)


def _within(spot: Spot, own: Collection[Spot]) -> bool:
    """Whether a set names a larger site that holds this one."""
    layer, kind, unit, at = spot
    larger = [(layer, kind, unit, Sites.ALL)]
    if kind in WHOLE:
        larger += [(layer, WHOLE[kind], -1, at), (layer, WHOLE[kind], -1, Sites.ALL)]
    return any(other in own for other in larger if other != spot)
