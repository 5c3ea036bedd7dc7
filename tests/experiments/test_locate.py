"""Restoration is 1 where everything that differs is restored, and 0 where nothing is."""

import re

import numpy as np
import pytest

from .conftest import OWN


def at(table, kind: str, layer: int, role: str):
    return table[(table["kind"] == kind) & (table["layer"] == layer) & (table["role"] == role)]["effect"]


@pytest.fixture(params=["replace", "noise"])
def traced(request, study):
    """One prompt, its subject replaced, or under two draws of noise."""
    return study("locate", **OWN, corruption=request.param, draws=1 + (request.param == "noise")).table


def test_the_map_is_whole(traced, bench):
    a = bench.anatomy
    tokens = len(bench.tokens.run("The capital of France is"))
    draws = traced["seed"].nunique()
    assert len(traced) == draws * a.layers * tokens * 3
    assert not traced.duplicated(["seed", "kind", "layer", "position"]).any()
    assert np.isfinite(traced["effect"]).all()


def test_restoring_the_embedding_of_a_one_token_subject_restores_everything(traced, bench):
    start, stop = bench.tokens.run("The capital of France is", (15, 21)).subject
    assert stop - start == 1, "choose a subject of one token"
    assert np.allclose(at(traced, "resid", 0, "subject_last"), 1, atol=1e-4)


def test_before_the_subject_nothing_can_be_restored(traced):
    for role in ("begin", "relation"):
        rows = traced[(traced["role"] == role) & (traced["position"] < 4)]
        assert len(rows) and (rows["effect"].abs() <= rows["noise_floor"] / rows["clean"] + 1e-4).all()


def test_the_final_token_cannot_know_the_subject_before_the_first_attention(traced):
    assert np.allclose(at(traced, "resid", 0, "final"), 0, atol=1e-4)


def test_noise_draws_are_different_corruptions_of_the_same_prompt(study):
    table = study("locate", **OWN, corruption="noise", draws=2).table
    per_draw = table.drop_duplicates("seed")
    assert list(per_draw["seed"]) == ["0", "1"]
    assert per_draw["clean"].nunique() == 1 and per_draw["corrupt"].nunique() == 2
    assert (table["corruption"] == "noise").all() and (table["prompt"] == "The capital of France is").all()


def test_replacement_runs_the_foil_prompt(study):
    table = study("locate", **OWN).table
    assert set(table["prompt"]) == {"The capital of Japan is"} and set(table["foil"]) == {"Tokyo"}
    assert (table["clean"] > 0).all() and (table["corrupt"] < 0).all()


@pytest.mark.parametrize("window", [2, 3, 99])
def test_a_window_holds_the_layers_around_its_own(study, bench, window):
    layers = bench.anatomy.layers
    width = min(window, layers)
    table = study("locate", **OWN, window=window, kinds=("resid", "mlp")).table
    resid, mlp = table[table["kind"] == "resid"], table[table["kind"] == "mlp"]
    assert not resid["site"].str.contains("+", regex=False).any() and set(resid["window"]) == {"1"}
    assert set(mlp["window"]) == {str(width)}
    tokens = resid["position"].nunique()
    for layer, rows in enumerate(np.split(mlp["site"].to_numpy(), layers)):
        first = layer - (width - 1) // 2
        inside = [la for la in range(first, first + width) if 0 <= la < layers]
        assert len(rows) == tokens
        assert [site.split("@")[0] for site in rows[0].split("+")] == [f"L{la}.mlp" for la in inside]


def test_a_window_of_one_is_a_single_layer(study):
    one, default = (study("locate", **OWN, **words) for words in ({"window": 1}, {}))
    assert one.ledger.planned() == default.ledger.planned()


def test_the_window_is_named_in_what_was_found(study):
    page = study("locate", **OWN, window=3).page()
    assert re.search(
        r"window of \w+ outputs, layers \d to \d", " ".join(f.sentence for f in (page.finding, *page.also))
    )
    assert any("indows of 3 layers" in c for c in page.caveats)


def test_what_follows_from_a_whole_fact_has_intervals(study):
    page = study("locate", register="statement", kinds=("resid",)).page()
    estimate = page.finding.estimate
    assert estimate.low <= estimate.value <= estimate.high and estimate.n >= 6
    assert "[" in page.finding.sentence


@pytest.mark.parametrize("words", [{}, {"window": 3}, {"kinds": ("resid",)}])
def test_the_result_is_what_the_rows_come_to(study, bench, words):
    made = study("locate", **OWN, **words)
    result, table = made.result, made.table
    outputs = table[table["kind"] != "resid"] if "kinds" not in words else table
    sites = outputs["site"].astype(str).str.replace(r"@\d+", "", regex=True)
    mean = outputs.groupby([sites, "role"], observed=True)["effect"].mean()
    assert result.outputs == len(mean)
    assert result.strongest.share.value == pytest.approx(mean.max())
    which, role = mean.idxmax()
    layers = [int(la) for la in re.findall(r"L(\d+)\.", which)]
    assert (result.strongest.layers, result.strongest.role) == ((min(layers), max(layers)), role)
    assert (result.strongest.share.n, result.window) == (1, words.get("window", 0))
    roles = ("subject_last", "final")
    own, final = ([at(table, "resid", la, role).mean() for la in range(bench.anatomy.layers)] for role in roles)
    assert [e.value for e in result.handover.subject_last] == pytest.approx(own)
    assert [e.value for e in result.handover.final] == pytest.approx(final)
    arrives, leaves = result.handover.arrives, result.handover.leaves
    assert own[arrives] >= 0.5 > max(own[:arrives], default=0)
    assert min(own[arrives : leaves or len(own)]) >= 0.5 and (leaves is None or own[leaves] < 0.5)
