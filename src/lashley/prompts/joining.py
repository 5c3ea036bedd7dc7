"""How answers continue a prompt: with one blank or none, asked of the tokenizer and the model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import msgspec
import numpy as np

from lashley.core.errors import BadPrompt
from lashley.core.fact import BLANK, Template
from lashley.core.question import Asked
from lashley.engine import answers
from lashley.engine.bench import Bench
from lashley.facts.joins import NONE, ONLY, joins

SETTLING = 8  # facts, and objects of each, by which it is found out how answers join a template
DOUBT = 2.0  # below such odds that is in doubt


def settled(bench: Bench, asked: Asked) -> Asked:
    """The question with templates that say how answers join them: with one blank or none, whichever makes the answers
    likelier where their text leaves that open. Raises `BadPrompt` for a chat where there can be none."""
    templates = tuple(_settled(bench, asked, t) for t in asked.templates)
    return asked if templates == asked.templates else msgspec.structs.replace(asked, templates=templates)


def _settled(bench: Bench, asked: Asked, template: Template) -> Template:
    if template.join is not msgspec.UNSET:
        return template
    say = lambda name: asked.relation.say(name, template.language)  # noqa: E731
    pairs: list[tuple[str, list[str]]] = []
    for fact in asked.facts[:SETTLING]:
        others = (asked.relation.objects[f] for f in asked.foils.get(fact.subject, ())[:SETTLING])
        pairs.append((say(fact.subject), [say(o) for o in dict.fromkeys((fact.object, *others))]))
    ends = [bench.tokens.chat(template.fill(s))[1] if template.chat else template.fill(s) for s, _ in pairs]
    ways = tuple(dict.fromkeys(j for end, (_, said) in zip(ends, pairs, strict=True) for j in joins(end, said)))
    if ways in ((), (BLANK,)):
        return template
    if len(ways) == 1:
        return msgspec.structs.replace(template, join=ways[0], joined="none")
    logs = {j: _likelihood(bench, msgspec.structs.replace(template, join=j), pairs) for j in ways}
    best, other = sorted(ways, key=lambda j: -logs[j])
    if logs[best] == -np.inf:
        return template
    odds = float(np.exp(min(logs[best] - logs[other], 99.0)))
    if best == BLANK and odds >= DOUBT:
        alone = ways[0] == NONE and logs[NONE] == -np.inf
        return msgspec.structs.replace(template, join=BLANK, joined=ONLY if alone else "")
    way = ("none" if best == NONE else "blank") + "?" * (odds < DOUBT)
    return msgspec.structs.replace(template, join=best, joined=f"{way} {odds:.3g}" if odds < 1e6 else f"{way} inf")


def _likelihood(bench: Bench, template: Template, pairs: Sequence[tuple[str, Sequence[str]]]) -> float:
    """Log-probability that one of the answers follows, as the template joins them: mean over the (subject, answers)
    that can be asked, -inf where none can."""
    asked, sizes = [], []
    for subject, said in pairs:
        with suppress(BadPrompt):
            run = bench.tokens.ask(template, subject)
            ways = bench.tokens.answers(run, said)
            asked += [(run, tokens) for tokens in dict.fromkeys(ways.values())]
            sizes.append(len(set(ways.values())))
    each = np.split(answers.scores(bench, asked), np.cumsum(sizes)[:-1]) if asked else []
    return float(np.mean([np.logaddexp.reduce(x) for x in each])) if each else -np.inf
