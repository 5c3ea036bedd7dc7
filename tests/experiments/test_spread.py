"""How spread out: on models where it is known."""

from __future__ import annotations

import msgspec
import pytest

import lashley
from lashley import api
from lashley.core.errors import BadFact
from lashley.core.fact import Fact
from lashley.core.question import Question
from lashley.engine.bench import Bench
from lashley.engine.checkpoints import load
from lashley.experiments import spread
from lashley.experiments.spread import Removal, Result
from lashley.models import planted

from .conftest import told

FACT = Fact("landmark", "Trevi Fountain", "Madrid")
ASKED = {"relation": FACT.relation, "subject": FACT.subject, "object": FACT.object, "beside": 0}
SMALL = {"screen": 48, "sample": 16, "budget": 0}


@pytest.fixture
def bench() -> Bench:
    return Bench(load("embedded", "cpu", "float32", 1 << 29))


def asked(bench: Bench, folder, **words) -> Result:
    study = lashley.spread(bench, study=folder, **{**ASKED, **SMALL, **words})
    assert study.complete
    return study.result


@pytest.mark.parametrize(("kind", "r"), [("redundant", 3), ("split", 2)])
def test_planted_units_are_counted(bench, tmp_path, kind: str, r: int) -> None:
    with planted.undoing(bench):
        planted.find(kind).plant(bench, FACT, seed=0, r=r)
        found = asked(bench, tmp_path / "study")
    silenced, restored = found.k_n["0.5"], found.k_s["0.5"]
    assert (silenced.units, restored.units) == ((r, 1) if kind == "redundant" else (1, r))
    assert len(found.disjoint) == (r if kind == "redundant" else 1)
    beside = silenced.random
    assert beside and beside.effect.value is not None and beside.effect.value < 0.1 and beside.p <= 0.05


def test_an_interrupted_search_goes_on_and_ends_the_same(bench, tmp_path, monkeypatch) -> None:
    words = {"relation": "capital", "subject": "France", "units": "heads", "beside": 1}
    whole = lashley.spread(bench, study=tmp_path / "whole", **words)
    run, calls = Bench.run, iter(range(100))

    def stops(self, sweeps, answered=None):
        for chunks in run(self, sweeps, answered):
            yield chunks
            if next(calls) == 8:
                raise KeyboardInterrupt

    monkeypatch.setattr(Bench, "run", stops)
    with pytest.raises(KeyboardInterrupt):
        lashley.spread(bench, study=tmp_path / "cut", **words)
    monkeypatch.undo()
    cut = lashley.spread(bench, study=tmp_path / "cut", **words)
    assert cut.complete and cut.ledger.planned() == whole.ledger.planned()
    assert cut.page().finding == whole.page().finding


def test_few_units_are_enumerated(bench, tmp_path) -> None:
    study = lashley.spread(bench, study=tmp_path / "s", relation="capital", subject="France", units="layers", beside=2)
    found = study.result
    assert found.k_n["0.5"].proven and not found.screened
    assert {i.silenced for i in found.interference} == {i.recalled for i in found.interference}
    rows = study.table[(study.table["measure"] == "smallest") & study.table["control"].isna()]
    for label, one in {"k_n(0.5)": found.k_n["0.5"], "k_s(0.9)": found.k_s["0.9"]}.items():
        own = rows[rows["set"] == label]
        assert one.effect.value == pytest.approx(own["effect"].clip(-1, 1).mean())
        assert {one.sites} == set(own["site"]) and one.sites.count("+") + 1 == one.units
    page = study.page()
    assert {f.name for f in page.figures} == {"curve", "ranks", "interference"}
    assert "capital(France) = Paris" in page.title and "nan" not in page.question
    for rows in (1, 5, 17, 50, len(study.table) // 2):  # one that was cut off is told of, and no screen is made up
        assert not any("gradients" in words for words in told(study, study.table.head(rows)).caveats)


def test_few_weights_carry_a_fact_and_random_ones_do_not(bench, tmp_path) -> None:
    words = {"relation": "capital", "subject": "France", "units": "weights", "beside": 1}
    study = lashley.spread(bench, study=tmp_path / "s", **words)
    least = study.result.least(0.5)
    assert least and least.part < 1e-3
    chance, others = least.fact_random.value, least.others.value
    assert chance is not None and abs(chance) < 0.05 and others is not None and abs(others) < 0.2
    assert study.result.costs[-1].fact.value == pytest.approx(1.0, abs=0.1)
    assert msgspec.json.decode(msgspec.json.encode(study.result), type=Removal) == study.result
    assert told(study, study.table.head(1)).findings


def test_prompts_that_chose_the_weights_they_are_read_on_are_told(bench, tmp_path) -> None:
    typed = Question("The capital of {} is", None, "France", "Paris", "Italy", "Rome")
    for question, group in ((typed, "search"), (Question(relation="capital", subject="France"), "confirm")):
        made = api.planned("spread", spread.Params(units="weights"), question, bench, api.silent)
        assert {s.labels["group"] for s in made.sweeps} == {group}


def test_nothing_concentrated_is_reported_of_an_untrained_model(bench, tmp_path) -> None:
    with pytest.raises(BadFact, match="not known to the model"):
        lashley.spread(bench.untrained(1), study=tmp_path / "s", relation="continent", subject="Japan", beside=0)
    assert not (tmp_path / "s").exists()
