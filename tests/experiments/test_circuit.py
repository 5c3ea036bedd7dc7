"""Circuits of the embedded model: found, examined, written, loaded again; and none where there is none."""

import numpy as np
import pytest

import lashley
from lashley.core.errors import BadCircuit, BadFact
from lashley.core.progress import silent
from lashley.core.question import Question
from lashley.experiments import circuit
from lashley.experiments.circuit import rounds
from lashley.experiments.circuit.files import read as read_circuit
from lashley.experiments.circuit.reading import confirming, read
from lashley.stats.summary import floor, measured
from lashley.study.planning import Asking

from .conftest import told

QUICK = {"exact": 12, "rivals": 19}


@pytest.fixture(scope="module")
def agreement(bench, tmp_path_factory):
    """The circuit of agreement on twelve prompts."""
    folder = tmp_path_factory.mktemp("circuit") / "study"
    return lashley.circuit(
        bench, study=folder, task="agreement", max_facts=12, operations=False, **QUICK | {"exact": 24}
    )


@pytest.fixture(scope="module")
def rows(agreement):
    return measured(agreement.table)


@pytest.fixture(scope="module")
def found(rows):
    return read(rows, 0.8)


def test_agreement_has_a_circuit_and_says_so_with_its_interval(agreement, found):
    assert found.exists.there and found.best["size"] < 0.1 * found.total
    first = agreement.page().finding
    assert first.sentence.startswith("A circuit of ") and "[" in first.sentence
    assert first.estimate.low < first.estimate.value < first.estimate.high


def test_the_whole_graph_is_the_model_and_no_edges_the_corrupt_run(rows, found):
    whole = rows[(rows["measure"] == rounds.CURVE) & rows["copy"].isna() & (rows["trial"] == 9)]
    assert abs(whole["effect"]).max() <= max(floor(rows), 1e-6)
    assert found.curve["size"].iloc[-1] == found.total and found.curve["effect"].iloc[-1] == pytest.approx(1)
    none = found.curve[found.curve["size"] == 0]
    assert len(none) and np.allclose(none["effect"], 0, atol=1e-4)


def test_it_is_measured_where_it_was_not_sought(rows):
    seek, confirm = (set(rows[rows["group"] == group]["subject"]) for group in (rounds.DISCOVERY, rounds.CONFIRM))
    assert len(seek) == len(confirm) == 6 and not seek & confirm


def test_random_circuits_of_its_size_keep_less(found):
    assert len(found.rivals) == 19 and found.best["effect"] > found.rivals.max() + 0.3


def test_the_result_is_what_the_rows_come_to(agreement, rows):
    result, own = agreement.result, rows[rows["copy"].isna()]
    confirmed = own[own["group"] == rounds.CONFIRM]
    kept = 1 - confirmed[confirmed["measure"] == rounds.CURVE].groupby("trial")["effect"].mean()
    assert [size.faithfulness.value for size in result.sizes] == pytest.approx(kept.tolist())
    assert result.faithfulness == result.reported.faithfulness and result.reported in result.sizes
    seek = own[(own["group"] == rounds.DISCOVERY) & (own["measure"] == rounds.CURVE)]
    sought = 1 - seek.groupby("trial")["effect"].mean()
    edges = [size.edges for size in result.sizes]
    assert result.size == min(n for n, f in zip(edges, sought, strict=True) if f >= 0.8) == len(result.edges)
    rivals = 1 - confirmed[confirmed["measure"] == rounds.RIVALS].groupby("trial")["effect"].mean()
    assert (result.rivals.value, result.rivals.n) == (pytest.approx(rivals.mean()), 19)
    alone = own[own["measure"] == rounds.EDGE].groupby("site", observed=True)["effect"].mean()
    for edge in result.edges:
        assert edge.damage.value == pytest.approx(alone[f"{edge.source}->{edge.target}"])
    worst = max(abs(k.circuit - k.model) for k in result.completeness.subsets)
    assert result.completeness.worst.apart == worst and result.completeness.mean.n == len(result.completeness.subsets)
    assert result.existence.there and not result.untrained.there and result.operations is None


@pytest.mark.parametrize("measure", [rounds.CURVE, rounds.CHANCE, rounds.RIVALS, rounds.MINIMAL, rounds.WITHOUT])
@pytest.mark.parametrize("group", [rounds.CONFIRM, rounds.DISCOVERY])
def test_what_is_answered_on_some_prompts_only_can_be_told(agreement, measure, group):
    table = agreement.table
    part = table[(table["measure"] != measure) | (table["group"] != group)]
    assert told(agreement, part).findings[0].sentence.endswith(".")


def test_an_untrained_copy_has_none(agreement, rows):
    assert not read(rows, 0.8, "untrained").exists.there
    control = next(c for c in agreement.page().controls if c.name == "untrained copy")
    assert "no circuit is reported" in control.reading


