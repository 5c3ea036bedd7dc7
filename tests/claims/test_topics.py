"""What a claim is asked on."""

import pytest

from lashley.claims.grammar import parse
from lashley.claims.spread import apart
from lashley.claims.topics import CONTEXTS, prompts
from lashley.core.site import Site, parse_sites
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


def test_sets_that_share_sites_are_not_apart():
    def sets(*texts: str) -> list[tuple[Site, ...]]:
        return [parse_sites(text) for text in texts]

    assert apart(sets("L1.mlp.n1+L1.mlp.n2", "L1.mlp.n3", "L1.attn.h1", "L2.mlp"))
    assert apart(sets("L1.mlp@final", "L1.mlp@subject_last"))
    for shared in (
        ("L1.mlp.n1", "L1.mlp.n1+L1.mlp.n2"), ("L1.mlp", "L1.mlp.n1"), ("L1.attn.h2@final", "L1.attn"),
        ("L1.mlp", "L1.mlp@final"), ("L1.mlp@final", "L1.mlp.n4@final"),
    ):  # fmt: skip
        assert not apart(sets(*shared)) and not apart(sets(*reversed(shared)))
