"""What is asked: as it was typed, and resolved to facts, templates and foils."""

from __future__ import annotations

import msgspec

from lashley.core.fact import Fact, Relation, Template


class Question(msgspec.Struct, frozen=True):
    """What the user asks, as typed. `register` None: every register. `max_facts` None: every fact."""

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
    chat: bool = False  # prompts are messages in the tokenizer's chat template


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
