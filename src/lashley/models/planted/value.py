"""Values: what a neuron must write for the model's own upper layers to say another object.

Only the layers above are computed, and where attention is ours only the tokens from the first on that the write
reaches: it goes through the norm after the MLP, where there is one, into the residual stream that was kept from one
plain pass, as were the keys and values before it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lashley.core.errors import BadPlant
from lashley.core.run import Run
from lashley.core.site import Kind
from lashley.engine.attention import KeysValues, Span, packed, recording
from lashley.engine.hooks import Arguments, OnSite, hooked, listening
from lashley.engine.model import Model
from lashley.engine.passes import add_embedding_noise
from lashley.engine.replay import taken

STEPS = 24  # evaluations
SMALL = 0.05  # size of the random start, in sizes of what the value is written beside
LOTS = 12  # batches of goals that are reached at like positions, and of like length
SILENT = 0.01  # positions before the first activation above it, in units of that at the key, are not computed
KEEP = 4.0  # how much a change of what shall stay weighs
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


class GoalBatch:
    """Some goals, with the unedited residual stream above `layer`, and all that the layers above need.

    `tokens`: those that the goals read, and all that is unembedded. `start`: the first position at which any fires; 0
    where attention over packed rows is not `ours` to use.
    """

    @torch.no_grad()
    def __init__(self, model: Model, layer: int, goals: Sequence[Goal], ours: bool):
        self.model, self.layer = model, layer
        length, device = max(len(g.run) for g in goals), model.device
        ids = torch.zeros(len(goals), length, dtype=torch.long, device=device)
        fires = torch.zeros(len(goals), length, device=device, dtype=model.dtype)
        for i, g in enumerate(goals):
            ids[i, : len(g.run)] = torch.tensor(g.run.tokens, device=device)
            fires[i, : len(g.run)] = g.fires.to(fires)
        self.start = min(map(reached, goals)) if ours else 0
        self.fires = fires[:, self.start :]
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
        received: list[Arguments] = []
        store: KeysValues = {}
        with listening(model.module, model.family, received), hooked(model.module, model.family, on), recording(store):
            model.forward(ids)
        self.above = [(la, *self._given(la, received[la], store, length)) for la in range(layer + 1, top)]
        self.tokens = torch.tensor(sorted({t for g in goals for t in (g.own, *g.rivals)}), device=device)
        at = {t: i for i, t in enumerate(self.tokens.tolist())}
        self.own = torch.tensor([at[g.own] for g in goals], device=device)
        self.rival = torch.zeros(len(goals), len(at), device=device, dtype=torch.bool)
        for i, g in enumerate(goals):
            self.rival[i, [at[t] for t in g.rivals]] = True
        self.gap, self.share = (torch.tensor([getattr(g, n) for g in goals], device=device) for n in ("gap", "share"))
        self.first, self.floor = (
            torch.tensor([getattr(g, n) for g in goals], device=device) for n in ("first", "floor")
        )
        self.rows = torch.arange(len(goals), device=device)
        self.last = torch.tensor([len(g.run) - 1 for g in goals], device=device) - self.start
        self.resid = seen["top" if layer + 1 == top else "resid"][:, self.start :]
        neurons = seen["neuron"].view(*ids.shape, -1)[:, self.start :]
        self.norm = model.post_mlp(layer)
        self.before = model.mlp_projection(layer)(neurons) if self.norm is not None else None
        self.beside = self.resid if self.before is None else self.before  # what a value is written beside
        self.base = self.logits(seen["top"][:, self.start :])

    def _given(self, layer: int, received: Arguments, store: KeysValues, length: int) -> tuple[Arguments, list[Span]]:
        """What a layer gets beside its hidden states: all as in the plain pass, or, where the first positions are left
        out, the rest of all rows on one token axis, over their own first keys and values."""
        if not self.start:
            return received, []
        rows = len(self.fires)
        take = partial(taken, part=slice(self.start, length), length=length, rows=rows)
        keys, values = (list(x[:, :, : self.start].clone()) for x in store[layer])
        pick = torch.arange(rows, device=keys[0].device)
        span = Span(0, rows, length - self.start, self.start, keys, values, pick)
        return (tuple(map(take, received[0])), {k: take(v) for k, v in received[1].items()}), [span]

    def logits(self, hidden: Tensor) -> Tensor:
        """At the final positions, [goals, tokens]."""
        return self.model.logits(self.model.norm(hidden[self.rows, self.last]), self.tokens)

    def __call__(self, value: Tensor) -> Tensor:
        """The loss of a value [width], summed over the goals."""
        write = self.fires[..., None] * value
        if self.norm is not None and self.before is not None:
            write = self.norm(self.before + write) - self.norm(self.before)
        hidden = self.resid + write
        for layer, (args, kwargs), spans in self.above:
            with packed(spans) if spans else nullcontext():
                out = self.model.blocks[layer](hidden.flatten(0, 1)[None] if spans else hidden, *args, **kwargs)
            hidden = (out[0] if isinstance(out, tuple) else out).view_as(hidden)
        now = self.logits(hidden)
        own, others = now[self.rows, self.own], now.masked_fill(~self.rival, -torch.inf)
        change = now - self.base
        gain = (change[self.rows, self.own, None] - change) / self.gap[:, None]
        mean = self.over(gain)
        got = torch.where(self.share > 0, mean / (1 + mean.abs()), mean)
        short = 1 - got / torch.where(self.share == 0, 1.0, self.share)
        aimed = short**2 + EVEN * self.over((gain - mean[:, None]) ** 2)
        aimed = torch.where(self.floor, short.clamp(min=0.0) ** 2, aimed)
        behind = (LEAD - own + others.amax(1)).clamp(min=0.0) ** 2 / (LEAD * self.gap)
        loss = torch.where(self.share == 0, KEEP * self.over(gain**2), aimed) + torch.where(self.first, behind, 0.0)
        return loss.sum()

    def over(self, x: Tensor) -> Tensor:
        """The mean over each goal's rivals, [goals]."""
        return (x * self.rival).sum(1) / self.rival.sum(1)


