"""Tasks that circuits were found for in the literature, as families of quoted prompts with their corruptions.

Every item is a question of its own: a clean prompt and its answer, and the same prompt with one word replaced by
another, whose answer is the foil. The replacement is symmetric, so that LD is about as far below 0 on the corrupt run
as above it on the clean one; only `greater_than` has none such. Subjects come twice only when the words run out, so
that items are replicates of each other.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from lashley.core.errors import BadFact
from lashley.core.fact import SLOT, Fact, Relation, Template
from lashley.facts import words


class Item(NamedTuple):
    """One prompt with a slot, and what stands in it: the subject, its answer, and the foil's."""

    prompt: str
    subject: str
    answer: str
    foil: str
    foil_answer: str


class Task(msgspec.Struct, frozen=True):
    """A family of prompts. `items` draws them from a seed, without end."""

    title: str
    source: str
    metric: str
    items: Callable[[random.Random], Iterator[Item]]


COUNT = 12  # items, where not told otherwise


def _endless(some: tuple, rng: random.Random) -> Iterator:
    """The words in a new random order each time around."""
    while True:
        yield from rng.sample(some, len(some))


def _ioi(rng: random.Random) -> Iterator[Item]:
    """Indirect object identification: the name that was said once. The name said twice is exchanged for the other."""
    names = _endless(words.NAMES, rng)
    while True:
        first, second = next(names), next(names)
        place, thing = rng.choice(words.PLACES), rng.choice(words.GIFTS)
        prompt = f"When {first} and {second} went to the {place}, {SLOT} gave a {thing} to"
        giver, other = (first, second) if rng.random() < 0.5 else (second, first)
        yield Item(prompt, giver, other, other, giver)


def _greater_than(rng: random.Random) -> Iterator[Item]:
    """Greater-than, in words: a decade after the first. The corrupt one is the century's first, as in the source."""
    nouns = _endless(words.SPANS, rng)
    while True:
        at, step = rng.randrange(1, len(words.DECADES) - 1), rng.randrange(1, 3)
        if not 0 <= at - step < at + step < len(words.DECADES):
            continue
        begun, after, before = (words.DECADES[i] for i in (at, at + step, at - step))
        century = rng.choice(words.CENTURIES)
        prompt = f"The {next(nouns)} lasted from the year {century} {SLOT} to the year {century}"
        yield Item(prompt, begun, after, "ten", before)


def _agreement(rng: random.Random) -> Iterator[Item]:
    """Subject-verb agreement over a phrase whose noun is of the other number. The subject's number is exchanged."""
    nouns = _endless(words.NOUNS, rng)
    while True:
        noun, other = next(nouns), rng.choice(words.NOUNS)
        if noun == other:
            continue
        number, verb = rng.randrange(2), rng.choice(words.VERBS)
        prompt = f"The {SLOT} {rng.choice(words.PREPOSITIONS)} the {other[1 - number]}"
        yield Item(prompt, noun[number], verb[number], noun[1 - number], verb[1 - number])


def _induction(rng: random.Random) -> Iterator[Item]:
    """Induction: random words, and again the first of two that stood together. Exchanged for another such word."""
    while True:
        some = rng.sample(words.PLAIN, 6)
        a, c = rng.sample(range(0, 6, 2), 2)
        yield Item(f"{' '.join(some)} {SLOT}", some[a], some[a + 1], some[c], some[c + 1])


TASKS: dict[str, Task] = {
    "ioi": Task(
        "indirect object identification",
        "Wang et al. 2211.00593",
        "logit difference of the two names, as in the source; corrupt: the other name is said twice",
        _ioi,
    ),
    "greater_than": Task(
        "greater-than",
        "Hanna et al. 2305.00586",
        "logit difference of a later and an earlier decade equally far off, in words; the source's difference of "
        "probability over all years saturates, and needs digits that are one token; corrupt: the first decade is ten",
        _greater_than,
    ),
    "agreement": Task(
        "subject-verb agreement",
        "Linzen et al. 1611.01368, Lazaridou et al. 1903.07435",
        "logit difference of the verb's two numbers; corrupt: the subject's number",
        _agreement,
    ),
    "induction": Task(
        "induction",
        "Olsson et al. 2209.11895",
        "logit difference of what followed the word and what followed another; the source's loss at repeated tokens "
        "has no foil; corrupt: the other word",
        _induction,
    ),
}


def find(name: str) -> Task:
    """The task of that name. Raises `BadFact`, listing the names there are."""
    key = name.strip().lower().replace("-", "_").replace(" ", "_")
    if key not in TASKS:
        raise BadFact(f"no task {name!r}; there are {', '.join(TASKS)}")
    return TASKS[key]


def items(name: str, count: int = COUNT, seed: int = 0) -> tuple[Item, ...]:
    """`count` different items of a task. Raises `BadFact`.

    >>> items("ioi", 1)[0] == items("ioi", 2)[0], items("ioi", 1) == items("ioi", 1, seed=1)
    (True, False)
    """
    task, found = find(name), {}
    for item in task.items(random.Random(f"{name} {seed}")):
        found[item] = None
        if len(found) == count:
            break
    return tuple(found)


def relation(name: str, item: Item) -> tuple[Relation, Fact]:
    """One item as a relation of two facts in one template, and the fact asked about."""
    template = Template(item.prompt)
    objects = {item.subject: item.answer, item.foil: item.foil_answer}
    return Relation(name, find(name).source, (template,), objects), Fact(name, item.subject, item.answer)
