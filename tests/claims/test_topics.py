"""What a claim is asked on."""

import pytest

from lashley.claims.grammar import parse
from lashley.claims.topics import CONTEXTS, prompts
from lashley.facts.contexts import KINDS, mentions


def asked(fact: str):
    return prompts(parse(f"L0.mlp stores {fact}").about, 0, searched=False, others=4)


def test_contexts_are_asked_one_by_one_the_kinds_by_turns():
    templates = [t for q in asked("capital(France)").groups["domain"] for t in q.templates]
    kinds = [t.context for t in templates]
    assert kinds[: len(KINDS)] == list(KINDS) == kinds[len(KINDS) : 2 * len(KINDS)]
    assert max(map(kinds.count, KINDS)) <= CONTEXTS and len(set(templates)) == len(templates) > 4 * CONTEXTS


@pytest.mark.parametrize("fact", ["continent(Kenya)", "animal_class(dog)", "capital(France)"])
def test_each_context_has_foils_that_its_text_does_not_name(fact):
    made = asked(fact)
    for question in made.groups["domain"]:
        (template,), (foils,) = question.templates, question.foils.values()
        assert foils
        assert not mentions(template.before, [*foils, *(question.relation.objects[f] for f in foils)])


def test_facts_of_the_same_subject_are_asked_in_four_templates_and_others_in_two():
    for question in asked("capital(France)").groups["other"]:
        assert len(question.templates) == (4 if question.facts[0].subject == "France" else 2)
