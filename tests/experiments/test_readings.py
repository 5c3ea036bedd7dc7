"""What every report says of its runs before they are edited, against the model's own words."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from scipy import stats

import lashley
from lashley.core.standing import NAME
from lashley.stats.basis import spread_over
from lashley.stats.summary import cells, estimate, facts, measured, prompts, readings, resting
from lashley.study import planning
from lashley.study import study as study_module
from lashley.study.ledger.tidy import export, exported
from lashley.study.study import Study

from .conftest import OWN

STANDING = ["p_clean", "p_corrupt", "rank_clean", "rank_corrupt"]


def own_words(bench, sweep, run) -> tuple[float, float]:
    """Probability of the whole object after a run, and the rank of its first token, from the model's own logits."""
    target = list(sweep.readout.target)
    with torch.no_grad():
        logits = bench.model.module(torch.tensor([[*run.tokens, *target]])).logits[0].double()
    at = logits[len(run) - 1 : -1]
    p = at.softmax(-1)[range(len(target)), target].prod()
    return float(p), 1.0 + float((at[0] > at[0, target[0]]).sum())


@pytest.mark.parametrize("experiment", ["locate", "knockout", "attention"])
def test_probability_and_rank_are_the_models_own(study, bench, experiment):
    made = study(experiment)
    rows = measured(made.table)
    for key, own in rows.groupby("sweep", observed=True):
        sweep = made.ledger.sweep(str(key))
        (stated,) = own[STANDING].drop_duplicates().to_numpy()
        (p, rank), (p_corrupt, rank_corrupt) = (own_words(bench, sweep, run) for run in (sweep.clean, sweep.corrupt))
        np.testing.assert_allclose(stated, [p, p_corrupt, rank, rank_corrupt], rtol=1e-3, atol=1e-9)
        assert set(own["asked"]) == {sweep.clean.text}


def test_the_page_says_them_and_the_scale_of_the_noise(study):
    made = study("locate", **OWN, corruption="noise", draws=3)
    rows = measured(made.table)
    (table,) = readings(rows)
    clean, corrupt = rows["clean"].iloc[0], rows.drop_duplicates("seed")["corrupt"].mean()
    assert [e.value for e in table.rows[0][1:3]] == pytest.approx([clean, corrupt])
    assert table.rows[1][2].value == pytest.approx(rows.drop_duplicates("seed")["p_corrupt"].mean())
    assert f"standard deviation of {rows['noise_sd'].iloc[0]:.2f}" in table.note and "3 times" in table.note


def test_a_study_of_before_opens_without_them_and_says_so(study, bench, tmp_path, monkeypatch):
    planned = planning.planned
    monkeypatch.setattr(study_module, "planned", lambda *words: planned(*words)._replace(arrays={}))
    old = Study.open(lashley.ask("locate", bench, study=tmp_path / "old", **OWN).folder)
    rows = measured(old.table)
    assert NAME not in old.ledger.array_names() and rows[STANDING].isna().all(axis=None)
    assert np.array_equal(rows["effect"], measured(study("locate", **OWN).table)["effect"])
    (table,) = readings(rows)
    assert len(table.rows) == 1 and "not measured by the version" in table.note


def test_exports_of_before_are_read(study, tmp_path):
    made = study("locate", **OWN)
    export(made.ledger, tmp_path / "now.parquet")
    frame = pd.read_parquet(tmp_path / "now.parquet")
    whole = pq.read_table(tmp_path / "now.parquet")
    pq.write_table(whole.drop_columns([*STANDING, "asked", "noise_sd"]), tmp_path / "before.parquet")
    _, read = exported(tmp_path / "before.parquet")
    assert list(read.columns) == list(frame.columns) and read["p_clean"].isna().all()
    assert np.array_equal(read["effect"], frame["effect"])


def made(prompts: int, draws: int, per: int = 1, corruption: str = "noise") -> pd.DataFrame:
    """Random effects of so many prompts (`per` a template) and draws, as a table has them."""
    rng = np.random.default_rng(prompts * 100 + draws)
    rows = [(f"t{i // per} {{}}", f"t{i // per} France {i}", d) for i in range(prompts) for d in range(draws)]
    frame = pd.DataFrame(rows, columns=["template", "asked", "seed"])
    base = {"relation": "capital", "subject": "France", "context": None, "pair": "p", "corruption": corruption}
    shift = frame["asked"].astype("category").cat.codes * 10.0
    return frame.assign(**base, prompt=frame["asked"], cell=0, effect=shift + rng.standard_normal(len(frame)))


@pytest.mark.parametrize(
    ("shape", "over"),
    [((1, 1), ""), ((1, 5), ""), ((1, 6), "draws"), ((5, 6), "draws"), ((6, 1), "clusters"), ((3, 2), ""),
     ((6, 9), "clusters"), ((6, 2, 6), ""), ((2, 3), "")],
)  # fmt: skip
def test_draws_are_never_prompts(shape, over):
    """Neither in n nor in words nor in what an interval is over: 3 prompts of 2 draws are not 6 prompts."""
    table = made(*shape)
    assert spread_over(table) == over
    (cell,) = cells(table, ["cell"]).to_dict("records")
    assert cell["n"] == shape[0] and np.isfinite(cell["low"]) == bool(over)
    assert prompts(table).startswith(f"{shape[0]} prompt") and ("noise draw" in prompts(table)) == (shape[1] > 1)
    assert ("No interval" in resting(table)) == (not over)


def test_the_interval_over_draws_is_that_of_their_mean():
    one = made(1, 10)
    (cell,) = cells(one, ["cell"]).to_dict("records")
    low, high = stats.t.interval(0.95, 9, one["effect"].mean(), stats.sem(one["effect"]))
    assert (cell["low"], cell["high"]) == (pytest.approx(low), pytest.approx(high))
    three = made(3, 8)  # prompts lie 10 apart, which an interval over draws must not count
    (cell,) = cells(three, ["cell"]).to_dict("records")
    assert cell["effect"] == pytest.approx(three["effect"].mean()) and cell["high"] - cell["low"] < 2


def test_the_interval_over_prompts_is_of_means_over_draws():
    table = made(6, 9)
    each = table.groupby("asked")["effect"].mean()
    (cell,) = cells(table, ["cell"]).to_dict("records")
    low, high = stats.t.interval(0.95, 5, each.mean(), stats.sem(each))
    assert (cell["low"], cell["high"]) == (pytest.approx(low), pytest.approx(high))


def test_what_is_not_known_is_none_however_a_frame_says_so():
    for missing in (np.nan, None, pd.NA):
        row = pd.Series({"effect": 0.5, "low": missing, "high": missing, "n": 3}, dtype=object)
        found = estimate(row)
        assert (found.value, found.low, found.high, found.n) == (0.5, None, None, 3)


def test_a_page_quotes_the_answer_as_it_was_joined(bench, tmp_path):
    table = lashley.locate(bench, **OWN, kinds=("resid",), study=tmp_path / "study").table
    assert facts(table) == "“The capital of France is Paris”"
    quoted = {"template": 'The capital of {} is "', "asked": 'The capital of France is "'}
    told = table.assign(join="none 65", **quoted)
    assert facts(told) == '“The capital of France is "Paris”'
