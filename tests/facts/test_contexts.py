"""Contexts: text before a prompt that gives nothing away, the same every time."""

import re

import pytest

from lashley.core.fact import Relation, Template
from lashley.core.question import Question
from lashley.facts.base import shipped
from lashley.facts.contexts import KINDS, UNRELATED, contexts, mentions, statement, with_contexts
from lashley.facts.question import resolve

RELATIONS = shipped()
each_relation = pytest.mark.parametrize("relation", RELATIONS.values(), ids=RELATIONS)


def english(relation: Relation) -> tuple[Template, ...]:
    return tuple(t for t in relation.templates if t.language == "en")


def some(relation: Relation) -> list[str]:
    return list(relation.objects)[:: max(len(relation.objects) // 8, 1)]


def test_unrelated_sentences_name_nothing_in_the_fact_base():
    assert len(set(UNRELATED)) >= 24
    names = {
        relation.say(name, language)
        for relation in RELATIONS.values()
        for fact in relation.objects.items()
        for name in fact
        for language in ("en", "es")
    }
    assert [s for s in UNRELATED if mentions(s, names)] == []


@each_relation
def test_every_kind_is_there_and_gives_nothing_away(relation):
    for subject in some(relation):
        made = contexts(relation, subject, english(relation), seed=1)
        assert [t.context for t in made] == [kind for kind in KINDS for _ in range(2)]
        own = {relation.say(n, la) for n in (subject, relation.objects[subject]) for la in ("en", "es")}
        for t in made:
            assert not mentions(t.before, own), (subject, t)


@each_relation
def test_a_context_keeps_its_template_and_ends_where_the_prompt_begins(relation):
    given = {(t.text, t.register, t.language) for t in relation.templates}
    for t in contexts(relation, some(relation)[0], english(relation), seed=0, per_kind=3):
        assert (t.text, t.register, t.language) in given
        if t.context == "another language":
            assert t.language == "es" and not t.before
        else:
            assert t.language == "en" and re.search(r"\S[ \n]$", t.before)
            assert t.fill("X") == t.before + t.text.replace("{}", "X")


def test_they_depend_on_the_relation_the_subject_and_the_seed_alone():
    capital = RELATIONS["capital"]
    made = [contexts(capital, s, english(capital), seed) for s, seed in [("France", 0), ("Japan", 0), ("France", 1)]]
    assert made[0] == contexts(capital, "France", english(capital), 0)
    assert len(set(made)) == 3


def test_templates_are_dealt_out_before_one_comes_twice():
    capital = RELATIONS["capital"]
    made = [t for t in contexts(capital, "France", english(capital), 0) if t.before]
    assert len({t.text for t in made}) == len(made) == 8


def test_few_shots_are_other_facts_in_the_very_template():
    capital = RELATIONS["capital"]
    for t in contexts(capital, "France", english(capital), 0, per_kind=4):
        if t.context == "few-shot":
            lines = t.before.splitlines()
            plain = Template(t.text, t.register)
            assert len(set(lines)) == 3
            assert set(lines) <= {statement(capital, s, plain) for s in capital.objects if s != "France"}


def test_another_register_opens_with_one():
    capital = RELATIONS["capital"]
    statements = [t for t in english(capital) if t.register == "statement"]
    for t in contexts(capital, "France", statements, 0, per_kind=5):
        if t.context == "another register":
            assert t.before.startswith(("A: ", "Q: ", "Question: ", '"')) or " - " in t.before or ": " in t.before


def test_what_is_to_be_avoided_is_not_named():
    capital = RELATIONS["capital"]
    avoid = [name for fact in list(capital.objects.items())[:150] for name in fact]
    for t in contexts(capital, "France", english(capital), 0, per_kind=4, avoid=avoid):
        assert not mentions(t.before, avoid)


def test_a_kind_that_cannot_be_made_is_left_out():
    typed = Relation("prompt", "", (Template("The capital of {} is"),), {"France": "Paris", "Italy": "Rome"})
    made = contexts(typed, "France", typed.templates, 0, avoid=("Italy", "Rome"))
    assert {t.context for t in made} == {"unrelated text", "distractor facts", "another register"}
    assert not any(mentions(t.before, ("France", "Paris", "Italy", "Rome")) for t in made)


@pytest.mark.parametrize("name", ["capital", "continent", "animal_class", "element_symbol"])
@pytest.mark.parametrize("facts", [1, 5])
def test_contexts_of_a_question_name_none_of_its_facts_and_foils(name, facts):
    before = resolve(Question(relation=name, max_facts=facts, seed=3))
    after = with_contexts(before, seed=3)
    assert after.templates[: len(before.templates)] == before.templates
    objects = before.relation.objects
    for fact in before.facts:
        assert set(after.foils[fact.subject]) <= set(before.foils[fact.subject])
        assert after.foils[fact.subject]
        names = [fact.subject, *after.foils[fact.subject]]
        names += [objects[n] for n in names]
        assert not any(mentions(t.before, names) for t in after.templates)
    if facts == 1:
        assert {t.context for t in after.templates} == {"", *KINDS}


def test_a_given_foil_stays():
    asked = resolve(Question(relation="capital", subject="France", foil_subject="Italy"))
    assert with_contexts(asked, 0).foils == asked.foils
