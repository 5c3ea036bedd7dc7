"""What edits write: per layer and kind, which values go to which tokens of which rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from lashley.core.edit import Add, Block, Constant, Edit, Identity, Mean, Noise, Patch, ProjectOut, Resample, Zero
from lashley.core.run import Run
from lashley.core.site import KINDS, Kind
from lashley.core.trial import Sweep
from lashley.engine.attention import Blocked
from lashley.engine.capture import Captures
from lashley.engine.planner import Rows
from lashley.engine.readouts import extend
from lashley.engine.written import field

Where = tuple[int, Kind]


@dataclass(frozen=True)
class Op:
    """Replace, add to, or project a vector out of activations, at some tokens and units.

    `heads` is how many units the site's width splits into (0: none); `unit` one index an edit, or None.
    """

    heads: int
    unit: Tensor | None
    value: Tensor | float
    mode: str = "set"

    def __call__(self, flat: Tensor, at: Tensor) -> None:
        """Change flat [tokens, width] in place at the tokens `at` [edits]."""
        x = flat.unflatten(-1, (self.heads, -1)) if self.heads else flat
        where = (at,) if self.unit is None else (at, self.unit)
        x[where] = self.value if self.mode == "set" else self.new(x[where])

    def new(self, old: Tensor) -> Tensor:
        """What becomes of `old` [edits, site width], or [edits] at neurons."""
        if self.mode == "set":
            return torch.as_tensor(self.value, dtype=old.dtype, device=old.device).expand_as(old)
        x = old if old.ndim == 2 else old[:, None]
        new = x + self.value if self.mode == "add" else x - (x @ self.value)[:, None] * self.value
        return new.view_as(old)

    def only(self, keep: Tensor) -> Op:
        """The op of some of its edits."""
        each = self.mode == "set" and isinstance(self.value, Tensor)
        unit = None if self.unit is None else self.unit[keep]
        return replace(self, unit=unit, value=self.value[keep] if each else self.value)  # pyright: ignore[reportIndexIssue]

    def to(self, device: torch.device) -> Op:
        unit = None if self.unit is None else self.unit.to(device)
        return replace(self, unit=unit, value=self.value.to(device) if isinstance(self.value, Tensor) else self.value)


@dataclass(frozen=True)
class Placed:
    """One op, and of each of its edits the row and the position; all rows have the same base run."""

    row: np.ndarray
    position: np.ndarray
    base: int
    op: Op


@dataclass(frozen=True)
class View:
    """The tokens of a pack that one call sees: of each row that is `there`, positions `start .. stop`, the first at
    token `first`; all [rows]."""

    there: np.ndarray
    first: np.ndarray
    start: np.ndarray
    stop: np.ndarray

    def find(self, row: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of these places are seen, and their tokens."""
        seen = np.flatnonzero(self.there[row] & (self.start[row] <= position) & (position < self.stop[row]))
        return seen, self.first[row[seen]] + position[seen] - self.start[row[seen]]


