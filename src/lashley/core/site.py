"""Where in a model: canonical addresses that round-trip as text, and compact tables of them.

L7.resid            the residual stream entering layer 7 (L0.resid: embeddings as layer 0 receives them)
L7.attn  L7.mlp     what the sub-layer adds to the residual stream, after a post-norm where there is one
L7.attn.h3          query head 3's slice of the input of the attention's output projection (hook_z)
L7.mlp.n173         the 173rd input of the MLP's output projection (hook_post)
...@subject_last    one position, by role or by index (beginning-of-text is 0; -1 is the last);
                    without @: every position, beginning-of-text included
A+B                 several sites, edited together
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from lashley.core.errors import BadSite

Kind = Literal["resid", "attn", "mlp", "head", "neuron"]
KINDS: tuple[Kind, ...] = ("resid", "attn", "mlp", "head", "neuron")
ROLES = ("begin", "subject_first", "subject_middle", "subject_last", "relation", "final")

_STEM: dict[Kind, str] = {"resid": "resid", "attn": "attn", "mlp": "mlp", "head": "attn.h", "neuron": "mlp.n"}
_SITE = re.compile(r"L(\d+)\.(resid|attn\.h(\d+)|mlp\.n(\d+)|attn|mlp)(?:@(-?\d+|[a-z_]+))?")
_ALIAS = re.compile(r"blocks\.(\d+)\.([a-z_.]+?)(?:\[(\d+)\])?(?:@(-?\d+|[a-z_]+))?")
_ALIASES: dict[str, tuple[Kind, int]] = {  # TransformerLens name -> kind, layers to add
    "hook_resid_pre": ("resid", 0),
    "hook_resid_post": ("resid", 1),
    "hook_attn_out": ("attn", 0),
    "hook_mlp_out": ("mlp", 0),
    "attn.hook_z": ("head", 0),
    "mlp.hook_post": ("neuron", 0),
}


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
        word = text.strip()
        if word == "hook_embed":
            return cls(0, "resid")
        if m := _SITE.fullmatch(word):
            layer, stem, head, neuron, at = m.groups()
            kind: Kind = "head" if head else "neuron" if neuron else stem  # pyright: ignore[reportAssignmentType]
            unit = head or neuron
        elif (m := _ALIAS.fullmatch(word)) and m[2] in _ALIASES:
            layer, name, unit, at = m.groups()
            kind, shift = _ALIASES[name]
            layer = int(layer) + shift
            if (unit is None) == (kind in ("head", "neuron")):
                raise BadSite(f"site {text!r}: write {name}[UNIT] for heads and neurons, and no [UNIT] elsewhere")
        else:
            raise BadSite(
                f"site {text!r} does not parse; write L7.resid, L7.attn, L7.mlp, L7.attn.h3 or L7.mlp.n173, "
                "with @subject_last or @-1 for one position, and + between several"
            )
        return cls(int(layer), kind, None if unit is None else int(unit), _position(at, text))

    def __str__(self) -> str:
        unit = "" if self.unit is None else self.unit
        at = "" if self.position is None else f"@{self.position}"
        return f"L{self.layer}.{_STEM[self.kind]}{unit}{at}"


def _position(at: str | None, text: str) -> int | str | None:
    if at is None:
        return None
    if at.lstrip("-").isdigit():
        return int(at)
    if at not in ROLES and at != "subject":
        raise BadSite(f"site {text!r}: no role {at!r}; roles are {', '.join(ROLES)}, subject, or write an index")
    return at


def parse_sites(text: str) -> tuple[Site, ...]:
    """A set of sites joined with `+`, sorted, without repetitions."""
    return tuple(sorted({Site.parse(part) for part in text.split("+")}, key=str))


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
            Site(int(la), KINDS[k], None if u < 0 else int(u), None if p == self.ALL else int(p))
            for la, k, u, p, _ in self.table[:, a:b].T
        )

    def __iter__(self) -> Iterator[tuple[Site, ...]]:
        return (self[i] for i in range(len(self)))
