"""Stability of maps: planted components come back, chance is what random sets share, prompts differ in one thing."""

import numpy as np
import pandas as pd
import pytest

from lashley.core.errors import LashleyError
from lashley.core.question import Question
from lashley.experiments.stability.maps import CONTEXT, DRAW, PARAPHRASE, Map, changes
from lashley.experiments.stability.planning import Params
from lashley.experiments.stability.planning import asked as with_contexts
from lashley.experiments.stability.telling import WORDS
from lashley.facts.contexts import KINDS, mentions
from lashley.facts.question import resolve
from lashley.prompts.pairs import prepare
from lashley.stats import agreement
from lashley.stats.agreement import COMPONENTS, variance_components

PLANTED = np.array([0.40, 0.25, 0.10, 0.15, 0.10])


def simulated(rng, parts, units=300, templates=12, kinds=5, draws=3):
    """Damage [units, prompts] with these components, and its labels: every template plain, each kind on two."""
    deal = iter(np.resize(rng.permutation(templates), 2 * kinds))
    asked = [(t, 0) for t in range(templates)] + [(next(deal), 1 + k) for k in range(kinds) for _ in range(2)]
    template, context, draw = np.array([(t, c, d) for t, c in asked for d in range(draws)]).T
    normal = [
        s * rng.standard_normal((units, n))
        for s, n in zip(np.sqrt(parts), (1, templates, kinds + 1, draws, len(draw)), strict=True)
    ]
    damage = normal[0] + normal[1][:, template] + normal[2][:, context] + normal[3][:, draw] + normal[4]
    return damage + rng.standard_normal(len(draw)), template, context, draw


@pytest.mark.parametrize("parts", [PLANTED, PLANTED[::-1], np.array([0.0, 0.0, 0.0, 0.0, 1.0])])
def test_the_split_gives_planted_components_back(parts):
    found = [variance_components(*simulated(np.random.default_rng(seed), parts)) for seed in range(12)]
    assert np.mean(found, axis=0) == pytest.approx(parts, abs=0.03)
    assert np.sum(found, axis=1) == pytest.approx(1)


def test_an_unbalanced_design_does_not_bias_it():
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        damage, *labels = simulated(rng, PLANTED)
        kept = rng.random(damage.shape[1]) < 0.7
        found.append(variance_components(damage[:, kept], *(label[kept] for label in labels)))
    assert np.mean(found, axis=0) == pytest.approx(PLANTED, abs=0.03)


def test_what_the_design_cannot_tell_apart_is_left_out():
    damage, template, context, draw = simulated(np.random.default_rng(0), PLANTED, draws=1)
    shares = dict(zip(COMPONENTS, variance_components(damage, template, context, draw), strict=True))
    assert np.isnan(shares["unit x draw"]) and shares["rest"] > 0
    plain = context == 0
    shares = variance_components(damage[:, plain], template[plain], context[plain], draw[plain])
    assert np.isfinite(shares[:2]).all() and np.isnan(shares[2:]).all() and np.nansum(shares) == pytest.approx(1)


@pytest.mark.parametrize("units,top", [(12, 6), (48, 10), (4608, 10)])
def test_chance_is_what_two_random_sets_share(units, top):
    rng = np.random.default_rng(1)
    chosen = agreement.strongest(rng.standard_normal((units, 400)), top)
    pairs = agreement.jaccard(chosen)[np.triu_indices(400, 1)]
    chance = agreement.by_chance(units, top)
    assert chance.low is not None and chance.high is not None
    assert pairs.mean() == pytest.approx(chance.value, abs=0.01 * (1 if units < 1000 else 0.1))
    assert chance.low <= np.quantile(pairs, 0.1) and np.quantile(pairs, 0.9) <= chance.high + 0.06


def test_the_same_map_is_the_same_and_another_scale_does_not_matter():
    rng = np.random.default_rng(2)
    damage = rng.standard_normal((40, 1)) * [1.0, 3.0] + [0.0, 5.0]
    assert agreement.rank_correlations(damage) == pytest.approx(np.ones((2, 2)))
    assert agreement.jaccard(agreement.strongest(damage, 7)) == pytest.approx(np.ones((2, 2)))


def test_the_jackknife_of_a_mean_is_the_t_interval():
    from lashley.stats.inference import interval

    x = np.random.default_rng(3).standard_normal(9)
    value, low, high = agreement.jackknife(lambda keep: x[keep].mean(), np.arange(9))
    own = interval(x)
    assert (value[0], low[0], high[0]) == pytest.approx((own.mean, own.low, own.high))
    assert np.isnan(agreement.jackknife(lambda keep: x[:5][keep].mean(), np.arange(5))[1]).all()


