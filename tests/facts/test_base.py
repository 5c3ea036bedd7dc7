"""The shipped fact base: enough of it, well formed, unambiguous, and true where spot-checked."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from lashley.core.fact import Relation
from lashley.facts.base import shipped

RELATIONS = shipped()
# Symbols and numbers cannot avoid it (C, Ca; 1, 10): a trainer gives each its own token.
PREFIXES_ALLOWED = {"element_symbol", "element_number"}

each_relation = pytest.mark.parametrize("relation", RELATIONS.values(), ids=RELATIONS)


def test_there_are_enough_relations_and_facts() -> None:
    assert len(RELATIONS) >= 12
    assert sum(len(r.objects) for r in RELATIONS.values()) >= 1500


@each_relation
def test_every_register_and_language_has_templates(relation: Relation) -> None:
    english = Counter(t.register for t in relation.templates if t.language == "en")
    assert english["statement"] >= 8
    assert min(english["question"], english["dialogue"], english["list"]) >= 2
    assert set(english) == {"statement", "question", "dialogue", "list"}
    assert sum(t.language == "es" for t in relation.templates) >= 4
    assert {t.language for t in relation.templates} == {"en", "es"}


@each_relation
def test_the_subject_comes_early_in_one_template_and_later_in_others(relation: Relation) -> None:
    places = [t.text.index("{}") for t in relation.templates if t.register == "statement"]
    assert 0 in places or any(t.text.startswith("The element {}") for t in relation.templates)
    assert max(places) > 15


def test_no_two_templates_are_the_same() -> None:
    texts = Counter(t.text for r in RELATIONS.values() for t in r.templates)
    assert [text for text, count in texts.items() if count > 1] == []


@each_relation
def test_nothing_is_blank_or_padded(relation: Relation) -> None:
    strings = [relation.source, *(t.text for t in relation.templates)]
    strings += [
        *relation.objects,
        *relation.objects.values(),
        *relation.names["es"],
        *relation.names["es"].values(),
    ]
    assert [s for s in strings if not s or s != s.strip() or "  " in s] == []


@each_relation
@pytest.mark.parametrize("language", ["en", "es"])
def test_no_object_begins_another(relation: Relation, language: str) -> None:
    if relation.name in PREFIXES_ALLOWED:
        pytest.skip("unavoidable here")
    objects = sorted(set(relation.candidates(language)))
    assert [(a, b) for a, b in pairwise(objects) if b.startswith(a)] == []


@each_relation
def test_subjects_stay_distinct_in_spanish(relation: Relation) -> None:
    spanish = Counter(relation.say(s, "es") for s in relation.objects)
    assert [s for s, count in spanish.items() if count > 1] == []


@each_relation
def test_the_source_is_named(relation: Relation) -> None:
    assert len(relation.source) > 40


def test_every_spanish_name_is_used() -> None:
    used = {name for r in RELATIONS.values() for pair in r.objects.items() for name in pair}
    assert set(next(iter(RELATIONS.values())).names["es"]) <= used


@pytest.mark.parametrize(
    ("relation", "subject", "obj"),
    [
        ("capital", "Australia", "Canberra"),
        ("language", "Brazil", "Portuguese"),
        ("currency", "Japan", "yen"),
        ("continent", "Kenya", "Africa"),
        ("demonym", "Netherlands", "Dutch"),
        ("element_symbol", "tungsten", "W"),
        ("element_number", "gold", "79"),
        ("city_country", "Munich", "Germany"),
        ("author", "Moby-Dick", "Herman Melville"),
        ("state_capital", "New York", "Albany"),
    ],
)
def test_spot_check(relation: str, subject: str, obj: str) -> None:
    assert RELATIONS[relation].objects[subject] == obj


def test_names_are_said_in_spanish() -> None:
    capital = RELATIONS["capital"]
    assert (capital.say("Germany", "es"), capital.say("London", "es")) == ("Alemania", "Londres")
    assert capital.say("Chile", "es") == "Chile"
    assert capital.say("Germany", "en") == "Germany"
    assert "Pekín" in capital.candidates("es")
