"""Each criterion, on measurements made up by hand, holds where it should and fails where it should."""

import numpy as np
import pandas as pd
import pytest

from lashley.claims import criteria
from lashley.claims.criteria import METHODS, TESTS, by_method
from lashley.claims.grammar import parse
from lashley.core.figure import Estimate

from .conftest import CONSTANTS, WEAK

STORES = parse("L4.mlp.n173 stores capital(France)")
SUFFICES = parse("L4.mlp.n173 is sufficient for capital(France)")
BROKEN = {  # criterion -> measurements with which it fails
    "necessary": {"confirm damage mean": 0.2},
    "sufficient": {"confirm restore patch": 0.2},
    "contributes": {"confirm damage mean": 0.0},
    "specific": {"other damage mean": 0.3},
    "better than chance": {"confirm random damage mean": 0.9},
    "stable under prompt": {"paraphrase damage mean": 0.2},
    "stable under domain": {"domain damage mean": 0.2},
    "robust to method": {"confirm damage zero": 0.2},
    "not redundant": {"confirm second patch": 0.9},
}


@pytest.mark.parametrize("name", TESTS)
def test_every_criterion_holds_of_a_neuron_that_stores_the_fact(found, name):
    got = TESTS[name](STORES, found())
    assert got.not_holding <= 0.01 < 0.5 < got.holding and got.p <= 0.02
    assert got.note and len(got.rows)


@pytest.mark.parametrize(("name", "changed"), BROKEN.items(), ids=BROKEN)
def test_every_criterion_fails_where_the_measurements_say_so(found, name, changed):
    got = TESTS[name](STORES, found(changed))
    assert got.holding <= 0.01 and got.not_holding > 0.5


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_not_measured_is_neither(found, name):
    rows = found().rows
    measured = {"sufficient": "restore", "not redundant": "second", "better than chance": "random damage"}
    lost = rows["measure"] == measured.get(name, "damage")
    got = TESTS[name](STORES, found()._replace(rows=rows[~lost]))
    assert got.p is None and got.effect is None


@pytest.mark.parametrize("name", ["necessary", "sufficient", "contributes", "stable under prompt"])
@pytest.mark.parametrize("templates", [1, 3, 5])
def test_few_prompts_say_how_many_are_missing(found, name, templates):
    got = TESTS[name](STORES, found(templates=templates))
    assert got.p is None and got.missing == 6 - templates and got.effect.low is None


@pytest.mark.parametrize("edit", [m for m in METHODS if m not in ("mean", "optimal")])
def test_a_site_that_one_kind_of_knockout_alone_finds_necessary_is_not_robust(found, edit):
    decoy = WEAK | {f"confirm damage {edit}": 0.8}
    got = TESTS["robust to method"](STORES, found(decoy))
    assert got.holding < 0.01


@pytest.mark.parametrize("name", ["damage mean", "restore patch"])
def test_draws_of_a_prompt_are_not_counted_as_prompts_beside_random_sites(found, name):
    """Not where another subject stands in the corrupted run, whose text is each draw's own."""
    claim = SUFFICES if name.startswith("restore") else STORES
    measure, _ = name.split()
    rows = found({f"confirm random {name}": 0.1}).rows
    rows = rows[rows["measure"].isin([measure, f"random {measure}"]) & (rows["group"] == "confirm")]
    drawn = [rows.assign(asked=rows["prompt"], prompt=rows["prompt"] + foil, pair=foil) for foil in ("Japan", "Cuba")]
    got = criteria.chance(claim, found()._replace(rows=pd.concat(drawn, ignore_index=True)))
    assert got.prompts == rows[rows["measure"] == f"random {measure}"]["prompt"].nunique() > 1


@pytest.mark.parametrize(("alpha", "decided"), [(0.1, True), (0.05, True), (0.01, False), (0.001, False)])
def test_of_parts_one_fails_the_whole_at_the_alpha_of_the_claim(alpha, decided):
    """Though another is measured on too few prompts."""
    lacking = criteria.UNMEASURED._replace(note="too few")
    failing = criteria.Tested(Estimate(0.9), 0.2, 0.99, 0.01, note="fails")
    got = criteria._all([lacking, failing], alpha)
    assert (got.note == "fails") == decided and (got.p is None) != decided


def test_methods_that_all_say_no_agree(found):
    got = TESTS["robust to method"](STORES, found(WEAK))
    assert got.not_holding < 0.01 and "not necessary" in got.note


def test_a_method_that_is_not_measured_is_named(found):
    got = TESTS["robust to method"](STORES, found({"confirm damage noise": None}))
    assert got.p is None and got.note.startswith("noise knockout")


@pytest.mark.parametrize("seed", range(20))
def test_the_optimal_constant_is_by_choice_no_worse_than_zero_and_mean_where_it_is_fitted(found, seed):
    rng = np.random.default_rng(seed)
    fitted = {"mean": "fit fit mean mean", "zero": "fit fit zero zero"}
    fitted |= {c: f"fit fit {c} constant" for c in CONSTANTS}
    damage = dict(zip(fitted, rng.normal(size=len(fitted)), strict=True))
    marked = {f"confirm damage {m}": 10.0 + i for i, m in enumerate(("mean", "zero"))}
    marked |= {f"confirm {c} constant": 12.0 + i for i, c in enumerate(CONSTANTS)}
    made = found({fitted[m]: damage[m] for m in fitted} | marked)
    chosen = list(fitted)[round(by_method(made, "optimal")["effect"].mean()) - 10]
    assert damage[chosen] == min(damage.values()) <= min(damage["zero"], damage["mean"])
    assert set(by_method(made, "optimal")["group"]) == {"confirm"}


