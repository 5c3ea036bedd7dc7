"""A claim stands where all that it needs holds, falls where one part fails, and is open otherwise."""

import msgspec
import pytest
from scipy import stats

from lashley.claims.grammar import parse
from lashley.claims.verdicts import OF_OTHERS, judge, lacking, together, untestable
from lashley.core.claim import CRITERIA, REQUIRED, Judged

from .conftest import TRUE, WEAK

STORES = parse("L4.mlp.n173 stores capital(France)")
ONLY = parse("L4.mlp.n173 stores capital(France) and nothing else")
PREDICATES = [parse(f"L4.mlp.n173 {p} capital(France)") for p in REQUIRED]
BROKEN = {  # criterion -> measurements with which it fails, and no other that "stores" requires
    "sufficient": {"confirm restore patch": 0.2},
    "specific": {"text damage mean": 0.3},
    "better than chance": {"confirm random damage mean": 0.9, "confirm random restore patch": 0.9},
    "stable under prompt": {"paraphrase damage mean": 0.2},
    "stable under domain": {"domain damage mean": 0.2},
    "robust to method": {"confirm damage zero": 0.2},
    "not redundant": {"confirm second patch": 0.9},
    "necessary": WEAK,
}


def failing(verdict) -> set[str]:
    return {c.criterion for c in verdict.criteria if c.status == "fails"} - {"contributes"}


@pytest.mark.parametrize("claim", [*PREDICATES, ONLY], ids=str)
def test_a_claim_of_which_everything_holds_is_supported(found, claim):
    got = judge(claim, found())
    assert got.outcome == "supported" and got.weaker == ""
    assert all(got[name].status == "holds" for name in claim.required)
    assert got.confidence is None  # one less the floor of a permutation test is no confidence
    assert [c.criterion for c in got.criteria] == list(CRITERIA)


@pytest.mark.parametrize(("name", "changed"), BROKEN.items(), ids=BROKEN)
def test_where_one_criterion_fails_that_one_is_named_and_the_claim_refuted(found, name, changed):
    got = judge(STORES, found(changed))
    assert failing(got) == {name} and got.outcome == "refuted"
    assert got.why.startswith(f"Refuted: {name} fails (") and ";" not in got.why and "wanted a" in got.why


@pytest.mark.parametrize(("name", "changed"), BROKEN.items(), ids=BROKEN)
def test_a_failing_criterion_refutes_only_claims_that_require_it(found, name, changed):
    for claim in PREDICATES:
        outcome = judge(claim, found(changed)).outcome
        assert outcome == ("refuted" if name in claim.required else "supported"), claim


@pytest.mark.parametrize(
    ("changed", "start"),
    [
        (BROKEN["not redundant"], "L4.mlp.n173 is necessary and sufficient for capital(France). "),
        (BROKEN["sufficient"], "L4.mlp.n173 is necessary for capital(France). "),
        (WEAK, "L4.mlp.n173 is sufficient for capital(France). "),
        (BROKEN["better than chance"], "L4.mlp.n173 contributes 80"),
        ({"confirm random damage mean": 0.9}, "L4.mlp.n173 is sufficient for capital(France). "),
        (WEAK | BROKEN["sufficient"], "L4.mlp.n173 contributes 20"),
    ],
)
def test_what_the_evidence_does_support_is_said_with_its_numbers(found, changed, start):
    weaker = judge(STORES, found(changed)).weaker
    assert weaker.startswith(start) and "contributes " in weaker and "% [" in weaker and "on 10 of 10 prompts" in weaker
    strong = "99" if "confirm random damage mean" in changed else "0"
    assert f"; {strong} of 99 matched random sites do as much as its " in weaker
    assert weaker.endswith("% on the 6 prompts that they share.")


def test_without_nothing_else_the_claim_may_still_hold(found):
    got = judge(ONLY, found(fires=0.9))
    assert failing(got) == {"monosemantic"} and got.outcome == "refuted"
    assert got.weaker.startswith("L4.mlp.n173 stores capital(France). ")
    assert judge(STORES, found(fires=0.9)).outcome == "supported"


