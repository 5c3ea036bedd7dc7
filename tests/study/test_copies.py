"""Sweeps of one study may ask several copies of the model, and each gets the one that it asks."""

import msgspec
import pytest

import lashley
from lashley.core.edit import Identity
from lashley.core.trial import Pruned
from lashley.engine.bench import Bench
from lashley.engine.checkpoints import load
from lashley.experiments.spread.weights import WHOLE
from lashley.study.study import silent


def test_copies_that_differ_in_what_chose_their_weights_are_not_mixed_up(tmp_path) -> None:
    bench = Bench(load("embedded-gpt2", "cpu", "float32", 1 << 29))
    study = lashley.knockout(bench, study=tmp_path / "s", relation="capital", subject="France", units="layers")
    first, *_, last = study.ledger.sweeps()
    asked = [((s.clean, s.readout),) for s in (first, last)]
    bare = msgspec.structs.replace(first, edits=(Identity(),), sites=WHOLE)
    sweeps = [msgspec.structs.replace(bare, copy=Pruned(1e-3, each)) for each in asked]
    study.ledger.plan(sweeps)
    study._answer(bench, silent)
    got = [study.ledger.chunks(s.key)[0].clean for s in sweeps]
    assert got == pytest.approx([bench.pruned(s.copy).value(s.clean, s.readout) for s in sweeps], abs=1e-4)  # pyright: ignore
    assert abs(got[0] - got[1]) > 0.1
