"""Plain forward passes of whole runs, embedding noise included, and what is seen in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

import torch
from torch import Tensor

from lashley.core.run import EmbeddingNoise, Run
from lashley.core.site import Kind, Site
from lashley.engine.hooks import OnSite, hooked
from lashley.engine.model import Model

Place = tuple[int, Kind]


class _Enough(Exception):
    """All that was asked for is seen; the rest of the pass is not needed."""


def forward(model: Model, runs: Sequence[Run], on: Mapping[Place, OnSite]) -> Tensor:
    """One pass of runs of equal length under `on`: hidden states after the final norm, [runs, tokens, width].

    Raises `BadPrompt` for a token that the model does not embed.
    """
    for run in runs:
        model.anatomy.check_tokens(run.tokens, run.text)
    first = on.get((0, "resid"))

    def enter(x: Tensor) -> Tensor:
        x = add_embedding_noise(x, runs)
        new = first(x) if first else None
        return x if new is None else new

    with hooked(model.module, model.family, {**on, (0, "resid"): enter}):
        return model.forward(torch.tensor([r.tokens for r in runs], device=model.device))


@torch.no_grad()
def watch(model: Model, runs: Sequence[Run], places: Sequence[Place], see: Callable[[Place, Tensor], None]) -> None:
    """Call `see` with the activation [runs, tokens, width] at each place, as the pass comes by.

    Nothing after the last of them is computed.
    """
    left = set(places)

    def at(place: Place) -> OnSite:
        def seen(x: Tensor) -> None:
            see(place, x)
            left.discard(place)
            if not left:
                raise _Enough

        return seen

    if left:
        with suppress(_Enough):
            forward(model, runs, {place: at(place) for place in places})


def batches(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Numbers of runs of equal length, together about `tokens` tokens, the first length met first."""
    by_length = defaultdict(list)
    for i, length in enumerate(lengths):
        by_length[length].append(i)
    for length, numbers in by_length.items():
        size = max(1, tokens // length)
        yield from (numbers[i : i + size] for i in range(0, len(numbers), size))


def part(model: Model, x: Tensor, site: Site) -> Tensor:
    """What a site names of an activation [.., width]: [.., site width], a view."""
    return x if site.unit is None else x.unflatten(-1, (model.anatomy.units(site.kind), -1))[..., site.unit, :]


def add_embedding_noise(x: Tensor, runs: Sequence[Run]) -> Tensor:
    """Residual stream entering layer 0, [runs, tokens, width], with each run's noise on its subject."""
    if not any(r.noise for r in runs):
        return x
    x = x.clone()
    for i, run in enumerate(runs):
        if run.noise:
            x[i, slice(*run.subject)] += embedding_noise(run, run.noise, x.shape[-1]).to(x)
    return x


def embedding_noise(run: Run, noise: EmbeddingNoise, width: int) -> Tensor:
    """The draw [subject tokens, width] that `noise` names; the same on every machine and in every batch."""
    generator = torch.Generator().manual_seed(noise.seed)
    start, stop = run.subject
    return noise.sd * torch.randn(stop - start, width, generator=generator)