def test_no_effect_is_shown_by_equivalence(found):
    nothing = dict.fromkeys(WEAK, 0.0) | {"confirm restore patch": 0.0}
    weaker = judge(STORES, found(nothing)).weaker
    assert "cannot be told from 0; more than 1.5% either way is excluded." in weaker
    unsure = {"confirm damage mean": [0.9, -0.8] * 5}
    assert "cannot be told from 0; up to 69% cannot be excluded." in judge(STORES, found(unsure)).weaker


def test_a_site_that_works_against_the_fact_takes_away(found):
    against = dict.fromkeys(WEAK, -0.2)
    assert "L4.mlp.n173 takes away 20" in judge(STORES, found(against)).weaker


def test_the_weaker_sentence_names_the_fact_whole(found):
    claim = parse('L4.mlp.n173 stores work("Stand by me [live]") and nothing else by necessary [necessary = 0.9]')
    assert 'work("Stand by me [live]")' in judge(claim, found()).weaker


@pytest.mark.parametrize("templates", [1, 3, 5])
def test_few_prompts_leave_it_open_and_say_how_many_are_missing(found, templates):
    got = judge(STORES, found(templates=templates))
    assert got.outcome == "undecided"
    assert got["necessary"].status == "undecided" and got["necessary"].missing == 6 - templates
    assert "necessary is open (damage 8" in got.why and f"about {6 - templates} more prompt" in got.why
    assert "too few for an interval" in got.weaker and "no effect" not in got.weaker


def test_what_is_not_measured_leaves_it_open(found):
    got = judge(STORES, found({"paraphrase damage mean": None}))
    assert got.outcome == "undecided" and "stable under prompt is not tested" in got.why
    assert "Not tested: stable under prompt, editable." in got.caveats


def test_few_peers_leave_it_open(found):
    got = judge(STORES, found(peers=10))
    assert got.outcome == "undecided" and "about 9 more peers" in got.why


def test_self_repair_is_named(found):
    got = judge(STORES, found(WEAK | {"confirm held mean": 0.8}))
    assert got["not redundant"].status == "fails" and "masked by self-repair" in got.why


def test_editing_is_not_tested_and_not_required(found):
    claim = parse("L4.mlp.n173 stores capital(France) by necessary, editable")
    got = judge(claim, found())
    assert got.outcome == "supported" and got["editable"].status == "not tested"
    assert got["editable"].note.startswith("not tested") and "editable" in got.caveats[0]


def test_a_claim_that_asks_for_nothing_but_editing_is_open(found):
    got = judge(parse("L4.mlp.n173 stores capital(France) by editable"), found())
    assert got.outcome == "undecided" and "editable is not tested" in got.why


def test_thresholds_are_those_of_the_claim(found):
    lenient = parse("L4.mlp.n173 is necessary for capital(France) [necessary = 0.1]")
    assert judge(lenient, found(WEAK)).outcome == "supported"
    strict = parse("L4.mlp.n173 is necessary for capital(France) [necessary = 0.95]")
    assert judge(strict, found()).outcome == "refuted"


def beyond(p: float, sd: float = 0.02, n: int = 10) -> float:
    """A mean whose two-sided p against one half is `p`."""
    error = sd * (n / (n - 1)) ** 0.5 / n**0.5
    return 0.5 + float(stats.t.isf(p / 2, n - 1)) * error


def test_holm_guards_refutation(found):
    """Either criterion fails alone at p = 0.03; of two, that one fails is a disjunction."""
    made = found({"confirm restore patch": 1 - beyond(0.03), "paraphrase damage mean": 1 - beyond(0.03)})
    for alone in ("sufficient", "stable under prompt"):
        got = judge(parse(f"L4.mlp.n173 stores capital(France) by {alone}"), made)
        assert got.outcome == "refuted" and got[alone].p == pytest.approx(0.03)
    both = judge(parse("L4.mlp.n173 stores capital(France) by sufficient, stable under prompt"), made)
    assert both.outcome == "undecided" and both["sufficient"].p == pytest.approx(0.06)


