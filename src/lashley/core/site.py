"""Where in a model: canonical addresses that round-trip as text, and compact tables of them.

L7.resid            the residual stream entering layer 7 (L0.resid: embeddings as layer 0 receives them)
L7.attn  L7.mlp     what the sub-layer adds to the residual stream, after a post-norm where there is one
L7.attn.h3          query head 3's slice of the input of the attention's output projection (hook_z)
L7.mlp.n173         the 173rd input of the MLP's output projection (hook_post)
...@subject_last    one position, by role or by index (beginning-of-text is 0; -1 is the last);
                    without @: every position, beginning-of-text included
A+B                 several sites, edited together; so are lists: L7.attn.h0,2,5  L3.mlp.n1-20  L3-5.mlp  L7.attn.h*
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, product
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from lashley.core import address
from lashley.core.address import FORMS, KINDS, ROLES, Address, Kind, Span
from lashley.core.errors import BadSite

if TYPE_CHECKING:
    from lashley.core.anatomy import Anatomy

__all__ = ["KINDS", "ROLES", "Kind", "Site", "Sites", "brief", "parse_sites"]


class Site(msgspec.Struct, frozen=True, order=True):
    """One place in a model. `unit` is the head or neuron; `position` an index, a role, or None for all.

    >>> str(Site.parse("L7.attn.h3@subject_last"))
    'L7.attn.h3@subject_last'
    >>> str(Site.parse("blocks.7.hook_resid_post"))
    'L8.resid'
    """

    layer: int
    kind: Kind
    unit: int | None = None
    position: int | str | None = None

    @classmethod
    def parse(cls, text: str) -> Site:
        """Read one address, canonical or TransformerLens'. Raises `BadSite`."""
        found = _expanded(text, None)
        if len(found) != 1:
            raise BadSite(f"site {address.shown(text)} is {len(found)} sites; write one, as {FORMS['neuron'].example}")
        return found[0]

    def __str__(self) -> str:
        unit = "" if self.unit is None else self.unit
        at = "" if self.position is None else f"@{self.position}"
        return f"L{self.layer}.{FORMS[self.kind].stem}{unit}{at}"


def parse_sites(text: str, anatomy: Anatomy | None = None) -> tuple[Site, ...]:
    """A set of sites joined with `+`, commas or blanks, perhaps with lists, sorted, without repetitions.

    What the model has is known from its `anatomy`; without it, a `*` is refused. Raises `BadSite`.

    >>> list(map(str, parse_sites("L3-4.mlp, L7.attn.h0,2@final")))
    ['L3.mlp', 'L4.mlp', 'L7.attn.h0@final', 'L7.attn.h2@final']
    """
    return tuple(sorted({site for word in address.words(text) for site in _expanded(word, anatomy)}, key=str))


def brief(sites: Iterable[Site]) -> str:
    """Sites joined with `+` as `parse_sites` reads them, three or more units that follow each other as a range.

    >>> brief(parse_sites("L3.mlp.n1-20, L3.mlp.n30-31, L2.attn"))
    'L2.attn+L3.mlp.n1-20+L3.mlp.n30+L3.mlp.n31'
    """
    groups: dict[tuple[int, Kind, int | str | None], list[Site]] = {}
    for site in sites:
        groups.setdefault((site.layer, site.kind, site.position), []).append(site)
    parts: list[str] = []
    for group in groups.values():
        numbered = enumerate(sorted(group, key=lambda s: s.unit or 0))
        for _, each in groupby(numbered, lambda pair: (pair[1].unit or 0) - pair[0]):
            first, *others = (site for _, site in each)
            if first.unit is not None and len(others) > 1:
                whole, *at = str(first).split("@")
                parts.append("@".join([f"{whole}-{others[-1].unit}", *at]))
            else:
                parts += map(str, [first, *others])
    return "+".join(parts)


