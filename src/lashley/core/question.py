"""What is asked: as it was typed, and resolved to facts, templates and foils."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from lashley.core.fact import Fact, Relation, Template
from lashley.core.parameters import Parameter, parameters


class Question(msgspec.Struct, frozen=True):
    """What the user asks, as typed.

    Parameters
    ----------
    prompt
        A prompt of your own, with {} where the subject goes: "The capital of {} is".
    relation
        A relation of the fact base (see: lashley facts list).
    task
        A task of the literature instead (see: lashley tasks list).
    subject
        One subject of it; without, every subject is asked about.
    object
        The object: needed with a prompt of your own; or another than the fact base has, that of a planted fact.
    foil_subject
        The subject that is put in its place; a prompt of your own needs none under noise as the corruption.
    foil_object
        That subject's object, against which the answer is read: needed with a prompt of your own, under noise too.
    language
        Language of the templates.
    register
        Only statement, question, dialogue or list templates.
    max_facts
        At most so many facts, or items of a task, drawn at random.
    seed
        Seed of that draw and of the foils.
    chat
        Put every prompt into the tokenizer's chat template, as a user's message; the answer is how the reply begins.
    """

    prompt: str | None = None
    relation: str | None = None
    subject: str | None = None
    object: str | None = None
    foil_subject: str | None = None
    foil_object: str | None = None
    language: str = "en"
    register: str | None = None
    max_facts: int | None = None
    seed: int = 0
    task: str | None = None
    chat: bool = False


FIRST = ("prompt", "relation", "task")
OTHERWISE = Parameter("question_seed", int | None, None, "Draw facts and foils by this seed instead.")


def words(params: type) -> tuple[Parameter, ...]:
    """What is taken beside an experiment's own parameters, to say what is asked. There is one seed for both, and
    `question_seed` for who wants facts and foils drawn otherwise."""
    taken = sorted(parameters(Question), key=lambda p: p.name not in FIRST)
    at = [p.name for p in taken].index("seed")
    own = () if _seeded(params) else taken[at : at + 1]
    return (*taken[:at], *own, OTHERWISE, *taken[at + 1 :])


def seed_of(params: Any, seed: int = 0, question_seed: int | None = None) -> int:
    """The seed of a question: that of the experiment's parameters, or `seed` where they have none; or another."""
    if question_seed is not None:
        return question_seed
    return params.seed if _seeded(params) else seed


def _seeded(params: Any) -> bool:
    return any(f.name == "seed" for f in dataclasses.fields(params))


class Asked(msgspec.Struct, frozen=True):
    """What is asked about, by the names of the fact base; `relation.say` puts them in a template's language.

    `foils[subject]` are the subjects whose object may stand against the subject's own, in the order to try
    them. A quoted prompt is a relation named "prompt" with one template, the fact and its foil. The last `beside`
    facts are not what is asked about: they stand beside it, for comparison.
    """

    relation: Relation
    facts: tuple[Fact, ...]
    templates: tuple[Template, ...]
    foils: dict[str, tuple[str, ...]]
    beside: int = 0