class Ops:
    """All edits of a pack, their values gathered once from sources, means or nowhere."""

    def __init__(self, captures: Captures, rows: Rows, sweeps: list[Sweep]):
        """`sweeps[p]` is the sweep of piece number p."""
        self.captures, self.model = captures, captures.model
        self.kinds = kinds_of(sweeps)
        self.bases = captures.get(rows.runs, self.kinds)
        self._placed: defaultdict[Where, list[Placed]] = defaultdict(list)
        self._blocked: defaultdict[int, list[np.ndarray]] = defaultdict(list)
        row, layer, kind, unit, position, edit = rows.edits
        piece = rows.piece[row]
        keys = np.stack([layer, kind, piece, edit, rows.base[row]])
        order = np.lexsort(keys[::-1])
        cuts = np.flatnonzero((np.diff(keys[:, order], axis=1) != 0).any(0)) + 1
        for at in np.split(order, cuts):
            i = at[0]
            sweep, run = sweeps[piece[i]], rows.runs[rows.base[row[i]]]
            what: Edit = Identity() if edit[i] < 0 else sweep.edits[edit[i]]
            if isinstance(what, Block):
                n = len(what.keys)
                self._blocked[int(layer[i])].append(
                    np.stack([np.repeat(x[at], n) for x in (row, unit, position)] + [np.tile(what.keys, len(at))])
                )
                continue
            where = (int(layer[i]), KINDS[kind[i]])
            units = self._tensor(unit[at]) if unit[i] >= 0 else None
            op = self._op(what, run, len(sweep.run), *where, self._tensor(position[at]), units)
            self._placed[where].append(
                Placed(row[at], position[at], int(rows.base[i_row]) if (i_row := row[i]) >= 0 else 0, op)
            )

    def on(self, layer: int, view: View) -> dict[Where, Callable[[Tensor], Tensor]]:
        """Functions for `hooked` on one layer's sites, as far as `view` sees them."""
        on: dict[Where, Callable[[Tensor], Tensor]] = {}
        for kind in KINDS:
            if found := list(self._seen(layer, kind, view, self.model.devices[layer])):
                on[layer, kind] = partial(_apply, found)
        return on

    def _seen(self, layer: int, kind: Kind, view: View, device: torch.device) -> Iterator[tuple[Placed, Tensor, Op]]:
        for placed in self._placed.get((layer, kind), ()):
            seen, token = view.find(placed.row, placed.position)
            if len(seen):
                op = placed.op if len(seen) == len(placed.row) else placed.op.only(self._tensor(seen))
                some = replace(placed, row=placed.row[seen], position=placed.position[seen])
                yield some, self._tensor(token, device), op.to(device)

    def enter(self, layer: int, hidden: Tensor, view: View) -> None:
        """Let the edits of `layer`'s MLP act on the residual stream leaving it, [tokens, width], in place: the MLP's
        output changes, a neuron's being a rank-one change of its projection, and nothing below it does."""
        device = hidden.device
        neurons, outputs = (list(self._seen(layer, kind, view, device)) for kind in ("neuron", "mlp"))
        change = torch.zeros_like(hidden) if neurons else None
        for placed, at, op in neurons:
            assert op.unit is not None and change is not None
            old = self._base(placed.base, "neuron", layer, device)[self._tensor(placed.position, device), op.unit]
            change.index_add_(0, at, (op.new(old) - old)[:, None] * self.model.neuron_outputs(layer)[op.unit])
        if change is not None and (norm := self.model.post_mlp(layer)) is not None:
            for base in {placed.base for placed, _, _ in neurons}:
                mine = [(placed, at) for placed, at, _ in neurons if placed.base == base]
                token, first = np.unique(torch.cat([at for _, at in mine]).cpu().numpy(), return_index=True)
                token = self._tensor(token, device)
                position = self._tensor(np.concatenate([placed.position for placed, _ in mine])[first], device)
                before = self.model.mlp_projection(layer)(self._base(base, "neuron", layer, device))[position]
                change[token] = norm(before + change[token]) - self._base(base, "mlp", layer, device)[position]
        for placed, at, op in outputs:
            before = self._base(placed.base, "mlp", layer, device)[self._tensor(placed.position, device)]
            if change is not None:
                before = before + change[at]
            hidden[at] += op.new(before) - before
        if change is not None:
            hidden += change

    def _base(self, base: int, kind: Kind, layer: int, device: torch.device) -> Tensor:
        """The unedited activation, [tokens, width]."""
        return self.bases[base].acts[kind][layer].to(device)

    def blocked(self, layer: int, rows: slice, start: int = 0) -> list[Blocked]:
        """The attention knockouts of some consecutive rows, of queries at position `start` and later."""
        found = []
        for entries in self._blocked.get(layer, ()):
            inside = (entries[0] >= rows.start) & (entries[0] < rows.stop) & (entries[2] >= start)
            row, head, query, key = entries[:, inside]
            if len(row):
                found.append(Blocked(*map(self._tensor, (row - rows.start, head, query, key))))
        return found

    @property
    def blocks(self) -> list[int]:
        """Layers with attention knockouts."""
        return sorted(self._blocked)

    def _tensor(self, x: np.ndarray, device: torch.device | None = None) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(x)).to(device or self.model.device)

    def _op(self, edit: Edit, run: Run, bare: int, layer: int, kind: Kind, pos: Tensor, unit: Tensor | None) -> Op:
        """`run` is the base with its continuation, `bare` the length without."""
        heads = self.model.anatomy.heads if kind == "head" else 0
        match edit:
            case Zero():
                return Op(heads, unit, 0.0)
            case Constant(vector):
                v = self._vector(vector).expand(len(pos), -1)
                return Op(heads, unit, v[:, 0] if kind == "neuron" else v)
            case Add(vector, scale):
                return Op(heads, unit, scale * self._vector(vector), "add")
            case ProjectOut(vector):
                v = self._vector(vector)
                return Op(heads, unit, v / v.norm(), "project")
            case Mean() | Noise():
                acts = field(self.captures, self.kinds, edit, run, bare, layer, kind)
            case Identity():
                acts = self.captures.get([run], self.kinds)[0].acts[kind][layer]
            case Patch(source) | Resample(source):
                source = extend(source, run.tokens[bare:])
                acts = self.captures.get([source], self.kinds)[0].acts[kind][layer]
            case Block():
                raise AssertionError("attention knockouts have no value")
        if heads:
            acts = acts.unflatten(-1, (heads, -1))
        return Op(heads, unit, acts[pos] if unit is None else acts[pos, unit])

    def _vector(self, data: bytes) -> Tensor:
        return torch.frombuffer(bytearray(data), dtype=torch.float32).to(self.model.device, self.model.dtype)


def kinds_of(sweeps: list[Sweep]) -> set[Kind]:
    """The kinds of activation that the edits of these sweeps need: a neuron's, its MLP's output too."""
    kinds: set[Kind] = {KINDS[k] for sweep in sweeps for k in np.unique(sweep.sites.table[1])}
    if "neuron" in kinds:
        kinds.add("mlp")
    return kinds


def _apply(found: list[tuple[Placed, Tensor, Op]], x: Tensor) -> Tensor:
    flat = x.flatten(0, -2)
    for _, at, op in found:
        op(flat, at)
    return flat.view(x.shape)
