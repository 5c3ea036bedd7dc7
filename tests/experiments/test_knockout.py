"""Damage is 1 where the corrupted run is put in whole, and the same number however a unit is named."""

import itertools
import re

import msgspec
import numpy as np
import pandas as pd
import pytest

from lashley.core.edit import Resample
from lashley.core.site import parse_sites
from lashley.experiments import knockout
from lashley.stats import peers

from .conftest import told

RANDOM = knockout.RANDOM


@pytest.mark.parametrize("edit", ["zero", "mean", "resample", "noise"])
def test_every_edit_measures_every_sublayer(study, bench, edit):
    table = study("knockout", edit=edit).table
    assert len(table) == 2 * 2 * bench.anatomy.layers
    assert set(table["edit"]) == {edit} and np.isfinite(table["effect"]).all()
    assert (table["effect"].abs() > table["noise_floor"]).any()


def test_edits_differ(study):
    effects = [study("knockout", edit=edit).table["effect"] for edit in ("zero", "mean", "resample", "noise")]
    for one, other in itertools.combinations(effects, 2):
        assert not np.allclose(one, other, atol=1e-3)


def test_putting_in_the_whole_corrupted_run_is_damage_one(study, bench):
    """Entering the first layer, or the final norm, which only reads the final position."""
    for site in ("L0.resid", f"L{bench.anatomy.layers}.resid", f"L{bench.anatomy.layers}.resid@final"):
        table = study("knockout", units=site, edit="resample").table
        assert np.allclose(table["effect"], 1, atol=1e-4), site


def test_a_head_is_the_same_head_by_name(study):
    every = study("knockout", units="heads").table
    own = study("knockout", units="L1.attn.h2", controls=0).table
    swept = every[every["site"] == "L1.attn.h2"].set_index("template")["effect"]
    for _, row in own.iterrows():
        assert row["effect"] == pytest.approx(swept[row["template"]], abs=1e-5)


def test_neurons_are_the_same_by_name(study, bench):
    own = study("knockout", units="L0.mlp.n0+L1.mlp.n5", controls=0).table
    sites = study("knockout", units="neurons", at="final").table["site"]
    assert len(sites) == 2 * bench.anatomy.layers * bench.anatomy.neurons
    assert list(own["site"][:3]) == ["L0.mlp.n0", "L1.mlp.n5", "L0.mlp.n0+L1.mlp.n5"]


def test_a_role_narrows_a_knockout(study):
    """Reading happens at the final position; before the subject nothing depends on it, but recall still may."""
    everywhere = study("knockout", units="L0.mlp", controls=0).table
    final = study("knockout", units="L0.mlp", at="final", controls=0).table
    assert set(final["role"]) == {"final"} and set(everywhere["role"]) == {"all"}
    assert not np.allclose(final["effect"], everywhere["effect"])


def test_a_site_with_its_own_place_keeps_it(study):
    table = study("knockout", units="L0.mlp@subject_last+L1.mlp", at="final", controls=0).table
    first = table[table["trial"] == 0]
    assert set(first["role"]) == {"subject_last"}


@pytest.fixture
def sets(material):
    """The matched random sets that stand beside some units."""

    def drawn(units: str, **words: object):
        params = knockout.Params(units=units, **{"controls": 50, **words})
        sweeps = [s for s in knockout.plan(params, material) if s.labels["control"] == RANDOM]
        return [list(s.sites) for s in sweeps]

    return drawn


@pytest.mark.parametrize("units", ["L1.attn.h0", "L2.mlp.n7+L2.mlp.n9+L3.mlp.n9@final", "L1.attn.h0+L4.mlp.n7"])
def test_random_sets_have_the_same_layers_kinds_and_places_but_other_units(sets, units):
    chosen = parse_sites(units)
    own = {(s.layer, s.kind, s.unit) for s in chosen}
    shape = [(s.layer, s.kind, s.position == "final") for s in chosen]
    for drawn in sets(units):
        assert len(drawn) == (5 if units == "L1.attn.h0" else 50)  # a single unit's peers are different ones
        for sites in drawn:
            assert [(s.layer, s.kind, s.position is not None) for s in sites] == shape
            assert own.isdisjoint((s.layer, s.kind, s.unit) for s in sites)


def test_the_units_of_a_random_set_are_different_ones(sets):
    """Ten neurons of one layer are replaced by ten, and one unit at two places by one at both."""
    for drawn in sets("+".join(f"L2.mlp.n{n}" for n in range(10))):
        assert all(len(set(sites)) == 10 for sites in drawn)
    for drawn in sets("L2.mlp.n7@final+L2.mlp.n7@subject_last"):
        assert all(len({s.unit for s in sites}) == 1 and len(sites) == 2 for sites in drawn)


