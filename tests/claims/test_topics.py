"""What a claim is asked on: parts that share no prompt."""

from lashley.claims.grammar import parse
from lashley.claims.topics import prompts


def test_contexts_come_in_two_lots_with_every_kind_in_both_and_no_prompt_twice():
    asked = prompts(parse("L0.mlp stores capital(France)").about, 0, searched=False, others=4)
    one, two = (q.templates for q in asked.groups["domain"])
    assert {t.context for t in one} == {t.context for t in two} and len({t.context for t in one}) == 5
    assert not {*one} & {*two} and abs(len(one) - len(two)) <= 5