def test_support_is_a_conjunction_and_each_part_is_tested_at_alpha(found):
    made = found({"confirm restore patch": beyond(0.03), "paraphrase damage mean": beyond(0.03)})
    both = judge(parse("L4.mlp.n173 stores capital(France) by sufficient, stable under prompt"), made)
    assert both.outcome == "supported" and both["sufficient"].p == pytest.approx(0.03)
    worse = found({"confirm restore patch": beyond(0.03), "paraphrase damage mean": beyond(0.06)})
    assert (
        judge(parse("L4.mlp.n173 stores capital(France) by sufficient, stable under prompt"), worse).outcome
        == "undecided"
    )


def test_holm_is_over_what_is_required(found):
    made = found({"confirm restore patch": beyond(0.03)})
    got = judge(parse("L4.mlp.n173 is necessary for capital(France)"), made)
    assert got["sufficient"].p == pytest.approx(0.03) and got.outcome == "supported"


def sweep(found, p: float, strong: int, of: int = 20):
    """So many verdicts supported at `p` among others that are refuted, together."""
    claims = [parse(f"L4.mlp.n{i} stores capital(France) by sufficient") for i in range(of)]
    stands, falls = (found({"confirm restore patch": mean}, peers=9) for mean in (beyond(p), 0.1))
    alone = [judge(c, stands if i < strong else falls) for i, c in enumerate(claims)]
    assert [v.outcome for v in alone] == ["supported"] * strong + ["refuted"] * (of - strong)
    return together(alone, claims)


def test_benjamini_hochberg_bites(found):
    got = sweep(found, p=0.02, strong=1)
    assert got[0].outcome == "undecided" and "not among 20 claims (Benjamini-Hochberg q = 0.4)" in got[0].why
    assert {v.outcome for v in got[1:]} == {"refuted"}


@pytest.mark.parametrize(("p", "strong"), [(0.0005, 1), (0.02, 20)])
def test_what_stands_among_many_stays(found, p, strong):
    assert sum(v.outcome == "supported" for v in sweep(found, p, strong)) == strong


def test_the_peers_of_a_supported_claim_do_not_limit_a_sweep(found):
    """With 99 peers the p of chance is 0.02 at best: over 20 claims it alone would refute everything."""
    claims = [parse(f"L4.mlp.n{i} stores capital(France)") for i in range(20)]
    alone = [judge(claims[0], found()), *[judge(claims[1], found(WEAK))] * 19]
    assert together(alone, claims)[0].outcome == "supported"


def test_what_cannot_be_asked_is_not_testable_and_says_why():
    got = untestable(STORES, "the model does not know it")
    assert got.outcome == "not testable" and got.why == "Not testable: the model does not know it."
    assert got.criteria == ()
    assert together([got], [STORES]) == [got]


def test_every_criterion_names_the_sweeps_it_rests_on(found):
    got = judge(STORES, found())
    for c in got.criteria:
        assert set(c.evidence) <= set(TRUE) and (c.evidence or c.status == "not tested")


def test_a_verdict_is_the_same_again_and_survives_json(found):
    got = judge(STORES, found(WEAK))
    assert got == judge(STORES, found(WEAK))
    assert msgspec.json.decode(msgspec.json.encode(got), type=type(got)) == got


@pytest.mark.parametrize("measured", OF_OTHERS)
def test_what_is_lacking_is_counted_in_the_plural(measured):
    one, two = (lacking(Judged("specific", "undecided", missing=n, note=measured)) for n in (1, 2))
    noun, *rest = one.split()[2:]
    assert two.split()[2:] == [noun + "s", *rest] and not {"is", "are"} & set(rest)
