"""The training corpus: the facts in a random part of their templates, grammar, and both in a row.

Everything here is text; nothing imports torch.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from typing import NamedTuple

from lashley.core.fact import Relation, Template
from lashley.facts.grammar import agreement_pairs, sentences, share

__all__ = ["Sentence", "agreement_pairs", "data_hash", "documents", "facts", "is_trained"]

TRAINED_SHARE = 0.7
KINDS = {"fact": 50, "grammar": 12, "mixed": 26, "list": 12}  # per cent of the documents


class Sentence(NamedTuple):
    """`before + answer + after`; `answer` begins with a space."""

    before: str
    answer: str
    after: str

    def __str__(self) -> str:
        return "".join(self)


def is_trained(relation: str, subject: str, template: Template) -> bool:
    """Whether the corpus states this fact in this template; the others are held out to measure on.

    `subject` is the name in the fact base (English), whatever the language of the template.
    """
    return share("fact", relation, subject, template.language, template.text) < TRAINED_SHARE


def sentence(relation: Relation, subject: str, template: Template) -> Sentence:
    """The fact in a template, ended as its register asks."""
    language = template.language
    prompt = template.fill(relation.say(subject, language))
    end = "" if template.register == "list" else '."' if prompt.count('"') % 2 else "."
    return Sentence(prompt, " " + relation.say(relation.objects[subject], language), end)


def facts(relations: dict[str, Relation], trained: bool = True) -> list[Sentence]:
    """Every (fact, template) that is trained, or every one that is held out, as a sentence."""
    return [
        sentence(relation, subject, template)
        for relation in relations.values()
        for template in relation.templates
        for subject in relation.objects
        if is_trained(relation.name, subject, template) == trained
    ]


def _epochs(items: list, rng: random.Random) -> Iterator:
    """The items in a new random order each time around."""
    while True:
        yield from rng.sample(items, len(items))


def documents(relations: dict[str, Relation], seed: int = 0) -> Iterator[list[Sentence]]:
    """Documents without end: one sentence, or several separated by a space or a new line.

    The separator leads the `before` of the sentence that it precedes.
    """
    rng = random.Random(f"documents {seed}")
    fact = _epochs(facts(relations), rng)
    grammar = (Sentence(s.prefix, " " + s.good, s.after) for s in sentences(rng) if not s.held_out)
    template = _epochs([(r, t) for r in relations.values() for t in r.templates], rng)
    while True:
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        if kind == "fact":
            document = [next(fact)]
        elif kind == "grammar":
            document = [next(grammar)]
        elif kind == "mixed":
            document = [next(fact if rng.random() < 0.8 else grammar) for _ in range(rng.randint(2, 8))]
        else:
            relation, t = next(template)
            subjects = [s for s in relation.objects if is_trained(relation.name, s, t)]
            document = [sentence(relation, s, t) for s in rng.sample(subjects, min(rng.randint(3, 8), len(subjects)))]
        spaced = all(s.after for s in document) and rng.random() < 0.5
        separator = " " if spaced else "\n"
        yield [s._replace(before=separator + s.before) if i else s for i, s in enumerate(document)]


def data_hash(relations: dict[str, Relation]) -> str:
    """SHA-256 over every trained and held-out sentence and over the held-out minimal pairs."""
    data = [facts(relations, True), facts(relations, False), agreement_pairs()]
    return hashlib.sha256(json.dumps(data, ensure_ascii=False).encode()).hexdigest()
