"""What a model knows: how it answers facts, among the candidates of their relation.

A fact is known when its object ranks first among the relation's candidate objects on at least half of its
templates. A candidate's score is the teacher-forced sum of the log-probabilities of its tokens. Of an object with
aliases the name of the highest score after a prompt is the answer there: it is compared with the others, which are no
rivals, and measured. The foil's, too, is said as the model would say it there.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec
import numpy as np

from lashley.core.fact import Fact, Relation, Template
from lashley.core.run import Run
from lashley.engine import answers
from lashley.engine.bench import Bench
from lashley.engine.readouts import extend

ALL = 1 - 1e-12  # of an answer's probability, that longer ones have at most


class Recalled(msgspec.Struct, frozen=True):
    """How a model answers one prompt: a candidate that it prefers to the object, or "" where the object ranks first;
    `answer` is the object as the model says it."""

    fact: Fact
    template: Template
    run: Run
    better: str
    answer: str


def preferred(bench: Bench, asked: Sequence[tuple[Run, str, Sequence[str]]]) -> list[str]:
    """For each (run, object, candidates), a candidate of higher score than the object's, or "" where it ranks first.

    An answer with which longer ones begin is scored by the probability that it comes and none of these does: its whole
    probability holds theirs, and would never be less.

    Exact, yet cheap: a candidate's score never exceeds its first token's log-probability, so only those whose first
    token beats the object's whole score are scored in full, the likeliest first, until one is found; of an answer of
    one token the first is all.
    """
    tokens = bench.tokens
    ways = [tokens.answers(run, tuple(dict.fromkeys((own, *others)))) for run, own, others in asked]
    first = answers.first_tokens(bench, [run for run, _, _ in asked], [[a[0] for a in x.values()] for x in ways])
    bounds = [dict(zip(x, f.tolist(), strict=True)) for x, f in zip(ways, first, strict=True)]
    longer = [_longer(x) for x in ways]

    def whole(pairs: Sequence[tuple[int, str]]) -> list[float]:
        long = [(i, c) for i, c in pairs if len(ways[i][c]) > 1]
        rest = answers.scores(bench, [(extend(asked[i][0], ways[i][c][:1]), ways[i][c][1:]) for i, c in long])
        after = dict(zip(long, rest.tolist(), strict=True))
        return [bounds[i][c] + after.get((i, c), 0.0) for i, c in pairs]

    def alone(pairs: Sequence[tuple[int, str]]) -> list[float]:
        more = [(i, d) for i, c in pairs for d in longer[i].get(c, ())]
        known = dict(zip((every := list(dict.fromkeys([*pairs, *more]))), whole(every), strict=True))
        return [
            known[i, c] + np.log1p(-min(sum(np.exp(known[i, d] - known[i, c]) for d in longer[i].get(c, ())), ALL))
            for i, c in pairs
        ]

    own = alone([(i, o) for i, (_, o, _) in enumerate(asked)])
    left: dict[int, list[str]] = {}
    found = [""] * len(asked)
    for i, (_, o, _) in enumerate(asked):
        above = sorted((c for c, x in bounds[i].items() if c != o and x > own[i]), key=lambda c, i=i: -bounds[i][c])
        found[i] = next((c for c in above if len(ways[i][c]) == 1 and c not in longer[i]), "")
        if above and not found[i]:
            left[i] = above
    ahead = 1
    while left:
        pairs = [(i, c) for i, above in left.items() for c in above[:ahead]]
        best = {i: own[i] for i in left}
        for (i, c), score in zip(pairs, alone(pairs), strict=True):
            if score > best[i]:
                best[i], found[i] = score, c
        left = {i: above[ahead:] for i, above in left.items() if above[ahead:] and not found[i]}
        ahead *= 2
    return found


def _longer(ways: dict[str, tuple[int, ...]]) -> dict[str, list[str]]:
    """Of each answer with which others begin, the next longer ones; those that read alike are told once."""
    named = {tokens: answer for answer, tokens in ways.items()}
    found: dict[str, list[str]] = {}
    for tokens, answer in named.items():
        begun = next((tokens[:n] for n in range(len(tokens) - 1, 0, -1) if tokens[:n] in named), None)
        for short in (a for a, t in ways.items() if t == begun):
            found.setdefault(short, []).append(answer)
    return found


def recall(bench: Bench, relation: Relation, facts: Sequence[Fact], templates: Sequence[Template]) -> list[Recalled]:
    """How the model answers every fact under every template."""
    pairs = list(itertools.product(facts, templates))
    runs = [bench.tokens.ask(t, relation.say(f.subject, t.language)) for f, t in pairs]
    names = [relation.called(f.object, t.language) for f, t in pairs]
    said = likeliest(bench, runs, names)
    asked = [
        (run, own, [c for c in relation.candidates(t.language) if c == own or c not in called])
        for run, (_, t), own, called in zip(runs, pairs, said, names, strict=True)
    ]
    return [
        Recalled(f, t, run, better, own)
        for (f, t), run, better, own in zip(pairs, runs, preferred(bench, asked), said, strict=True)
    ]


def likeliest(bench: Bench, runs: Sequence[Run], names: Sequence[Sequence[str]]) -> list[str]:
    """For each run the one of some names that the model gives the highest score, the first of equals."""
    ways = [bench.tokens.answers(run, own) if len(own) > 1 else {} for run, own in zip(runs, names, strict=True)]
    every = [(run, tokens) for run, own in zip(runs, ways, strict=True) for tokens in own.values()]
    scores = iter(answers.scores(bench, every).tolist() if every else ())
    each = [{name: next(scores) for name in own} for own in ways]
    return [max(scored, key=lambda n: scored[n]) if scored else own[0] for scored, own in zip(each, names, strict=True)]
