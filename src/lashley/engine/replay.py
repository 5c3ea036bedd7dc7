"""Run one pack, by either of two paths that must agree.

`packed`: walk the layers once; each row joins at its first layer with its base run's residual stream, and computes
only the positions from its first edited one on, over its base run's keys and values.
`plain`: a full forward pass of every row under hooks, in batches of equal length. The reference, and the fallback.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from lashley.core.site import Kind
from lashley.engine.attention import Enough, Span, blocking, packed
from lashley.engine.capture import Captures
from lashley.engine.hooks import Arguments, OnSite, hooked
from lashley.engine.ops import Ops, View
from lashley.engine.passes import forward
from lashley.engine.planner import Rows


class Replay:
    """Rows ordered by group; a group shares length, prefix and read, so its rows are one rectangle of tokens."""

    def __init__(self, captures: Captures, rows: Rows, ops: Ops):
        self.captures, self.model, self.rows, self.ops = captures, captures.model, rows, ops
        shapes = np.stack([rows.length, rows.prefix, rows.read])
        _, self.group = np.unique(shapes, axis=1, return_inverse=True)
        self.bounds = np.searchsorted(self.group, np.arange(self.group.max() + 2))  # rows of group g
        self.rank = np.arange(len(rows)) - self.bounds[self.group]
        self.length, self.prefix, self.read = (x[self.bounds[:-1]] for x in shapes)  # a group each
        self._gathered: tuple[tuple, Arguments] = ((), ((), {}))

    @torch.no_grad()
    def packed(self) -> Tensor:
        """Hidden states entering the final norm at the positions from `read` on, [tokens, width]; see `outputs`."""
        last = len(self.model.blocks)
        active = np.zeros(len(self.length), np.int64)  # rows of each group that have joined
        hidden = torch.empty(0)
        for layer in range(int(self.rows.layer.min()), last + 1):
            start = self.prefix if layer < last else self.read
            now = np.bincount(self.group[self.rows.layer <= layer], minlength=len(active))
            hidden = self._join(hidden, layer, active, now, start)
            active = now
            if layer == last - 1 and (self.read > self.prefix)[active > 0].any():
                hidden = self._last_layer(hidden, layer, active)
                continue
            view = self._view(active, start, self.length)
            on = self.ops.on(layer, view)
            if layer == last:
                return on[last, "resid"](hidden.to(self.model.devices[last])) if on else hidden
            spans = [self._span(g, layer, active, view, self.prefix[g]) for g in np.flatnonzero(active)]
            hidden = self._call(layer, hidden, active, start, self.length, spans, on)
        raise AssertionError("the last layer returns")

    def outputs(self, rows: np.ndarray, count: int) -> np.ndarray:
        """Where in the hidden states the first `count` positions read of these rows are, int64 [rows, count]."""
        first = self._view(np.diff(self.bounds), self.read, self.length).first
        return first[rows][:, None] + np.arange(count)

    def _view(self, active: np.ndarray, start: np.ndarray, stop: np.ndarray) -> View:
        """Positions `start .. stop` (a group each) of the first `active` rows of every group, end to end."""
        size = stop - start
        first = np.cumsum(active * size) - active * size
        g = self.group
        return View(self.rank < active[g], first[g] + self.rank * size[g], start[g], stop[g])

    def _join(self, hidden: Tensor, layer: int, active: np.ndarray, now: np.ndarray, start: np.ndarray) -> Tensor:
        """The residual stream entering `layer`, with the rows that begin there put behind those of their group."""
        if (now == active).all():
            return hidden
        device = self.model.devices[layer]
        old = iter(hidden.to(device).split([int(n) for n in (active * (self.length - start))[active > 0]]))
        parts = []
        for g in np.flatnonzero(now):
            if active[g]:
                parts.append(next(old))
            if now[g] > active[g]:
                here = slice(self.bounds[g] + active[g], self.bounds[g] + now[g])
                bases, pick = np.unique(self.rows.base[here], return_inverse=True)
                bank = [self.ops.bases[b].acts["resid"][layer][start[g] :] for b in bases]
                rows = (
                    bank[0].expand(len(pick), -1, -1) if len(bank) == 1 else torch.stack(bank)[torch.from_numpy(pick)]
                )
                parts.append(rows.flatten(0, 1).to(device))
        joined = torch.cat(parts)
        if layer:
            view = self._view(now, start, self.length)
            new = view.there & (self.rank >= active[self.group])
            self.ops.enter(layer - 1, joined, View(new, view.first, view.start, view.stop))
        return joined

    def _call(
        self,
        layer: int,
        hidden: Tensor,
        active: np.ndarray,
        start: np.ndarray,
        stop: np.ndarray,
        spans: Sequence[Span],
        on: Mapping[tuple[int, Kind], OnSite],
    ) -> Tensor:
        """The model's own decoder layer on positions `start .. stop` of the active rows. Without spans it goes as far
        as keys and values and raises `Enough`."""
        args, kwargs = self._arguments(layer, active, start, stop)
        with packed(spans), hooked(self.model.module, self.model.family, on):
            out = self.model.blocks[layer](hidden[None].to(self.model.devices[layer]), *args, **kwargs)
        return (out[0] if isinstance(out, tuple) else out)[0]

    def _last_layer(self, hidden: Tensor, layer: int, active: np.ndarray) -> Tensor:
        """As `_call`, for the positions read only: the others give their keys and values, and no more."""
        groups = np.flatnonzero(active)
        parts = hidden.split([int(n) for n in (active * (self.length - self.prefix))[groups]])
        parts = {g: p.unflatten(0, (int(active[g]), -1)) for g, p in zip(groups, parts, strict=True)}
        cut = self.read - self.prefix
        some = np.where(cut > 0, active, 0)
        unread = np.flatnonzero(some)
        on = self.ops.on(layer, self._view(some, self.prefix, self.read))
        entering = {where: fn for where, fn in on.items() if where[1] == "resid"}
        first = torch.cat([parts[g][:, : cut[g]].flatten(0, 1) for g in unread])
        try:
            self._call(layer, first, some, self.prefix, self.read, (), entering)
            raise AssertionError("a layer without attention")
        except Enough as enough:
            keys, values = enough.keys[0], enough.values[0]
        sizes = [int(some[g] * cut[g]) for g in unread]
        before = {}
        for g, k, v in zip(unread, keys.split(sizes, 1), values.split(sizes, 1), strict=True):
            before[g] = tuple(x.unflatten(1, (int(some[g]), -1)).transpose(0, 1) for x in (k, v))
        view = self._view(active, self.read, self.length)
        spans = [self._span(g, layer, active, view, self.read[g], before.get(g)) for g in groups]
        rest = torch.cat([parts[g][:, cut[g] :].flatten(0, 1) for g in groups])
        return self._call(layer, rest, active, self.read, self.length, spans, self.ops.on(layer, view))

    def _span(self, g, layer: int, active: np.ndarray, view: View, start, own=None) -> Span:
        """Group g's rows in one call, computed from position `start` on."""
        here = slice(int(self.bounds[g]), int(self.bounds[g] + active[g]))
        span = Span(int(view.first[here.start]), int(active[g]), int(self.length[g] - start), int(start), own=own)
        span.blocked = self.ops.blocked(layer, here, int(start))
        if borrowed := int(self.prefix[g]):
            bases, pick = np.unique(self.rows.base[here], return_inverse=True)
            span.keys = [self.ops.bases[b].keys[layer][:, :borrowed] for b in bases]
            span.values = [self.ops.bases[b].values[layer][:, :borrowed] for b in bases]
            span.pick = torch.from_numpy(pick).to(span.keys[0].device) if len(bases) > 1 else None
        return span

    def _arguments(self, layer: int, active: np.ndarray, start: np.ndarray, stop: np.ndarray) -> Arguments:
        """The layer's captured arguments, gathered by each token's own position; made once for layers that received
        the same objects."""
        groups = np.flatnonzero(active)
        captured = [self.captures.arguments(int(self.length[g]))[layer] for g in groups]
        same = tuple(id(x) for args, kwargs in captured for x in (*args, *kwargs.values()))
        key = (same, active.tobytes(), start.tobytes(), stop.tobytes())
        if key != self._gathered[0]:
            parts = []
            for g, (args, kwargs) in zip(groups, captured, strict=True):
                part, length = slice(int(start[g]), int(stop[g])), int(self.length[g])
                take = partial(taken, part=part, length=length, rows=int(active[g]))
                parts.append((tuple(map(take, args)), {k: take(v) for k, v in kwargs.items()}))
            args = tuple(_together(x) for x in zip(*(a for a, _ in parts), strict=True))
            kwargs = {k: _together(tuple(each[k] for _, each in parts)) for k in parts[0][1]}
            self._gathered = key, (args, kwargs)
        return self._gathered[1]

    @torch.no_grad()
    def plain(self) -> Tensor:
        """The same by full forward passes; rows must have been planned for the plain route."""
        last = len(self.model.blocks)
        out: list[Tensor] = []
        for g, (here, stop) in enumerate(zip(self.bounds[:-1], self.bounds[1:], strict=True)):
            rows = np.arange(len(self.length)) == g
            active = np.where(rows, np.diff(self.bounds), 0)
            view = self._view(active, np.zeros_like(self.length), self.length)
            on = {}
            for layer in range(last + 1):
                on |= self.ops.on(layer, view)
            runs = [self.rows.runs[b] for b in self.rows.base[here:stop]]
            edit_last = on.get((last, "resid"))

            def leave(x: Tensor, then=edit_last, read=int(self.read[g])) -> Tensor:
                x = then(x) if then else x
                out.append(x[:, read:].flatten(0, 1))
                return x

            on[last, "resid"] = leave
            blocks = {la: self.ops.blocked(la, slice(int(here), int(stop))) for la in self.ops.blocks}
            with blocking(blocks):
                forward(self.model, runs, on)
        return torch.cat(out)


def taken(x, *, part: slice, length: int, rows: int):
    """A captured argument for `rows` packed rows: tensors along tokens are cut and repeated, masks dropped."""
    if isinstance(x, tuple):
        return tuple(taken(y, part=part, length=length, rows=rows) for y in x)
    if not isinstance(x, Tensor) or x.ndim < 2:
        return x
    if x.ndim >= 4 or x.shape[1] != length:
        return None
    cut = x[0, part]
    return cut.expand(rows, *cut.shape).flatten(0, 1)[None]


def _together(xs: tuple):
    if isinstance(xs[0], tuple):
        return tuple(_together(x) for x in zip(*xs, strict=True))
    return torch.cat(xs, 1) if isinstance(xs[0], Tensor) and xs[0].ndim >= 2 else xs[0]
