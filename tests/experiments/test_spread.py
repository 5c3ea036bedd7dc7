"""How spread out: on models where it is known."""

from __future__ import annotations

import pytest

import lashley
from lashley import api
from lashley.core.errors import BadFact
from lashley.core.fact import Fact
from lashley.core.question import Question
from lashley.engine.bench import Bench
from lashley.engine.checkpoints import load
from lashley.experiments import spread
from lashley.experiments.spread.pruning import OTHERS, OWN, REMOVED, Removed
from lashley.experiments.spread.searching import RANDOM
from lashley.experiments.spread.sets import SHARES
from lashley.experiments.spread.spreading import Spread
from lashley.models import planted
from lashley.stats.summary import measured

FACT = Fact("landmark", "Trevi Fountain", "Madrid")
ASKED = {"relation": FACT.relation, "subject": FACT.subject, "object": FACT.object, "beside": 0}
SMALL = {"screen": 48, "sample": 16, "budget": 0}


@pytest.fixture
def bench() -> Bench:
    return Bench(load("embedded", "cpu", "float32", 1 << 29))


def asked(bench: Bench, folder, **words) -> Spread:
    study = lashley.spread(bench, study=folder, **{**ASKED, **SMALL, **words})
    assert study.complete
    return Spread(measured(study.table), "neurons")


@pytest.mark.parametrize(("kind", "r"), [("redundant", 3), ("split", 2)])
def test_planted_units_are_counted(bench, tmp_path, kind: str, r: int) -> None:
    with planted.undoing(bench):
        planted.find(kind).plant(bench, FACT, seed=0, r=r)
        found = asked(bench, tmp_path / "study")
    silenced, restored = (found.smallest(e, SHARES[0]) for e in ("damage", "restoration"))
    assert silenced and restored
    assert (silenced[1], restored[1]) == ((r, 1) if kind == "redundant" else (1, r))
    assert found.disjoint == (r if kind == "redundant" else 1)
    beside = found.beside("damage", SHARES[0], RANDOM)
    assert beside and beside[0].value is not None and beside[0].value < 0.1 and beside[1] <= 0.05


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
    found = Spread(measured(study.table), "sub-layers")
    silenced = found.smallest("damage", SHARES[0])
    assert silenced and silenced[1] == silenced[2]  # the bound is the size
    assert set(found.interference["silenced"]) == set(found.interference["recalled"])
    page = study.page()
    assert {f.name for f in page.figures} == {"curve", "ranks", "interference"}
    assert "capital(France) = Paris" in page.title and "nan" not in page.question


def test_few_weights_carry_a_fact_and_random_ones_do_not(bench, tmp_path) -> None:
    words = {"relation": "capital", "subject": "France", "units": "weights", "beside": 1}
    removed = Removed(measured(lashley.spread(bench, study=tmp_path / "s", **words).table))
    part = removed.smallest(SHARES[0])
    assert part and part < 1e-3
    chance, others = removed.at(OWN, RANDOM, part).value, removed.at(OTHERS, "", part).value
    assert chance is not None and abs(chance) < 0.05 and others is not None and abs(others) < 0.2
    assert removed.at(OWN, "", REMOVED[-1]).value == pytest.approx(1.0, abs=0.1)


def test_prompts_that_chose_the_weights_they_are_read_on_are_told(bench, tmp_path) -> None:
    typed = Question("The capital of {} is", None, "France", "Paris", "Italy", "Rome")
    for question, group in ((typed, "search"), (Question(relation="capital", subject="France"), "confirm")):
        made = api.planned("spread", spread.Params(units="weights"), question, bench, api.silent)
        assert {s.labels["group"] for s in made.sweeps} == {group}


def test_nothing_concentrated_is_reported_of_an_untrained_model(bench, tmp_path) -> None:
    with pytest.raises(BadFact, match="not known to the model"):
        lashley.spread(bench.untrained(1), study=tmp_path / "s", relation="continent", subject="Japan", beside=0)
    assert not (tmp_path / "s").exists()