def test_pairs_differ_in_what_they_are_said_to():
    rows = [
        ("a", "", "a.", "p", "0"), ("a", "", "a.", "q", "1"),
        ("b", "", "b.", "p", "0"),
        ("a", "few-shot", "x. a.", "p", "0"), ("c", "another language", "c.", "p", "0"),
    ]  # fmt: skip
    prompts = pd.DataFrame(rows, columns=["template", "context", "prompt", "pair", "seed"])
    found = changes(Map(np.array(["L0.attn"]), np.zeros((1, 5)), prompts))
    pairs = {name: {tuple(p) for p in np.argwhere(mask).tolist()} for name, mask in found.items()}
    assert pairs == {
        DRAW: {(0, 1), (1, 0)},
        PARAPHRASE: {(0, 2), (2, 0)},
        CONTEXT: {(0, 3)},
        "another language": {(0, 4), (2, 4)},
        "few-shot": {(0, 3)},
    }


def test_prompts_come_with_contexts_and_the_same_foils(bench):
    asked = with_contexts(Params(), resolve(Question(relation="capital", subject="France", register="list")))
    material = prepare(bench, asked, draws=2)
    assert {c.template.context for c in material.cases} == {"", *KINDS}
    of = {}
    for case in material.cases:
        assert not mentions(
            case.template.before, (case.fact.subject, case.fact.object, case.foil.subject, case.foil.object)
        )
        of.setdefault(case.clean.text, []).append(case.foil.subject)
    assert all(len(set(foils)) == 2 for foils in of.values())
    first = [foils[0] for foils in of.values()]
    assert max(map(first.count, first)) > len(first) / 2


def test_templates_can_be_fewer():
    asked = resolve(Question(relation="capital", subject="France"))
    found = with_contexts(Params(templates=3, contexts=0), asked)
    assert len(found.templates) == 3 and set(found.templates) < set(asked.templates)


def test_every_unit_is_asked_about_on_every_prompt(study, bench):
    a = bench.anatomy
    table = study("stability", units="heads").table
    table = table[~table["excluded"]]
    assert table["site"].nunique() == a.layers * a.heads
    counts = table.groupby(["prompt", "pair"], observed=True).size()
    assert (counts == a.layers * a.heads).all() and len(counts) == 24


def test_the_report_compares_paraphrases_contexts_and_draws(study):
    made = study("stability", register="statement", contexts=1, units="heads")
    page = made.page()
    for words in (*WORDS.values(), "Jaccard; chance", "belongs to the head itself", "head x template"):
        assert words in page.finding.sentence
    assert page.finding.estimate.low < page.finding.estimate.value < page.finding.estimate.high
    assert {f.name for f in page.figures} == {"map", "correlation", "variance"}
    assert any(c.name == "two random sets" for c in page.controls)


def test_its_result_is_what_its_rows_come_to(study):
    """Overlaps, rank correlations and how often a unit is among the strongest, each pair of prompts anew."""
    made = study("stability", register="statement", contexts=1, units="heads")
    result, rows = made.result, made.table[~made.table["excluded"]]
    context = rows["context"].astype(object).fillna("").astype(str)
    wide = rows.assign(context=context).pivot(index="site", columns=["template", "context", "pair"], values="effect")
    best = {run: set(wide[run].nlargest(result.top).index) for run in wide}
    often = {site: np.mean([site in sets for sets in best.values()]) for site in wide.index}
    assert result.often == pytest.approx(often)
    assert result.always == (sum(share == 1 for share in often.values()),)
    pairs = [(a, b) for a in wide for b in wide if a[2] == b[2] and a[1] == b[1] == "" and a[0] != b[0]]
    found = result.changes[PARAPHRASE]
    assert found.prompts == len({b[0] for _, b in pairs})
    overlaps = [len(best[a] & best[b]) / len(best[a] | best[b]) for a, b in pairs]
    assert found.overlap.value == pytest.approx(np.mean(overlaps))
    assert found.ranks.value == pytest.approx(np.mean([wide[a].corr(wide[b], method="spearman") for a, b in pairs]))
    assert sum(e.value for e in result.variance.values()) == pytest.approx(1)


def test_with_noise_another_draw_changes_no_ranking(study):
    made = study("stability", corruption="noise")
    assert made.result.changes[DRAW].ranks.value == pytest.approx(1)
    assert any("divided by" in c for c in made.page().caveats)


def test_several_facts_are_compared_each_with_itself(study):
    made = study("stability", subject=None, register="list", max_facts=2, contexts=0)
    page = made.page()
    assert "2 facts of capital" in page.finding.sentence and "over facts" not in page.finding.basis
    assert "six facts" in page.finding.basis


@pytest.mark.parametrize("words", [{"top": 0}, {"draws": 0}, {"contexts": -1}])
def test_what_cannot_be_asked_is_refused(words):
    with pytest.raises(LashleyError, match="too small"):
        Params(**words)
