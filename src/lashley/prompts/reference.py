"""What is kept beside the pairs: runs of other facts, for means and noise; unrelated texts; mean activations."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

import numpy as np

from lashley.core.case import Case
from lashley.core.errors import BadPrompt
from lashley.core.fact import Relation, Template
from lashley.core.question import Asked
from lashley.core.run import NOISE_SDS, Run
from lashley.core.site import Kind, Site
from lashley.engine.bench import Bench
from lashley.facts.base import shipped
from lashley.facts.contexts import UNRELATED

REFERENCE_RUNS = 32
TEXTS = 12
FEWEST_OTHERS = 8  # subjects; a mean over fewer would be that of a few odd ones


def reference_runs(bench: Bench, asked: Asked, cases: Sequence[Case], seed: int) -> tuple[Run, ...]:
    """Runs of other subjects in the same templates, at most `REFERENCE_RUNS`, drawn from `seed`; where nearly
    every subject is asked about, of any subject.

    For a prompt of the user's own: the shipped subjects that stand beside its subject in some relation.
    """
    relation = asked.relation
    own = {c.fact.subject for c in cases}
    every = list(relation.objects)
    if relation.name not in shipped() and len(every) < REFERENCE_RUNS:
        beside = [r for r in shipped().values() if own & r.objects.keys()]
        every += [s for r in beside or [shipped()["capital"]] for s in r.objects]
    every = list(dict.fromkeys(every))
    others = [s for s in every if s not in own]
    subjects = others if len(others) >= FEWEST_OTHERS else every
    draw = random.Random(f"reference {seed}")
    templates = list(dict.fromkeys(c.template for c in cases))
    pairs = [(s, t) for s in subjects for t in templates]
    chosen = draw.sample(pairs, min(REFERENCE_RUNS, len(pairs)))
    return tuple(_askable(bench, relation, chosen))


def texts(bench: Bench, seed: int) -> Iterator[Run]:
    """Unrelated sentences as runs."""
    for text in random.Random(f"texts {seed}").sample(UNRELATED, min(TEXTS, len(UNRELATED))):
        with suppress(BadPrompt):
            yield bench.tokens.run(text)


def noise_sd(bench: Bench, asked: Asked) -> float:
    """Standard deviation of the noise that corrupts a subject: `NOISE_SDS` times that of the embeddings of subjects of
    the relation, over tokens and dimensions."""
    template = asked.templates[0]
    subjects = list(asked.relation.objects)[:200]
    runs = list(_askable(bench, asked.relation, [(s, template) for s in subjects]))
    site = Site(0, "resid", None, "subject")
    return NOISE_SDS * float(bench.read(runs, [site])[site].std())


def _askable(bench: Bench, relation: Relation, pairs: Iterable[tuple[str, Template]]) -> Iterator[Run]:
    """The runs of those (subject, template) pairs that fit the model's context."""
    for subject, template in pairs:
        with suppress(BadPrompt):
            yield bench.tokens.ask(template, relation.say(subject, template.language))


def mean_sizes(
    bench: Bench, reference: Sequence[Run], where: Sequence[tuple[int, Kind]]
) -> dict[tuple[int, Kind], np.ndarray]:
    """Mean absolute activation of each unit, over all positions but the sink, [units]."""
    sites: dict[Site, Kind] = {Site(layer, kind): kind for layer, kind in where}
    inside = np.concatenate([np.arange(len(r)) >= r.sink for r in reference])
    acts = bench.read(reference, list(sites)) if sites else {}
    return {
        (s.layer, s.kind): np.abs(acts[s][inside]).reshape(inside.sum(), bench.anatomy.units(k), -1).mean((0, 2))
        for s, k in sites.items()
    }
