"""A screen chooses what is measured exactly; a random sample of the rest tells what it may have missed."""

import re

import msgspec
import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from lashley.core.case import Estimated
from lashley.core.errors import BadSite, LashleyError
from lashley.core.question import Question
from lashley.core.site import Site
from lashley.core.trial import Sweep
from lashley.experiments import knockout
from lashley.facts.question import resolve
from lashley.prompts.pairs import prepare
from lashley.stats.inference import clopper_pearson
from lashley.stats.screening import SAMPLE, screening

from .conftest import SMALL, told

HEADS = {"units": "heads", "edit": "resample"}


@pytest.fixture(scope="module")
def screened(bench):
    """`screened(params)`: the material with its estimates, and the plan."""

    def made(**words):
        params = knockout.Params(**HEADS | words)
        asked = resolve(Question(**SMALL))
        material = prepare(bench, asked, screen=lambda m: knockout.screen(params, m))
        return params, material, list(knockout.plan(params, material))

    return made


def by_site(table: pd.DataFrame) -> pd.Series:
    return table.set_index(["template", "site"])["effect"].sort_index()


@pytest.mark.parametrize("at", ["all", "subject_last"])
def test_a_screen_of_all_is_no_screen(study, at):
    every, screened = (study("knockout", **HEADS, at=at, **words).table for words in ({}, {"screen": 10**6}))
    pd.testing.assert_series_equal(by_site(every), by_site(screened), rtol=0, atol=1e-6)
    assert screened["estimate"].notna().all() and every["estimate"].isna().all()
    assert set(screened["control"]) == {""} and set(screened["population"]) == {str(len(every) // 2)}


def test_the_units_of_a_screen_have_the_effects_that_they_have_without(study):
    every = by_site(study("knockout", **HEADS).table)
    some = by_site(study("knockout", **HEADS, screen=7, sample=5).table)
    assert len(some) == 2 * 12
    pd.testing.assert_series_equal(every[some.index], some, rtol=0, atol=1e-6)


def test_every_prompt_gets_the_same_units_and_no_unit_twice(screened):
    _, material, plan = screened(screen=7, sample=5)
    assert all(isinstance(each, Estimated) and len(each.estimates) == len(each.sweep) for each in plan)
    sweeps = [each.sweep for each in plan]
    top, sample = ({tuple(s.sites) for s in sweeps if s.labels["control"] == c} for c in ("", SAMPLE))
    assert len(top) == len(sample) == 1 and len(plan) == 2 * len(material.cases)
    chosen, drawn = map(set, (*top, *sample))
    assert len(chosen) == 7 and len(drawn) == 5 and not chosen & drawn


def test_it_takes_the_units_of_the_largest_mean_estimate(screened):
    _, material, plan = screened(screen=7, sample=0)
    size = np.abs(np.mean([e / g for e, g in zip(material.estimates, material.gaps, strict=True)], 0))
    heads = material.anatomy.heads
    best = {Site(int(i) // heads, "head", int(i) % heads) for i in np.argsort(-size)[:7]}
    assert {s for (s,) in plan[0].sweep.sites} == best
    for number, each in enumerate(plan):
        at = [s.layer * heads + s.unit for (s,) in each.sweep.sites]
        np.testing.assert_array_equal(each.estimates, material.estimates[number][at])


def test_prompts_that_disagree_cancel_out_in_a_screen(screened):
    """The mean is what is measured and sorted by: units of large effects of both signs are not strong."""
    params, material, _ = screened(screen=3, sample=0)
    signs = np.resize([1.0, -1.0], len(material.gaps))
    estimates = [np.where(np.arange(len(e)) < 4, 100 * s * g, g * np.linspace(0, 1, len(e)))
                 for e, s, g in zip(material.estimates, signs, material.gaps, strict=True)]  # fmt: skip
    plan = list(knockout.plan(params, msgspec.structs.replace(material, estimates=tuple(estimates))))
    heads, last = material.anatomy.heads, len(estimates[0])
    wanted = {Site(i // heads, "head", i % heads) for i in range(last - 3, last)}
    assert len(signs) == 2 and {s for (s,) in plan[0].sweep.sites} == wanted


def test_gaps_are_those_that_effects_are_shares_of(screened, bench):
    _, material, _ = screened(screen=1)
    values = [bench.values([(run, c.readout) for run in (c.clean, c.corrupt)]) for c in material.cases]
    np.testing.assert_allclose(material.gaps, [a - b for a, b in values], atol=1e-4)


def test_without_a_screen_nothing_is_estimated(screened):
    _, material, plan = screened()
    assert material.estimates == () and all(isinstance(each, Sweep) for each in plan)


def test_what_cannot_be_estimated_is_measured(screened):
    params, material, _ = screened(screen=3, sample=0)
    odd = tuple(np.where(np.arange(len(e)) == 5, np.nan, e) for e in material.estimates)
    plan = knockout.plan(params, msgspec.structs.replace(material, estimates=odd))
    assert all((Site(0, "head", 5),) in each.sweep.sites for each in plan)


def test_a_seed_draws_another_sample_of_the_same_screen(screened):
    (_, _, one), (_, _, again), (_, _, other) = (screened(screen=7, sample=5, seed=s) for s in (0, 0, 1))
    assert [p.sweep.key for p in one] == [p.sweep.key for p in again]
    assert tuple(one[0].sweep.sites) == tuple(other[0].sweep.sites)
    assert tuple(one[1].sweep.sites) != tuple(other[1].sweep.sites)


@pytest.mark.parametrize("edit", ["zero", "mean", "resample", "noise"])
def test_gradients_rank_the_neurons_of_the_embedded_model(study, edit):
    """Not a law, but of this model known: small changes, hence a good screen."""
    table = study("knockout", units="neurons", edit=edit, screen=40, sample=40).table
    mean = table.groupby(["control", "site"], observed=True)[["effect", "estimate"]].mean()
    for _, part in mean.groupby("control", observed=True):
        assert spearmanr(part["effect"], part["estimate"])[0] > 0.7
    largest = mean["effect"].abs().groupby("control", observed=True).median()
    assert largest[""] > 5 * largest[SAMPLE]


def test_the_page_says_how_well_the_screen_ranked(study):
    made = study("knockout", units="neurons", screen=40, sample=40)
    page, table = made.page(), made.table
    total = int(table["population"].iloc[0])
    mean = table.groupby(["control", "site"], observed=True)[["effect", "estimate"]].mean()
    drawn = mean.loc[SAMPLE]
    rho = spearmanr(drawn["effect"], drawn["estimate"])[0]
    (also,) = page.also
    assert also.estimate.value == pytest.approx(rho) and also.estimate.low < rho < also.estimate.high
    assert f"Of the 40 neurons that gradients rank highest among {total:,}" in page.finding.sentence
    assert f"a random sample of 40 of the {total - 40:,} others" in also.sentence
    assert "saturation" in page.caveats[0] and "first-order" in page.caveats[0]
    assert SAMPLE in [c.name for c in page.controls]
    missed = page.tables[1]
    sizes = np.sort(mean.loc[""]["effect"].abs())[::-1]
    for row, limit in zip(missed.rows, (0.1, sizes[9], np.median(sizes), sizes[-1]), strict=True):
        k = int((drawn["effect"].abs() >= limit - 1e-12).sum())
        high = clopper_pearson(k, 40, 0.9)[1]
        assert row[1:] == (pytest.approx(limit), k, pytest.approx(high), int(high * (total - 40)))


def test_a_sample_of_all_that_was_left_leaves_nothing_to_bound(study, bench):
    total = bench.anatomy.layers * bench.anatomy.heads
    made = study("knockout", **HEADS, screen=total - 8, sample=100)
    for _, _, k, share, most in made.page().tables[1].rows:
        assert share == k / 8 and most == k


def test_without_a_sample_the_page_says_that_nothing_is_known_of_the_rest(study):
    page = study("knockout", **HEADS, screen=7, sample=0).page()
    assert "what it missed is not known" in page.also[0].sentence
    assert not any("missed" in t.title for t in page.tables)


def test_the_picture_sets_estimates_beside_effects(study):
    made = study("knockout", **HEADS, screen=7, sample=5)
    (figure,) = [f for f in made.page().figures if f.name == "screen"]
    rows = figure.spec["data"]["values"]
    assert len(rows) == 12 and {r["y"] for r in rows} == {"confirmed", "random sample of the others"}
    mean = made.table.groupby("site", observed=True)[["effect", "estimate"]].mean()
    for r in rows:
        assert (r["effect"], r["x"]) == pytest.approx(tuple(mean.loc[r["name"]]), rel=1e-4)
    assert "France" in figure.title and figure.caption and figure.alt


@pytest.mark.parametrize("rows", [1, 3, 8, 13])
def test_what_is_measured_so_far_can_be_judged_and_drawn(study, rows):
    made = study("knockout", **HEADS, screen=7, sample=5)
    part = made.table.head(rows)
    assert told(made, part).findings[0].sentence
    assert made.experiment.draw(made.params, made.experiment.measure(made.params, part, {}), part).figures


@pytest.mark.parametrize("confirmed", [1, 2])
@pytest.mark.parametrize(("drawn", "left"), [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (1, 40)])
def test_one_unit_is_a_singular(confirmed, drawn, left):
    units = pd.DataFrame({"effect": np.linspace(0.3, 0.1, confirmed + drawn), "estimate": 0.2})
    top, sample = units[:confirmed], units[confirmed:]
    found = screening(top, sample, confirmed + left, "sub-layers")
    words = " ".join(
        [found.finding.sentence, *(c.reading for c in found.controls), found.table.note if found.table else ""]
    )
    assert ("1 confirmed sub-layer " in words) == (confirmed == 1)
    assert not re.search(r"(?<![\w.,])1 (?:\w+ )?(?:sub-layers|others|units)\b", words)
    assert not re.search(r"\b1 of those left out do\b", words)


def test_a_screen_needs_a_whole_kind():
    with pytest.raises(BadSite, match="a screen chooses among all"):
        knockout.Params(units="L1.attn.h2", screen=5)
    with pytest.raises(LashleyError, match="screen -1 is too small"):
        knockout.Params(screen=-1)
    with pytest.raises(LashleyError, match="sample -1 is too small"):
        knockout.Params(sample=-1)
