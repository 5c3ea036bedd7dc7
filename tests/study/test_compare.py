"""Two studies side by side: every number is that of scipy's own tests on the exported tables."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.stats

import lashley
from lashley.core.errors import LashleyError
from lashley.experiments import audit
from lashley.report import from_json, terminal, to_json
from lashley.stats.differences import DRAW, PROMPT, differences, effects
from lashley.stats.inference import benjamini_hochberg
from lashley.study import comparison
from lashley.study.comparison import compare
from lashley.study.study import Study


@pytest.fixture(scope="module")
def made(bench, tmp_path_factory) -> dict[str, Study]:
    """Knockouts of every layer, on sixteen prompts of a fact."""
    folder = tmp_path_factory.mktemp("compared")
    asked = {
        "mean": {"subject": "France"},
        "zero": {"subject": "France", "edit": "zero"},
        "Japan": {"subject": "Japan"},
        "heads": {"subject": "France", "units": "L0.attn.h0", "controls": 0},
        "few": {"subject": "France", "register": "list"},
    }
    return {n: lashley.knockout(bench, relation="capital", **words, study=folder / n) for n, words in asked.items()}


@pytest.fixture(scope="module")
def by_prompt(made, tmp_path_factory):
    """`by_prompt("mean", "L0.attn")`: the effects of one site by prompt, from an exported file."""
    tables = {}
    for name in ("mean", "zero", "Japan"):
        path = tmp_path_factory.mktemp("exported") / "t.csv"
        made[name].export(path, "csv")
        tables[name] = pd.read_csv(path)

    def effects(name: str, site: str) -> pd.Series:
        table = tables[name]
        return table[(table["site"] == site) & ~table["excluded"]].set_index("asked")["effect"]

    return effects


def test_on_the_same_prompts_differences_are_those_of_a_paired_t_test(made, by_prompt):
    found = compare(made["mean"], made["zero"].folder)
    assert found.asked == (("params.edit", "mean", "zero"),)
    assert found.table["paired"].all() and set(found.table["n"]) == {16}
    assert set(found.table["unit"]) == {f"L{la}.{kind}" for la in range(6) for kind in ("attn", "mlp")}
    for _, row in found.table.iterrows():
        a, b = (by_prompt(n, row["unit"]) for n in ("mean", "zero"))
        own = scipy.stats.ttest_rel(b, a[b.index])
        low, high = own.confidence_interval()
        assert row[["first", "second", "difference"]].tolist() == pytest.approx([a.mean(), b.mean(), (b - a).mean()])
        assert row[["low", "high", "p"]].tolist() == pytest.approx([low, high, own.pvalue], rel=1e-6, abs=1e-12)


def test_on_other_prompts_they_are_those_of_welch(made, by_prompt):
    found = compare(made["mean"], made["Japan"])
    assert found.asked == (("question.subject", "France", "Japan"),) and not found.table["paired"].any()
    for _, row in found.table.iterrows():
        a, b = (by_prompt(n, row["unit"]) for n in ("mean", "Japan"))
        own = scipy.stats.ttest_ind(b, a, equal_var=False)
        low, high = own.confidence_interval()
        assert row["difference"] == pytest.approx(b.mean() - a.mean())
        assert row[["low", "high", "p"]].tolist() == pytest.approx([low, high, own.pvalue], rel=1e-6, abs=1e-12)


def test_what_differs_is_told_apart_over_all_cells_and_comes_first(made):
    table = compare(made["mean"], made["zero"]).table
    assert table["q"].tolist() == pytest.approx(benjamini_hochberg(table["p"]))
    assert 0 < table["differs"].sum() < len(table)
    assert (table["differs"] == (table["q"] <= 0.05)).all()
    for some in (table[table["differs"]], table[~table["differs"]]):
        assert some["difference"].abs().is_monotonic_decreasing
    assert table["differs"].tolist() == sorted(table["differs"], reverse=True)


def test_effects_are_ranked_alike_or_not(made, by_prompt):
    ((what, rho, n),) = compare(made["mean"], made["Japan"]).correlations
    units = made["mean"].table["site"].unique()
    means = [[by_prompt(name, unit).mean() for unit in units] for name in ("mean", "Japan")]
    assert (what, n) == ("", 12) and rho == pytest.approx(scipy.stats.spearmanr(*means).statistic)


def test_a_study_is_no_other_than_itself(made):
    found = compare(made["mean"], made["mean"])
    assert found.asked == () and not found.table["differs"].any()
    assert (found.table["difference"] == 0).all() and (found.table["p"] == 1).all()
    assert "None of 12 effects" in found.page().finding.sentence


def test_few_prompts_have_no_interval(made):
    found = compare(made["mean"], made["few"])
    assert found.table["low"].isna().all() and found.table["paired"].all() and set(found.table["n"]) == {2}
    assert "too few prompts" in found.page().finding.sentence and found.page().finding.estimate.low is None


def test_the_page_and_the_json_say_what_the_table_says(made):
    found = compare(made["mean"], made["zero"])
    page = found.page()
    assert from_json(to_json(page)) == page
    first = found.table.iloc[0]
    assert (
        f"{found.table['differs'].sum()} of 12 effects" in page.finding.sentence
        and first["unit"] in page.finding.sentence
    )
    assert (page.finding.estimate.value, page.finding.estimate.low) == (first["difference"], first["low"])
    asked, cells = page.tables
    assert asked.rows == (("params.edit", "mean", "zero"),)
    assert [row[0] for row in cells.rows] == found.table["unit"].tolist()
    assert [row[3].high for row in cells.rows] == found.table["high"].tolist()
    said = json.loads(found.to_json())
    assert [c["difference"] for c in said["cells"]] == found.table["difference"].tolist()
    assert max(map(len, terminal.text(page).splitlines())) <= 80


@pytest.mark.parametrize(
    ("other", "why"), [("heads", "measured no effect in common"), ("locate", "compare two of one kind")]
)
def test_what_cannot_be_compared_is_told_in_one_line(made, bench, tmp_path, other, why):
    if other == "locate":
        own = {"relation": "capital", "subject": "France", "register": "list", "kinds": ["attn"]}
        study = lashley.locate(bench, **own, study=tmp_path / "locate")
    else:
        study = made[other]
    with pytest.raises(LashleyError, match=why) as e:
        compare(made["mean"], study)
    assert "\n" not in str(e.value)


def test_neither_model_nor_torch_is_needed(made):
    folders = [str(made[n].folder) for n in ("mean", "zero")]
    code = "import sys, lashley; lashley.compare(*sys.argv[1:]).page(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, *folders], check=False).returncode == 0


# -- of frames of numbers --------------------------------------------------------------------------------------


def rows(seed: int, subjects: int, prompts: int, draws: int, positions: int) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    made = [
        {
            "unit": u,
            "asked": f"{s} {t}",
            "subject": f"s{s}",
            "template": f"t{t}",
            "pair": f"{d}",
            "seed": "0",
            "prompt": "x",
        }
        | {"effect": draw.normal(s)}
        for u in ("a", "b")
        for s in range(subjects)
        for t in range(prompts)
        for d in range(draws + t % 2)
        for _ in range(positions + d % 2)
    ]
    assert {*PROMPT, *DRAW} <= set(made[0])
    return pd.DataFrame(made)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("subjects", [1, 7])
def test_draws_are_averaged_in_prompts_and_prompts_in_clusters(shared, subjects):
    more = subjects + 3 * (subjects > 1 and not shared)
    a, b = rows(1, subjects, 8, 2, 3), rows(2, more, 8 if shared else 11, 3, 1)
    if not shared:
        b = b.assign(asked=b["asked"] + "!")
    found = differences(effects(a, ["unit"]), effects(b, ["unit"]), ["unit"]).set_index("unit")
    assert (found["paired"] == shared).all()
    cluster = "subject" if subjects > 1 else "template"
    for unit in ("a", "b"):
        means = []
        for frame in (a, b):
            one = frame[frame["unit"] == unit]
            prompts = one.groupby([cluster, "asked", "pair"])["effect"].mean().groupby([cluster, "asked"]).mean()
            means.append(prompts.groupby(cluster).mean())
        test = scipy.stats.ttest_rel(*means[::-1]) if shared else scipy.stats.ttest_ind(*means[::-1], equal_var=False)
        low, high = test.confidence_interval()
        row = found.loc[unit]
        assert [row["low"], row["high"], row["p"]] == pytest.approx([low, high, test.pvalue])
        assert row["difference"] == pytest.approx(means[1].mean() - means[0].mean())
        assert (row["n"], row["clusters"]) == (8 * subjects, 7 if subjects > 1 else 8)


def test_half_of_the_prompts_of_the_smaller_study_make_a_pair():
    a, b = effects(rows(1, 1, 12, 1, 1), ["unit"]), effects(rows(2, 1, 20, 1, 1), ["unit"])
    for kept, paired, n in ((6, True, 6), (5, False, 12)):
        some = a.assign(asked=[x if int(x.split()[1]) < kept else f"{x}!" for x in a["asked"]])
        found = differences(some, b, ["unit"])
        assert (found["paired"] == paired).all() and (found["n"] == n).all()


STORES, NEEDS, OTHER = (
    f"L4.mlp.n173 {what} capital(France)" for what in ("stores", "is necessary for", "contributes to")
)


def audited(verdicts: dict[str, str]):
    page = SimpleNamespace(verdicts=[SimpleNamespace(claim=c, outcome=o) for c, o in verdicts.items()])
    return SimpleNamespace(experiment=audit.EXPERIMENT, page=lambda: page)


def test_verdicts_of_claims_that_both_audited_stand_beside_each_other():
    one, other = audited({STORES: "supported", NEEDS: "refuted"}), audited({NEEDS: "undecided", OTHER: "refuted"})
    assert list(comparison._verdicts(one, other)) == [  # pyright: ignore[reportArgumentType]
        (STORES, "supported", ""),
        (NEEDS, "refuted", "undecided"),
        (OTHER, "", "refuted"),
    ]


@pytest.mark.parametrize(
    ("mine", "its", "alike"),
    [
        ([STORES], [f"{STORES} [alpha = 0.1]"], 1),
        ([f"{STORES} [others = 0.2]"], [f"{STORES} [alpha = 0.1]"], 1),
        (["L1.mlp.n5+L2.mlp.n7 stores capital(France)"], ["L2.mlp.n7+L1.mlp.n5 stores capital(France)"], 1),
        ([STORES], [f"{STORES} [alpha = 0.1]", f"{STORES} [alpha = 0.2]"], 0),  # which of them?
        ([STORES, f"{STORES} [alpha = 0.1]"], [STORES, f"{STORES} [alpha = 0.2]"], 2),
        ([STORES], [NEEDS], 0),
        ([STORES], [STORES.replace("173", "174")], 0),
        ([STORES], [STORES.replace("France", "Spain")], 0),
    ],
)
def test_claims_are_matched_by_what_they_claim_where_that_is_plain(mine, its, alike):
    one, other = audited(dict.fromkeys(mine, "supported")), audited(dict.fromkeys(its, "refuted"))
    for a, b in ((one, other), (other, one)):
        found = list(comparison._verdicts(a, b))  # pyright: ignore[reportArgumentType]
        assert sum(bool(first and second) for _, first, second in found) == alike
        assert len(found) == len(mine) + len(its) - alike
        assert all(any(c in words for words, *_ in found) for c in (*mine, *its))