def test_there_are_no_random_sets_where_a_layer_has_too_few_other_units(sets, bench):
    most = "+".join(f"L1.attn.h{h}" for h in range(bench.anatomy.heads // 2 + 1))
    assert sets(most) == []


def test_random_sets_come_again_with_their_seed_only(sets):
    assert sets("L2.mlp.n7") == sets("L2.mlp.n7") != sets("L2.mlp.n7", seed=1)
    one, two = sets("L2.mlp.n7")  # one draw for every prompt, so that prompts can be averaged
    assert one == two


def test_random_neurons_are_as_active_as_the_chosen_one(sets, material):
    sizes = material.magnitudes[2, "neuron"]
    order = np.argsort(np.abs(np.log(sizes + 1e-12) - np.log(sizes[7] + 1e-12)), kind="stable")
    nearest = set(order[: peers.NEAREST + 1].tolist())
    assert {s.unit for drawn in sets("L2.mlp.n7") for (s,) in drawn} <= nearest


def test_whole_sublayers_have_no_random_peers_and_the_page_says_so(study, sets):
    assert sets("L1.mlp") == []
    assert any("No matched random control" in c for c in study("knockout", units="L1.mlp").page().caveats)


def test_the_finding_sets_the_named_units_beside_chance(study):
    page = study("knockout", units="L1.attn.h0+L2.attn.h1").page()
    assert "L1.attn.h0+L2.attn.h1" in page.finding.sentence and "20 matched random sets" in page.finding.sentence
    assert [c.name for c in page.controls] == ["identity edit", RANDOM]
    assert "p = " in page.controls[1].reading


def test_one_random_set_has_no_range(study):
    page = study("knockout", units="L1.mlp.n3", controls=1).page()
    assert page.controls[1].estimate.low is None and "range" not in page.finding.sentence
    assert re.search(r"; 1 matched random set has a damage of −?[\d.]+(?: × 10\S+)?%\.$", page.finding.sentence)


def test_a_set_that_is_not_measured_together_yet_is_not_reported_as_if_it_were(study):
    made = study("knockout", units="L1.attn.h0+L2.attn.h1")
    single = made.table[made.table["trial"] == 0]
    finding = told(made, single).findings[0]
    assert "not measured yet" in finding.sentence and finding.estimate is None


def test_zero_ablation_is_never_called_evidence(study):
    assert any("alone is never evidence" in c for c in study("knockout", edit="zero").page().caveats)


def test_resampling_takes_the_foil_run(material):
    for case, sweep in zip(material.cases, knockout.plan(knockout.Params(edit="resample"), material), strict=True):
        assert sweep.edits == (Resample(case.other),)


def test_noise_differs_from_prompt_to_prompt_and_from_seed_to_seed(material):
    def seeds(seed: int) -> list[int]:
        plan = knockout.plan(knockout.Params(edit="noise", seed=seed), material)
        return [msgspec.to_builtins(s.edits[0])["seed"] for s in plan]

    assert len({*seeds(0), *seeds(1)}) == len(seeds(0)) + len(seeds(1))


def by_unit(made) -> pd.Series:
    """The mean damage of each trial: over the prompts of two templates, with one draw of each."""
    rows = made.table[made.table["control"] == ""]
    return rows.groupby("trial")["effect"].mean()


@pytest.mark.parametrize(
    "words", [{}, {"units": "heads", "edit": "zero"}, {"units": "heads", "screen": 7, "sample": 5}]
)
def test_the_result_of_a_whole_kind_is_what_its_rows_come_to(study, words):
    made = study("knockout", **words)
    result, damage = made.result, by_unit(made)
    first = made.table[made.table["control"] == ""].drop_duplicates("trial").set_index("trial")["site"]
    assert result.units == len(damage) and result.above_tenth == (damage >= 0.1).sum()
    assert result.strongest.site == first[damage.idxmax()]
    assert result.strongest.damage.value == pytest.approx(damage.max())
    assert (result.strongest.damage.n, result.strongest.damage.unit) == (2, "share of the logit difference")
    helps = -damage.min() > damage.max()
    assert (result.opposite is not None) == helps
    if helps:
        assert result.opposite.damage.value == pytest.approx(damage.min())
    share = damage[damage > 0] / damage[damage > 0].sum()
    assert result.participation == pytest.approx(1 / (share**2).sum())
    assert result.joint is None and result.chance is None
    if "screen" in words:
        assert (result.screening.confirmed, result.screening.sample) == (7, 5)
        assert result.screening.left == made.model.layers * made.model.heads - 7


@pytest.mark.parametrize("units", ["L1.attn.h0+L2.attn.h1", "L1.mlp.n3"])
def test_the_result_of_a_named_set_is_what_its_rows_come_to(study, units):
    made = study("knockout", units=units)
    result, damage = made.result, by_unit(made)
    sites = units.split("+")
    drawn = made.table[made.table["control"] == RANDOM].groupby("trial")["effect"].mean()
    assert result.units == len(sites) and result.strongest.site == sites[int(damage[: len(sites)].to_numpy().argmax())]
    assert result.joint.value == pytest.approx(damage.iloc[-1]) and result.joint.n == 2
    assert result.chance.sets == len(drawn) == 20
    assert result.chance.damage.value == pytest.approx(drawn.mean())
    assert result.chance.p == pytest.approx((1 + (drawn >= result.joint.value).sum()) / 21)
