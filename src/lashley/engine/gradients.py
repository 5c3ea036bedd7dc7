"""Gradients of readouts with respect to activations: runs of equal length go forward and backward together.

Rows of a batch do not interact, so the gradient of the sum of their readouts is each one's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from lashley.core.readout import LogitDifference, LogProbability, Loss, Readout, name
from lashley.core.run import Run
from lashley.core.site import Kind
from lashley.engine.hooks import OnSite
from lashley.engine.model import Model
from lashley.engine.passes import forward
from lashley.engine.readouts import Variant, variants


class Pass(NamedTuple):
    """One variant of question number `asked`; the readout is the sum of `sign` times its variants' shares."""

    asked: int
    readout: Readout
    variant: Variant
    sign: float


class Slopes(NamedTuple):
    """Passes of equal length gone back together: per kind, activations and gradients of the readout (sign
    included), both [passes, layers, tokens, width] (resid: entering each layer, and the final norm last)."""

    passes: list[Pass]
    acts: dict[Kind, Tensor]
    grads: dict[Kind, Tensor]


def gradients(model: Model, asked: Sequence[tuple[Run, Readout]], kinds: Sequence[Kind]) -> list[dict[Kind, Tensor]]:
    """Per question and kind, the gradient [layers, tokens, width] with respect to the run's own positions."""
    found: list[dict[Kind, Tensor]] = [{} for _ in asked]
    for slopes in backward(model, asked, kinds):
        for row, one in enumerate(slopes.passes):
            own = found[one.asked]
            for kind, grads in slopes.grads.items():
                g = grads[row, :, : len(asked[one.asked][0])]
                own[kind] = own[kind] + g if kind in own else g.clone()
    return found


def backward(model: Model, asked: Sequence[tuple[Run, Readout]], kinds: Sequence[Kind]) -> Iterator[Slopes]:
    """Every variant of every question, in batches of equal length that fit the memory budget.

    Raises `TypeError` for a readout without a gradient.
    """
    for same in by_length(asked):
        start = 0
        while start < len(same):
            stop, left = start, model.memory
            while stop < len(same) and (left := left - _bytes(model, same[stop])) > 0:
                stop += 1
            stop = max(stop, start + 1)
            yield _batch(model, same[start:stop], kinds)
            start = stop


def by_length(asked: Sequence[tuple[Run, Readout]]) -> list[list[Pass]]:
    """Every variant of every question, those of one length together. Raises `TypeError` as `backward` does."""
    found: dict[int, list[Pass]] = {}
    for i, (run, readout) in enumerate(asked):
        for variant, sign in zip(_differentiable(readout, run), (1.0, -1.0), strict=False):
            found.setdefault(len(variant.run), []).append(Pass(i, readout, variant, sign))
    return list(found.values())


def _differentiable(readout: Readout, run: Run) -> tuple[Variant, ...]:
    if not isinstance(readout, LogitDifference | LogProbability | Loss):
        raise TypeError(f"{name(readout)} has no gradient here; use the logit difference, log-probability or loss")
    return variants(readout, run)


def _bytes(model: Model, one: Pass) -> int:
    """What a pass keeps until it has gone back: every layer's activations, as much again for what is returned,
    and logits where all are needed."""
    layers = 2 * len(one.variant.run) * model.bytes_per_token * model.anatomy.layers
    return layers + 12 * model.anatomy.vocabulary * len(one.variant.scored)


def _batch(model: Model, passes: list[Pass], kinds: Sequence[Kind]) -> Slopes:
    caught: dict[Kind, list[Tensor]] = {k: [] for k in kinds}

    def catch(x: Tensor, kind: Kind) -> Tensor | None:
        if x.requires_grad:
            x.retain_grad()
            caught[kind].append(x)
            return None
        x = x.detach().requires_grad_()
        caught[kind].append(x)
        return x

    on: dict[tuple[int, Kind], OnSite] = {
        (layer, kind): partial(catch, kind=kind)
        for kind in kinds
        for layer in range(model.anatomy.layers + (kind == "resid"))
    }
    on.setdefault((0, "resid"), lambda x: x.detach().requires_grad_())
    with torch.enable_grad():
        hidden = forward(model, [one.variant.run for one in passes], on)
        summed(model, passes, hidden).backward()
    acts: dict[Kind, Tensor] = {k: _stacked([x.detach() for x in xs], model) for k, xs in caught.items()}
    grads: dict[Kind, Tensor] = {
        k: _stacked([torch.zeros_like(x) if x.grad is None else x.grad for x in xs], model) for k, xs in caught.items()
    }
    return Slopes(passes, acts, grads)


def _stacked(layers: list[Tensor], model: Model) -> Tensor:
    """[runs, layers, ..], of layers that may lie on several devices."""
    return torch.stack([x.to(model.device) for x in layers], 1)


def summed(model: Model, passes: list[Pass], hidden: Tensor) -> Tensor:
    """Sum over the passes of their signed shares, from hidden states [passes, tokens, width] after the norm."""
    total = hidden.new_zeros((), dtype=torch.promote_types(hidden.dtype, torch.float32))
    for row, one in enumerate(passes):
        own = hidden[row, list(one.variant.reads)]
        if not one.variant.scored:
            assert isinstance(one.readout, LogitDifference)
            pair = torch.tensor([one.readout.target[0], one.readout.foil[0]], device=hidden.device)
            target, foil = model.logits(own[0], pair)
            total = total + one.sign * (target - foil)
            continue
        tokens = torch.tensor(one.variant.scored, device=hidden.device)
        share = model.logits(own).log_softmax(-1).gather(-1, tokens[:, None]).sum()
        total = total + one.sign * (-share / len(tokens) if isinstance(one.readout, Loss) else share)
    return total
