"""Random sets of sites like a given one: same kinds, near in activation."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lashley.core.errors import BadSite
from lashley.core.run import Run
from lashley.core.site import Kind, Site

if TYPE_CHECKING:
    import pandas as pd

NEAREST = 64  # units of nearest magnitude that the peers of a set are drawn from, at least
PATIENCE = 200  # draws in a row that bring no new set, after which all sets are looked through
MANY = 5_000  # sets that are looked through
ENOUGH = 40  # units of a kind in one layer; where there are fewer, peers come from all layers

Magnitudes = Mapping[tuple[int, Kind], np.ndarray]


def fits(run: Run, sites: Iterable[Site]) -> bool:
    """Whether a run has every role and position that a set names."""
    try:
        return all(run.resolve(site) for site in sites)
    except BadSite:
        return False


def matched(
    sites: Sequence[Site],
    magnitudes: Magnitudes,
    count: int,
    seed: str,
    anywhere: bool = False,
    last: Iterable[Site] = (),
) -> list[tuple[Site, ...]]:
    """At most `count` random sets of the same kinds and positions, each unit of the same layer and near its original
    in mean activation. `anywhere`: where a layer has fewer than `ENOUGH` units of the kind, units of all layers count.

    No set comes twice, in whatever order its units were drawn: where fewer are given than asked for, no more exist.
    `last`: units that are taken only where the others are fewer than `count`.
    Of a whole sub-layer the peers are those of the other layers that `magnitudes` has. () where too few are left.
    """
    near = {_own(s): _near(s, sites, magnitudes, anywhere) for s in sites}
    named = {_own(s) for s in last}
    if all(len([u for u in others if u not in named]) >= max(count, len(near)) for others in near.values()):
        near = {own: [u for u in others if u not in named] for own, others in near.items()}
    draw = random.Random(seed)
    if len(near) == 1:
        (others,) = near.values()
        pool = others[: max(5 * count // 4, NEAREST)]
        return [tuple(Site(*u, s.position) for s in sites) for u in draw.sample(pool, min(count, len(pool)))]
    return _distinct(sites, near, count, draw)


def different(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of random sets (one a `trial`, named in `site`), each set once: studies of earlier versions hold sets
    that were drawn twice, which are one control and not two. Sets too large to be spelled out are told by their trial.
    """
    first = rows.drop_duplicates("trial")
    sets = {t: tuple(sorted(set(str(s).split("+")))) for t, s in zip(first["trial"], first["site"], strict=True)}
    sets = {t: (*parts, str(t)) if any(p.startswith("…") for p in parts) else parts for t, parts in sets.items()}
    kept = {parts: t for t, parts in reversed(sets.items())}
    return rows[rows["trial"].isin(kept.values())]


def alike(table: np.ndarray, sizes: np.ndarray, units: Sequence[int], draw: random.Random) -> tuple[int, ...] | None:
    """For each of some units another, none twice and none of them: of the same kind, near in `sizes` [units], and of
    the same layer where that has `ENOUGH` units. None where too few are left. `table` begins with rows layer and kind.
    """
    logs, taken = np.log(sizes + 1e-12), set(units)
    peers: list[int] = []
    for u in units:
        pool = np.flatnonzero((table[:2] == table[:2, u, None]).all(0))
        if len(pool) < ENOUGH:
            pool = np.flatnonzero(table[1] == table[1, u])
        near = pool[np.argsort(np.abs(logs[pool] - logs[u]), kind="stable")]
        free = [v for v in near[: NEAREST + len(taken)].tolist() if v not in taken][:NEAREST]
        if not free:
            return None
        peers.append(draw.choice(free))
        taken.add(peers[-1])
    return tuple(peers)


Unit = tuple[int, Kind, int | None]


def _own(site: Site) -> Unit:
    return site.layer, site.kind, site.unit


def _near(site: Site, sites: Sequence[Site], magnitudes: Magnitudes, anywhere: bool) -> list[Unit]:
    """Other units, nearest in magnitude first."""
    taken = {_own(s) for s in sites}
    here = (site.layer, site.kind)
    if site.unit is None:
        layers = sorted(layer for layer, kind in magnitudes if kind == site.kind)
        other: list[Unit] = [(layer, site.kind, None) for layer in layers]
        return [u for u in other if u not in taken]
    wide = anywhere and len(magnitudes[here]) < ENOUGH
    places = sorted(p for p in magnitudes if p[1] == site.kind) if wide else [here]
    sizes = np.log(np.concatenate([magnitudes[p] for p in places]) + 1e-12)
    units: list[Unit] = [(layer, kind, u) for layer, kind in places for u in range(len(magnitudes[layer, kind]))]
    order = np.argsort(np.abs(sizes - np.log(magnitudes[here][site.unit] + 1e-12)), kind="stable")
    return [units[i] for i in order.tolist() if units[i] not in taken]


def _distinct(
    sites: Sequence[Site], near: Mapping[Unit, list[Unit]], count: int, draw: random.Random
) -> list[tuple[Site, ...]]:
    """At most `count` sets, no two of the same sites: drawn one after another while that brings new ones, and chosen
    among all that exist where they are few."""
    found: dict[frozenset[Site], tuple[Site, ...]] = {}
    misses = 0
    while len(found) < count and misses < PATIENCE:
        if not (peers := _together(near, draw)):
            return []
        made = tuple(Site(*peers[_own(s)], s.position) for s in sites)
        misses = misses + 1 if frozenset(made) in found else 0
        found.setdefault(frozenset(made), made)
    if len(found) < count and (every := _every(sites, near)):
        found = dict(draw.sample(list(every.items()), min(count, len(every))))
    return list(found.values())


def _every(sites: Sequence[Site], near: Mapping[Unit, list[Unit]]) -> dict[frozenset[Site], tuple[Site, ...]]:
    """All sets that `_together` can make; {} where they are more than `MANY`, or pass through as many."""
    places = {own: [s.position for s in sites if _own(s) == own] for own in near}
    made: dict[frozenset[Site], dict[Unit, Unit]] = {frozenset(): {}}
    for unit, others in near.items():
        longer: dict[frozenset[Site], dict[Unit, Unit]] = {}
        for key, peers in made.items():
            for u in [u for u in others if u not in peers.values()][:NEAREST]:
                longer.setdefault(key.union(Site(*u, at) for at in places[unit]), {**peers, unit: u})
            if len(longer) > MANY:
                return {}
        made = longer
    return {key: tuple(Site(*peers[_own(s)], s.position) for s in sites) for key, peers in made.items()}


def _together(near: Mapping[Unit, list[Unit]], draw: random.Random) -> dict[Unit, Unit]:
    """For each unit another, no two the same; {} where they do not suffice."""
    peers: dict[Unit, Unit] = {}
    for unit, others in near.items():
        free = [u for u in others if u not in peers.values()][:NEAREST]
        if not free:
            return {}
        peers[unit] = draw.choice(free)
    return peers