def _expanded(text: str, anatomy: Anatomy | None) -> list[Site]:
    """The sites of one address."""
    found = address.read(text)
    if found.open and anatomy is None:
        raise BadSite(f"site {address.shown(text)}: how many * are depends on the model; write numbers here")
    layers, units = _spans(found, anatomy)
    size = sum(b - a + 1 for a, b in layers) * (sum(b - a + 1 for a, b in units) or 1)
    if size > address.MOST:
        raise BadSite(
            f"site {address.shown(text)} is {size:,} sites, more than {address.MOST:,}; write fewer units, or whole "
            "sub-layers, as L7.mlp"
        )
    numbers = [n for a, b in units for n in range(a, b + 1)] or [None]
    every = product((layer for a, b in layers for layer in range(a, b + 1)), numbers)
    return [Site(layer, found.kind, unit, found.position) for layer, unit in every]


def _spans(found: Address, anatomy: Anatomy | None) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Layers and units, with all that the model has in place of a star."""
    layers, units = found.layers, found.units
    if found.open and anatomy is not None:
        anatomy.check(Site(0, found.kind))
    if anatomy is not None and layers is None:
        layers = ((0, anatomy.layers - (found.kind != "resid")),)
    if anatomy is not None and units is None:
        units = ((0, anatomy.units(found.kind) - 1),)
    assert layers is not None and units is not None
    return layers, units


class Sites(msgspec.Struct, frozen=True):
    """A table of site sets, one set a trial, held as columns: a million trials are a few megabytes.

    Positions are resolved: an index from 0, or `ALL`. `edit` picks one of the sweep's edits for each site,
    so that one trial can, say, patch one site and freeze another.
    """

    offsets: bytes  # int64 [trials + 1]: sites of trial i are offsets[i]:offsets[i + 1]
    columns: bytes  # int32 [5, sites]: layer, kind, unit (-1: none), position, edit

    ALL = -(2**31)

    @classmethod
    def pack(
        cls,
        layer: ArrayLike,
        kind: ArrayLike,
        unit: ArrayLike = -1,
        position: ArrayLike = ALL,
        edit: ArrayLike = 0,
        *,
        sizes: ArrayLike | None = None,
    ) -> Sites:
        """From columns (broadcast against each other); `sizes[i]` sites form trial i (default: one each)."""
        columns = np.stack(np.broadcast_arrays(*(np.asarray(c, np.int32) for c in (layer, kind, unit, position, edit))))
        columns = np.ascontiguousarray(columns.reshape(5, -1))
        sizes = np.ones(columns.shape[1], np.int64) if sizes is None else np.asarray(sizes, np.int64)
        assert sizes.sum() == columns.shape[1] and (sizes > 0).all()
        return cls(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64).tobytes(), columns.tobytes())

    @classmethod
    def of(cls, trials: Iterable[Sequence[Site]]) -> Sites:
        """From site sets whose positions are indices from 0, or None."""
        sets = [tuple(s) for s in trials]
        flat = [site for sites in sets for site in sites]
        if bad := next((s for s in flat if isinstance(s.position, str) or (s.position or 0) < 0), None):
            raise BadSite(f"site {bad} has no resolved position; call Run.resolve first")
        return cls.pack(
            [s.layer for s in flat],
            [KINDS.index(s.kind) for s in flat],
            [-1 if s.unit is None else s.unit for s in flat],
            [cls.ALL if s.position is None else s.position for s in flat],
            sizes=[len(s) for s in sets],
        )

    def __len__(self) -> int:
        return len(self.offsets) // 8 - 1

    @property
    def bounds(self) -> np.ndarray:
        """Offsets, int64 [trials + 1]."""
        return np.frombuffer(self.offsets, np.int64)

    @property
    def table(self) -> np.ndarray:
        """Columns layer, kind, unit, position, edit as int32 [5, sites]."""
        return np.frombuffer(self.columns, np.int32).reshape(5, -1)

    def only(self, trial: int) -> Sites:
        """The table of one trial."""
        a, b = self.bounds[trial : trial + 2]
        return Sites.pack(*self.table[:, a:b], sizes=[b - a])

    def __getitem__(self, trial: int) -> tuple[Site, ...]:
        if not 0 <= trial < len(self):
            raise IndexError(f"trial {trial} of {len(self)}")
        a, b = self.bounds[trial : trial + 2]
        return tuple(
            Site(int(la), KINDS[int(k)], None if u < 0 else int(u), None if p == self.ALL else int(p))
            for la, k, u, p, _ in self.table[:, a:b].T
        )

    def __iter__(self) -> Iterator[tuple[Site, ...]]:
        return (self[i] for i in range(len(self)))
