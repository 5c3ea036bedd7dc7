"""What edits write: per layer and kind, which values go to which tokens of which rows."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from lashley.core.edit import Add, Edit, Identity, Mean, Noise, Patch, ProjectOut, Resample, Zero
from lashley.core.run import Run
from lashley.core.site import KINDS, Kind
from lashley.core.trial import Sweep
from lashley.engine.capture import Captures, role_class
from lashley.engine.planner import Rows
from lashley.engine.readouts import extend


class Op:
    """Replace, add to, or project a vector out of activations, at some tokens and units.

    `heads` is how many units the site's width splits into (0: none); `unit` one index a token, or None.
    """

    def __init__(self, heads: int, unit: Tensor | None, value: Tensor | float, mode: str = "set"):
        self.heads, self.unit, self.value, self.mode = heads, unit, value, mode

    def __call__(self, flat: Tensor, at: Tensor) -> None:
        """Change flat [tokens, width] in place at the tokens `at` [edits]."""
        x = flat.unflatten(-1, (self.heads, -1)) if self.heads else flat
        where = (at,) if self.unit is None else (at, self.unit)
        if self.mode == "set":
            x[where] = self.value
            return
        old = x[where] if x[where].ndim == 2 else x[where][:, None]  # [edits, site width]
        new = old + self.value if self.mode == "add" else old - (old @ self.value)[:, None] * self.value
        x[where] = new.view_as(x[where])


class Ops:
    """All edits of a pack, their values gathered once from sources, means or nowhere."""

    def __init__(self, captures: Captures, rows: Rows, sweeps: list[Sweep]):
        """`sweeps[p]` is the sweep of piece number p."""
        self.captures, self.model = captures, captures.model
        self.kinds = {KINDS[k] for k in np.unique(rows.edits[2])}
        self._found: dict[tuple[int, Kind], list[tuple[np.ndarray, np.ndarray, Op]]] = {}
        row, layer, kind, unit, position, edit = rows.edits
        piece = rows.piece[row]
        keys = np.stack([layer, kind, piece, edit, rows.base[row]])
        order = np.lexsort(keys[::-1])
        cuts = np.flatnonzero((np.diff(keys[:, order], axis=1) != 0).any(0)) + 1
        for at in np.split(order, cuts):
            i = at[0]
            sweep, run = sweeps[piece[i]], rows.runs[rows.base[row[i]]]
            what: Edit = Identity() if edit[i] < 0 else sweep.edits[edit[i]]
            where = (int(layer[i]), KINDS[kind[i]])
            units = self._tensor(unit[at]) if unit[i] >= 0 else None
            op = self._op(what, run, len(sweep.run), *where, self._tensor(position[at]), units)
            self._found.setdefault(where, []).append((row[at], position[at] - rows.prefix[row[at]], op))

    def on(self, layer: int, first_token: np.ndarray, chosen: np.ndarray | None = None):
        """Functions for `hooked` on one layer's sites; `first_token` [rows] is where each row begins, and
        `chosen` [rows] leaves out the rows that are not there."""
        on = {}
        for kind in KINDS:
            placed = []
            for row, token, op in self._found.get((layer, kind), ()):
                if chosen is not None and not chosen[row].all():
                    keep = np.flatnonzero(chosen[row])
                    row, token, op = row[keep], token[keep], _subset(op, self._tensor(keep))
                placed.append((self._tensor(first_token[row] + token), op))
            if placed:
                on[layer, kind] = partial(_apply, placed)
        return on

    def _tensor(self, x: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(x)).to(self.model.device)

    def _op(self, edit: Edit, run: Run, bare: int, layer: int, kind: Kind, pos: Tensor, unit: Tensor | None) -> Op:
        """`run` is the base with its continuation, `bare` the length without."""
        heads = self.model.anatomy.heads if kind == "head" else 0
        match edit:
            case Zero():
                return Op(heads, unit, 0.0)
            case Add(vector, scale):
                return Op(heads, unit, scale * self._vector(vector), "add")
            case ProjectOut(vector):
                v = self._vector(vector)
                return Op(heads, unit, v / v.norm(), "project")
            case Mean(reference) | Noise(reference):
                acts = self._field(edit, reference, run, bare, layer, kind)
            case Identity():
                acts = self.captures.get([run], self.kinds)[0].acts[kind][layer]
            case Patch(source) | Resample(source):
                source = extend(source, run.tokens[bare:])
                acts = self.captures.get([source], self.kinds)[0].acts[kind][layer]
        if heads:
            acts = acts.unflatten(-1, (heads, -1))
        return Op(heads, unit, acts[pos] if unit is None else acts[pos, unit])

    def _field(self, edit: Mean | Noise, reference, run: Run, bare: int, layer: int, kind: Kind) -> Tensor:
        """What a mean or noise knockout writes at every position, [tokens, width]."""
        moments = self.captures.moments(reference, self.kinds)
        names = [role_class(run, p) if p < bare - 1 else "final" for p in range(len(run))]
        field = torch.stack([moments.mean[kind][n][layer] for n in names])
        if isinstance(edit, Noise):
            seed = (edit.seed * 1_000_003 + layer) * len(KINDS) + KINDS.index(kind)
            draw = torch.randn(bare, field.shape[-1], generator=torch.Generator().manual_seed(seed)).to(field)
            field[:bare] += draw * torch.stack([moments.sd[kind][n][layer] for n in names[:bare]])
        return field

    def _vector(self, data: bytes) -> Tensor:
        return torch.frombuffer(bytearray(data), dtype=torch.float32).to(self.model.device, self.model.dtype)


def _apply(placed: list[tuple[Tensor, Op]], x: Tensor) -> Tensor:
    flat = x.flatten(0, -2)
    for at, op in placed:
        op(flat, at)
    return flat.view(x.shape)


def _subset(op: Op, keep: Tensor) -> Op:
    per_edit = op.mode == "set" and isinstance(op.value, Tensor)
    unit = None if op.unit is None else op.unit[keep]
    return Op(op.heads, unit, op.value[keep] if per_edit else op.value, op.mode)  # pyright: ignore[reportIndexIssue]
