"""Where plants grow: what one layer's MLP sees on ordinary text, and which of its neurons would not be missed."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lashley.core.errors import BadPrompt
from lashley.core.fact import Relation, Template
from lashley.core.run import Run
from lashley.engine.bench import Bench
from lashley.engine.hooks import entering
from lashley.engine.passes import batches, watch
from lashley.facts.base import shipped
from lashley.facts.grammar import sentences
from lashley.models.planted.neuron import mlp

PROMPTS, SENTENCES = 1000, 150  # of the fact base beside each fact's first template, and of grammar
KEPT = 4  # layers whose reference is at hand
_references: dict[tuple[str, int], Reference] = {}


@dataclass(frozen=True)
class Reference:
    """Ordinary runs on one unedited model: what enters the MLP of `layer` in each, [tokens, width], and `written`,
    the mean absolute activation of each neuron times the norm of its column, [neurons].

    The first runs are those of `facts`, every shipped fact in its relation's first template.
    """

    layer: int
    facts: list[tuple[Relation, str]]
    runs: list[Run]
    inputs: list[Tensor]
    written: Tensor

    def idle(self, count: int, rng: random.Random) -> list[int]:
        """Neurons that write least, drawn among the least 2 % (or three times as many as asked)."""
        order = self.written.argsort().tolist()
        return rng.sample(order[: max(3 * count, len(order) // 50)], count)


def reference(bench: Bench, layer: int) -> Reference:
    """The ordinary runs and what enters one layer in them, computed once as long as the weights stay the same."""
    key = (bench.model.weights_hash, layer)
    if key not in _references:
        facts, runs = _ordinary(bench)
        inputs, acts = entered(bench, runs, layer)
        written = acts * bench.model.neuron_outputs(layer).norm(dim=-1).float().cpu()
        while len(_references) >= KEPT:
            del _references[next(iter(_references))]
        _references[key] = Reference(layer, facts, runs, inputs, written)
    return _references[key]


@torch.no_grad()
def entered(bench: Bench, runs: Sequence[Run], layer: int) -> tuple[list[Tensor], Tensor]:
    """What enters the MLP of `layer`, [tokens, width] a run, and each neuron's mean absolute activation, [neurons]."""
    model, found = bench.model, [torch.empty(0)] * len(runs)
    total, tokens = torch.zeros(model.anatomy.neurons), 0
    for batch in batches([len(r) for r in runs], model.tokens_per_pass):
        received: list[Tensor] = []
        acts: list[Tensor] = []
        with entering(mlp(model, layer).inputs[0], received.append):
            watch(model, [runs[i] for i in batch], [(layer, "neuron")], lambda _, x, to=acts: to.append(x))
        inputs = received[0].unflatten(0, (-1, len(runs[batch[0]]))) if received[0].ndim == 2 else received[0]
        for i, x in zip(batch, inputs, strict=True):
            found[i] = x.float().cpu()
        total += acts[0].float().abs().flatten(0, -2).sum(0).cpu()
        tokens += len(batch) * len(runs[batch[0]])
    return found, total / max(tokens, 1)


def english(relation: Relation) -> tuple[Template, ...]:
    return tuple(t for t in relation.templates if t.language == "en")


def prose(rng: random.Random) -> Iterator[str]:
    """Sentences without end: grammar, and facts as the fact base states them."""
    for s in sentences(rng):
        yield f"{s.prefix} {s.good}{s.after}"
        relation = rng.choice(list(shipped().values()))
        subject = rng.choice(list(relation.objects))
        template = rng.choice([t for t in english(relation) if t.register == "statement"])
        yield f"{template.fill(subject)} {relation.objects[subject]}."


def _ordinary(bench: Bench) -> tuple[list[tuple[Relation, str]], list[Run]]:
    rng = random.Random("ground")  # as it was called, so that it draws the same
    pairs = [(r, s) for r in shipped().values() for s in r.objects]
    facts, runs = [], []
    for relation, subject in pairs:
        with suppress(BadPrompt):
            runs.append(bench.tokens.ask(relation.templates[0], subject))
            facts.append((relation, subject))
    for relation, subject in rng.sample(pairs, min(PROMPTS, len(pairs))):
        with suppress(BadPrompt):
            runs.append(bench.tokens.ask(rng.choice(english(relation)), subject))
    text = (f"{s.prefix} {s.good}{s.after}" for s in sentences(rng))
    return facts, runs + [bench.tokens.run(t) for t in itertools.islice(text, SENTENCES)]


def ends(run: Run, subject: tuple[int, ...]) -> np.ndarray:
    """The positions at which the tokens `subject` end, bool [tokens]."""
    n = len(subject)
    return np.array([run.tokens[max(0, i + 1 - n) : i + 1] == subject for i in range(len(run))])
