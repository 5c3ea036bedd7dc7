"""Run one pack, by either of two paths that must agree.

`packed`: walk the layers once; each row joins at its first edited layer with its base run's residual stream, and
computes only the positions from its first edited one on, over its base run's keys and values.
`plain`: a full forward pass of every row under hooks, in batches of equal length. The reference, and the fallback.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from lashley.engine.attention import Span, packed
from lashley.engine.capture import Captures, add_embedding_noise
from lashley.engine.hooks import hooked
from lashley.engine.ops import Ops
from lashley.engine.planner import Rows


class Replay:
    """Rows ordered by group; a group shares length and prefix, so its rows are one rectangle of tokens."""

    def __init__(self, captures: Captures, rows: Rows, ops: Ops):
        self.captures, self.model, self.rows, self.ops = captures, captures.model, rows, ops
        shapes = np.stack([rows.length, rows.prefix])
        _, self.group = np.unique(shapes, axis=1, return_inverse=True)
        self.bounds = np.searchsorted(self.group, np.arange(self.group.max() + 2))  # rows of group g
        self.size = (rows.length - rows.prefix)[self.bounds[:-1]]  # tokens a row, per group
        self.rank = np.arange(len(rows)) - self.bounds[self.group]

    def first_token(self, active: np.ndarray) -> np.ndarray:
        """Index of each row's first token when group g holds `active[g]` rows, int64 [rows]."""
        starts = np.cumsum(active * self.size) - active * self.size
        return starts[self.group] + self.rank * self.size[self.group]

    @torch.no_grad()
    def packed(self) -> Tensor:
        """Hidden states of all rows entering the final norm, [tokens, width]."""
        rows, last = self.rows, len(self.model.blocks)
        bases = self.captures.get(rows.runs, self.ops.kinds)
        groups = range(len(self.size))
        parts: list[Tensor] = [torch.empty(0)] * len(groups)
        active = np.zeros(len(groups), np.int64)
        for layer in range(int(rows.layer.min()), last + 1):
            now = np.array([np.searchsorted(rows.layer[self._of(g)], layer, "right") for g in groups])
            for g in np.flatnonzero(now > active):
                here = slice(self.bounds[g] + active[g], self.bounds[g] + now[g])
                bank, pick = self._bank(here, [b.acts["resid"][layer] for b in bases], axis=0, prefix=False)
                new = bank[pick].flatten(0, 1)
                parts[g] = torch.cat([parts[g], new]) if active[g] else new
            active = now
            there = [g for g in groups if active[g]]
            hidden = torch.cat([parts[g] for g in there])
            on = self.ops.on(layer, self.first_token(active), active[self.group] > self.rank)
            if layer == last:
                return on[last, "resid"](hidden) if on else hidden
            spans = []
            for g in there:
                here = slice(self.bounds[g], self.bounds[g] + active[g])
                span = Span(int(self.first_token(active)[here.start]), int(active[g]), int(self.size[g]))
                if prefix := int(rows.prefix[here.start]):
                    keys, pick = self._bank(here, [b.keys[layer] for b in bases], axis=1, prefix=True)
                    values, _ = self._bank(here, [b.values[layer] for b in bases], axis=1, prefix=True)
                    span.prefix = prefix
                    span.keys, span.values = (
                        x.expand(len(pick), *x.shape[1:]) if len(x) == 1 else x[pick] for x in (keys, values)
                    )
                spans.append(span)
            args, kwargs = self._arguments(layer, there, active)
            with packed(spans), hooked(self.model.module, self.model.family, on):
                out = self.model.blocks[layer](hidden[None], *args, **kwargs)
            hidden = (out[0] if isinstance(out, tuple) else out)[0]
            for g, part in zip(there, hidden.split([s.rows * s.size for s in spans]), strict=True):
                parts[g] = part
        raise AssertionError("the last layer returns")

    def _of(self, g: int) -> slice:
        return slice(self.bounds[g], self.bounds[g + 1])

    def _bank(self, here: slice, acts: list[Tensor], axis: int, prefix: bool) -> tuple[Tensor, Tensor]:
        """The distinct base activations of some rows of one group, before or from their prefix on along the
        token axis, stacked; and which of them each row takes."""
        cut = int(self.rows.prefix[here.start])
        bases, pick = np.unique(self.rows.base[here], return_inverse=True)
        part = slice(0, cut) if prefix else slice(cut, None)
        bank = torch.stack([acts[b][(slice(None),) * axis + (part,)] for b in bases])
        return bank, torch.from_numpy(pick).to(bank.device)

    def _arguments(self, layer: int, there: list[int], active: np.ndarray):
        """The layer's captured arguments, gathered by each token's own position."""
        taken = []
        for g in there:
            length, prefix = (int(x[self.bounds[g]]) for x in (self.rows.length, self.rows.prefix))
            args, kwargs = self.captures.arguments(length)[layer]
            take = partial(_take, prefix=prefix, length=length, rows=int(active[g]))
            taken.append((tuple(map(take, args)), {k: take(v) for k, v in kwargs.items()}))
        args = tuple(_join(x) for x in zip(*(a for a, _ in taken), strict=True))
        return args, {k: _join(tuple(kwargs[k] for _, kwargs in taken)) for k in taken[0][1]}

    @torch.no_grad()
    def plain(self) -> Tensor:
        """The same by full forward passes; rows must have been planned without prefixes."""
        rows, last = self.rows, len(self.model.blocks)
        out = []
        for g in range(len(self.size)):
            here = self._of(g)
            first = self.rank * self.size[g]
            on = {}
            for layer in range(last + 1):
                on |= self.ops.on(layer, first, self.group == g)
            runs = [rows.runs[b] for b in rows.base[here]]
            edit_first, edit_last = on.get((0, "resid")), on.get((last, "resid"))

            def enter(x: Tensor, runs=runs, then=edit_first) -> Tensor:
                x = add_embedding_noise(x, runs)
                return then(x) if then else x

            def leave(x: Tensor, then=edit_last) -> Tensor:
                x = then(x) if then else x
                out.append(x.flatten(0, 1))
                return x

            on[0, "resid"], on[last, "resid"] = enter, leave
            with hooked(self.model.module, self.model.family, on):
                self.model.forward(torch.tensor([r.tokens for r in runs], device=self.model.device))
        return torch.cat(out)


def _take(x, *, prefix: int, length: int, rows: int):
    """A captured argument for `rows` packed rows: tensors along tokens are cut and repeated, masks dropped."""
    if isinstance(x, tuple):
        return tuple(_take(y, prefix=prefix, length=length, rows=rows) for y in x)
    if not isinstance(x, Tensor) or x.ndim < 2:
        return x
    if x.ndim >= 4 or x.shape[1] != length:
        return None
    part = x[0, prefix:]
    return part.expand(rows, *part.shape).flatten(0, 1)[None]


def _join(xs: tuple):
    if isinstance(xs[0], tuple):
        return tuple(_join(x) for x in zip(*xs, strict=True))
    return torch.cat(xs, 1) if isinstance(xs[0], Tensor) and xs[0].ndim >= 2 else xs[0]