def test_what_an_edge_is_worth_is_what_the_circuit_loses(rows, found):
    own = confirming(rows[rows["copy"].isna()])
    kept = own[(own["measure"] == rounds.CURVE) & (own["trial"] == found.best["trial"])]["effect"].mean()
    less = own[own["measure"] == rounds.MINIMAL].groupby("trial")["effect"].mean()
    np.testing.assert_allclose(found.edges["needed"], less - kept, atol=1e-9)


def test_completeness_compares_the_circuit_and_the_model_without_the_same_subsets(rows, found):
    assert {"random1"} < set(found.subsets["subset"]) and any("greedy" in s for s in found.subsets["subset"])
    own = confirming(rows[rows["copy"].isna()])
    for measure, column in ((rounds.WITHOUT, "circuit"), (rounds.REMOVED, "model")):
        mean = 1 - own[(own["measure"] == measure) & (own["keys"] == "first")].groupby("trial")["effect"].mean()
        np.testing.assert_allclose(found.subsets[column].iloc[: len(mean)], mean, atol=1e-9)


def test_stability_is_a_share_and_the_strongest_edge_always_stays(found):
    stability = found.edges.merge(found.singles[["site", "estimate"]], on="site")
    assert found.edges["stability"].between(0, 1).all()
    assert stability.loc[stability["estimate_x"].abs().idxmax(), "stability"] > 0.9


def test_a_circuit_loaded_again_keeps_what_it_kept(bench, agreement, found, tmp_path):
    path = tmp_path / "circuit.json"
    agreement.export(path, "circuit")
    stored = read_circuit(path)
    assert stored.reported and {e.name for e in stored.edges} == set(found.edges["site"])
    again = lashley.circuit(
        bench, study=tmp_path / "study", task="agreement", max_facts=12, circuit=(str(path),), operations=False, **QUICK
    )
    assert again.params.circuit == tuple(e.name for e in stored.edges)
    value = {}
    for study in (agreement, again):
        table = measured(study.table)
        best = read(table, 0.8).best
        own = table[(table["measure"] == rounds.CURVE) & table["copy"].isna() & (table["trial"] == best["trial"])]
        value |= {(study is again, p): v for p, v in zip(own["prompt"], own["value"], strict=True)}
    for (loaded, prompt), readout in value.items():
        assert readout == pytest.approx(value[not loaded, prompt], abs=1e-4)
    assert "that was given" in again.page().finding.sentence


def test_the_picture_has_every_edge_and_marks_those_that_come_and_go(agreement, found):
    figure = next(f for f in agreement.page().figures if f.name == "circuit")
    lines = figure.spec["layer"][1]["data"]["values"]
    names = {r["name"] for r in lines}
    assert names == {site.replace("->", "→") for site in found.edges["site"]}
    grey = {r["name"] for r in lines if r["kind"] == "comes and goes"}
    assert grey == {s.replace("->", "→") for s in found.edges[found.edges["stability"] < 0.95]["site"]}


def test_neurons_drawn_out_are_nodes(bench, tmp_path):
    made = lashley.circuit(
        bench, study=tmp_path / "study", task="agreement", max_facts=2, neurons=3, operations=False, **QUICK
    )
    neurons = {s.edges.graph.neurons for s in made.ledger.sweeps()}
    assert len(neurons) == 1 and len(neurons.pop()) == 3 and made.complete


def test_pruning_ends_and_keeps_what_it_has_to(bench, tmp_path):
    made = lashley.circuit(
        bench, study=tmp_path / "study", task="agreement", max_facts=1, method="exact", operations=False, **QUICK
    )
    curve = read(measured(made.table), 0.8).curve
    assert made.complete and 0 < curve["size"].iloc[-1] < 200
    assert 0.79 < curve["sought"].iloc[-1] < 1.21


def test_a_task_that_is_not_known_is_refused_with_the_reason(bench, tmp_path):
    with pytest.raises(BadFact, match="not known to the model"):
        lashley.circuit(bench, study=tmp_path / "study", task="ioi", max_facts=2)
    assert not (tmp_path / "study").exists()


BAD = {
    "too few rivals": ({"rivals": 5}, "rivals 5 is too small; write 19"),
    "impossible share": ({"least": 1.5}, "between 0 and 1"),
    "neurons without gradients": ({"method": "exact", "neurons": 2}, "neurons are chosen by gradients"),
    "no file": ({"circuit": ("nowhere.json",)}, "cannot be read"),
}


@pytest.mark.parametrize(("given", "words"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_done_is_refused(given, words):
    with pytest.raises(Exception, match=words) as raised:
        circuit.Params(**given)
    assert isinstance(raised.value, lashley.api.LashleyError)


def test_edges_that_the_model_lacks_are_refused(bench):
    with pytest.raises(BadCircuit, match="another model's"):
        circuit.EXPERIMENT.gather(
            circuit.Params(circuit=("L99.mlp->logits",)), Question(relation="capital"), Asking(bench, silent)
        )
