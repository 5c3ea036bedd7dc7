"""What was searched on confirms nothing, and a paraphrase is new to both."""

import itertools

import pytest

from lashley.core.fact import Template
from lashley.facts.base import shipped
from lashley.facts.parts import EVERY, FEWEST, parts

COUNTS = range(1, 41)


def made(count: int, searched: bool) -> tuple[list[Template], dict[str, tuple[Template, ...]]]:
    templates = [Template(f"{i} {{}}") for i in range(count)]
    return templates, parts(templates, searched)


@pytest.mark.parametrize("searched", [False, True])
@pytest.mark.parametrize("count", COUNTS)
def test_every_template_has_a_part_and_paraphrases_are_new(count, searched):
    templates, got = made(count, searched)
    assert set(itertools.chain(*got.values())) == set(templates)
    assert not set(got["paraphrase"]) & {*got["confirm"], *got["discovery"]}
    assert all(list(of) == [t for t in templates if t in of] for of in got.values())


@pytest.mark.parametrize("count", range(FEWEST, 41))
def test_after_a_search_the_three_are_disjoint(count):
    _, got = made(count, searched=True)
    assert not set(got["discovery"]) & set(got["confirm"])
    assert len(got["discovery"]) == -(-count // EVERY)


@pytest.mark.parametrize("count", COUNTS)
def test_where_nothing_was_searched_no_prompt_is_spared(count):
    templates, got = made(count, searched=False)
    assert len(got["confirm"]) + len(got["paraphrase"]) == len(templates)


@pytest.mark.parametrize("relation", shipped().values(), ids=shipped())
def test_every_shipped_relation_has_enough_to_confirm_and_to_paraphrase(relation):
    spoken = [t for t in relation.templates if t.language == "en"]
    for searched in (False, True):
        got = parts(spoken, searched)
        assert min(len(got["confirm"]), len(got["paraphrase"])) >= 6, {k: len(v) for k, v in got.items()}
