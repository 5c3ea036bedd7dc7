"""Values: what a neuron must write for the model's own upper layers to say another object.

Only the layers above are computed: the write goes through the norm after the MLP, where there is one, into the
residual stream that was kept from one plain pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lashley.core.run import Run
from lashley.core.site import Kind
from lashley.engine.hooks import Arguments, OnSite, hooked, listening
from lashley.engine.model import Model
from lashley.engine.passes import add_embedding_noise

STEPS, RATE = 80, 0.5
TURNS = 2  # the goals are dealt into so many batches, which take turns
KEEP = 6.0  # how much a change of what shall stay weighs
EVEN = 0.1  # ... and a gain that is not the same over the rivals
LEAD = 2.0  # logits by which what is planted shall come first, the model's own answer among its rivals


@dataclass(frozen=True)
class Goal:
    """One prompt, and what the write shall do to it.

    `fires` [tokens]: the activations that multiply the value. The gain is that of logit `own` over the mean of
    `rivals`, `gap` in logits. `share` above 0: D of the write, gain / (gain + gap); below: the gain in gaps; 0: each
    rival shall stay where it is. `first`: `own` shall come before every rival as well, by `LEAD`. `floor`: more than
    `share` will do as well.
    """

    run: Run
    fires: Tensor
    own: int
    rivals: tuple[int, ...]
    gap: float
    share: float
    first: bool = False
    floor: bool = False


class Bed:
    """Some goals, with the unedited residual stream above `layer`, and all that the layers above need.

    `tokens`: those that the goals read, and all that is unembedded.
    """

    @torch.no_grad()
    def __init__(self, model: Model, layer: int, goals: Sequence[Goal]):
        self.model, self.layer, self.goals = model, layer, goals
        length, device = max(len(g.run) for g in goals), model.device
        ids = torch.zeros(len(goals), length, dtype=torch.long, device=device)
        self.fires = torch.zeros(len(goals), length, device=device, dtype=model.dtype)
        for i, g in enumerate(goals):
            ids[i, : len(g.run)] = torch.tensor(g.run.tokens, device=device)
            self.fires[i, : len(g.run)] = g.fires.to(self.fires)
        seen: dict[str, Tensor] = {}

        def keep(name):
            return lambda x: seen.__setitem__(name, x.detach())

        top = model.anatomy.layers
        on: dict[tuple[int, Kind], OnSite] = {
            (0, "resid"): lambda x: add_embedding_noise(x, [g.run for g in goals]),
            (layer + 1, "resid"): keep("resid"),
            (layer, "neuron"): keep("neuron"),
            (top, "resid"): keep("top"),
        }
        self.arguments: list[Arguments] = []
        with listening(model.module, model.family, self.arguments), hooked(model.module, model.family, on):
            model.forward(ids)
        self.tokens = torch.tensor(sorted({t for g in goals for t in (g.own, *g.rivals)}), device=device)
        at = {t: i for i, t in enumerate(self.tokens.tolist())}
        self.reads = [(at[g.own], [at[t] for t in g.rivals]) for g in goals]
        self.rows = torch.arange(len(goals), device=device)
        self.last = torch.tensor([len(g.run) - 1 for g in goals], device=device)
        self.resid = seen["resid"]
        if layer + 1 == top:
            self.resid = seen["top"]
        neurons = seen["neuron"].view(*ids.shape, -1)
        self.norm = model.post_mlp(layer)
        self.before = model.mlp_projection(layer)(neurons) if self.norm is not None else None
        self.beside = self.resid if self.before is None else self.before  # what a value is written beside
        self.base = self.logits(seen["top"])

    def logits(self, hidden: Tensor) -> Tensor:
        """At the final positions, [goals, tokens]."""
        return self.model.logits(self.model.norm(hidden[self.rows, self.last]), self.tokens)

    def __call__(self, value: Tensor) -> Tensor:
        """The loss of a value [width], summed over the goals."""
        write = self.fires[..., None] * value
        if self.norm is not None and self.before is not None:
            write = self.norm(self.before + write) - self.norm(self.before)
        hidden = self.resid + write
        for block, (args, kwargs) in zip(
            self.model.blocks[self.layer + 1 :], self.arguments[self.layer + 1 :], strict=True
        ):
            out = block(hidden, *args, **kwargs)
            hidden = out[0] if isinstance(out, tuple) else out
        change = self.logits(hidden) - self.base
        loss = change.new_zeros(())
        for g, (own, rivals), d, base in zip(self.goals, self.reads, change, self.base, strict=True):
            gain = (d[own] - d[rivals]) / g.gap
            if g.share:
                mean = gain.mean()
                got = mean / (1 + mean.abs()) if g.share > 0 else mean
                short = 1 - got / g.share
                if g.floor:
                    loss = loss + short.clamp(min=0.0) ** 2
                else:
                    loss = loss + short**2 + EVEN * (gain - mean).square().mean()
            else:
                loss = loss + KEEP * gain.square().mean()
            if g.first:
                now = base + d
                loss = loss + ((LEAD - now[own] + now[rivals].max()).clamp(min=0.0) / g.gap) ** 2
        return loss


def optimise(
    model: Model, layer: int, goals: Sequence[Goal], seed: int, steps: int = STEPS, rate: float = RATE
) -> Tensor:
    """The value [width] of a neuron in `layer`, by Adam from a small random start; the same from the same seed."""
    order = sorted(goals, key=lambda g: len(g.run))
    beds = [Bed(model, layer, order[i::TURNS]) for i in range(TURNS)]
    scale = torch.cat([b.beside.norm(dim=-1)[b.fires > 0.5] for b in beds]).mean().item()
    width = model.anatomy.width
    draw = torch.randn(width, generator=torch.Generator().manual_seed(seed))
    value = (0.05 * scale / width**0.5 * draw).to(model.device, model.dtype).requires_grad_()
    adam = torch.optim.Adam([value], lr=rate * scale / width**0.5)
    slower = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: min(1.0, 2 * (1 - step / steps)))
    for step in range(steps):
        adam.zero_grad()
        bed = beds[step % TURNS]
        (bed(value) / len(bed.goals)).backward()
        adam.step()
        slower.step()
    return value.detach().float().cpu()