def reached(goal: Goal) -> int:
    """The first position at which a goal's neuron fires; the last one where it never does."""
    return next((i for i, f in enumerate(goal.fires.abs().tolist()) if f > SILENT), len(goal.run) - 1)


def optimise(model: Model, layer: int, goals: Sequence[Goal], ours: bool, seed: int, steps: int = STEPS) -> Tensor:
    """The value [width] of a neuron in `layer`, by L-BFGS from a small random start; the same from the same seed.

    `steps`: about how often the loss and its gradient are worked out, at most. `ours`: attention over packed rows can
    be trusted. Raises `BadPlant` where nothing fires, or no finite value is found.
    """
    order = sorted(goals, key=lambda g: (reached(g), len(g.run)))
    lots = [len(order) * i // LOTS for i in range(LOTS + 1)]
    batches = [GoalBatch(model, layer, order[i:j], ours) for i, j in itertools.pairwise(lots) if j > i]
    width = model.anatomy.width
    sizes = torch.cat([b.beside.norm(dim=-1)[b.fires > 0.5] for b in batches])
    if not len(sizes):
        raise BadPlant("the key fires on none of its own prompts; try another seed")
    unit = sizes.mean().item() / width**0.5
    draw = torch.randn(width, generator=torch.Generator().manual_seed(seed))
    value = (SMALL * draw).to(model.device).requires_grad_()
    descent = torch.optim.LBFGS(
        [value], max_iter=steps, max_eval=steps, history_size=steps, line_search_fn="strong_wolfe"
    )

    def loss() -> float:
        descent.zero_grad()
        total = 0.0
        for batch in batches:
            part = batch((unit * value).to(model.dtype)) / len(goals)
            part.backward()
            total += part.item()
        return total if math.isfinite(total) else math.inf  # so that a search along a line turns back

    descent.step(loss)
    if not value.isfinite().all():
        raise BadPlant("no finite value does what the plant promises; try another seed")
    return (unit * value.detach()).float().cpu()