@pytest.mark.parametrize("part", ["other damage mean", "firing damage mean", "text damage mean"])
def test_specific_is_as_the_worst_of_its_parts(found, part):
    got = TESTS["specific"](STORES, found({part: 0.6}))
    assert got.holding < 0.01 and got.effect.value == pytest.approx(0.6, abs=0.05)


def test_damage_of_either_sign_to_others_counts(found):
    cancelling = [0.4, -0.4] * 6
    assert TESTS["specific"](STORES, found({"other damage mean": cancelling})).holding < 0.01


def test_one_part_that_surely_fails_is_enough_where_another_is_open(found):
    rows = found({"other damage mean": 0.6}).rows
    rows = rows[(rows["group"] != "firing") | (rows["subject"] == "A")]
    got = TESTS["specific"](STORES, found()._replace(rows=rows))
    assert got.holding < 0.01


@pytest.mark.parametrize(("strong", "peers"), [(0, 99), (3, 99), (0, 20), (20, 20)])
def test_chance_carries_the_plus_one_and_counts_ties(found, strong, peers):
    own = [0.8] * 10
    each = [0.8 if i % peers < strong else 0.0 for i in range(6 * peers)]
    changed = {"confirm damage mean": own, "confirm random damage mean": each}
    got = TESTS["better than chance"](STORES, found(changed, peers=peers))
    assert got.not_holding == (1 + strong) / (1 + peers)
    assert got.effect.value == strong / peers and got.effect.n == peers


@pytest.mark.parametrize("peers", [5, 10, 18])
def test_the_missing_peers_are_as_many_as_can_decide(found, peers):
    few = TESTS["better than chance"](STORES, found(peers=peers))
    assert few.p > 0.05 and few.missing > 0
    assert TESTS["better than chance"](STORES, found(peers=peers + few.missing)).p <= 0.05
    assert TESTS["better than chance"](STORES, found(peers=peers + few.missing - 1)).p > 0.05


def test_peers_are_compared_on_the_very_prompts_that_they_were_measured_on(found):
    weak_later = [0.8] * 6 + [-5.0] * 4
    got = TESTS["better than chance"](STORES, found({"confirm damage mean": weak_later}))
    assert got.effect.value == 0
    rows = found().rows
    own = rows[(rows["measure"] == "damage") & (rows["edit"] == "mean") & (rows["group"] == "confirm")]
    other_draw = own.assign(pair="France / Chile", effect=-5.0)
    both = found()._replace(rows=pd.concat([rows, other_draw], ignore_index=True))
    assert TESTS["better than chance"](STORES, both).effect.value == 0


def test_chance_is_about_restoration_where_the_claim_is(found):
    as_strong = found({"confirm random restore patch": 0.9})
    assert TESTS["better than chance"](SUFFICES, as_strong).holding < 0.01
    assert TESTS["better than chance"](STORES, as_strong).not_holding < 0.02


def test_a_masked_site_is_named_as_such(found):
    masked = WEAK | {"confirm held mean": 0.8}
    got = TESTS["not redundant"](STORES, found(masked))
    assert got.holding < 0.01 and "masked by self-repair" in got.note
    assert got.effect.value == pytest.approx(0.8)
    unused = TESTS["not redundant"](STORES, found(WEAK))
    assert unused.not_holding < 0.01 and "masked" not in unused.note


def test_one_rival_of_many_that_suffices_is_enough(found):
    each = [0.9 if i % 3 == 1 else 0.05 for i in range(30)]
    got = TESTS["not redundant"](STORES, found({"confirm second patch": each}, sd=0.0))
    assert got.holding < 0.05 and got.note.startswith("1 of 3")


@pytest.mark.parametrize(
    ("name", "measure", "there"), [("sufficient", "restore", 0.8), ("not redundant", "second", 0.05)]
)
def test_restoration_is_over_confirming_prompts_and_paraphrases(found, name, measure, there):
    got = TESTS[name](STORES, found({f"paraphrase {measure} patch": 0.4}))
    alone = TESTS[name](STORES, found())
    assert got.effect.value == pytest.approx((there + 0.4) / 2) and got.effect.n == 2 * alone.effect.n


@pytest.mark.parametrize(("fires", "status"), [(0.49, 0.0), (0.5, 1.0), (12.0, 1.0)])
def test_monosemantic_is_a_count(found, fires, status):
    got = TESTS["monosemantic"](STORES, found(fires=fires))
    assert (got.not_holding, got.holding) == (status, 1 - status) and "2,261 shipped facts" in got.note


def test_a_criterion_holds_at_the_level_exactly_where_its_interval_leaves_the_threshold_out(found):
    rng = np.random.default_rng(0)
    for shift in np.linspace(-0.05, 0.05, 21):
        got = criteria.necessary(STORES, found({"confirm damage mean": list(0.5 + shift + rng.normal(0, 0.05, 10))}))
        out = not got.effect.low <= 0.5 <= got.effect.high
        assert (got.p <= 0.05) == out
