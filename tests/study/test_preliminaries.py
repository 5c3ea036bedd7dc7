"""An interruption while a study is planned costs the question in flight: what was asked before is not asked again."""

import sqlite3
from collections.abc import Callable
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import lashley
from lashley import api
from lashley.core.errors import BadFact, BadSite
from lashley.study.ledger.preliminaries import NAME, Preliminaries
from lashley.study.page import LEFT_OUT
from lashley.study.planning import keeping
from lashley.study.study import Study

ASK = {"relation": "capital", "subject": "France"}
FEW = {"controls": 20, "others": 2}
CLAIM = "L2.mlp.n173 stores capital(France)"
ASKED: dict[str, Callable] = {
    "claims": lambda bench, folder: api.audit(bench, CLAIM, study=folder, **FEW),
    "strongest": lambda bench, folder: api.audit(bench, strongest=1, of="capital(France)", study=folder, **FEW),
    "screen": lambda bench, folder: lashley.knockout(bench, **ASK, units="neurons", screen=4, sample=2, study=folder),
    "circuit": lambda bench, folder: lashley.circuit(bench, **ASK, study=folder),
}


class Planned(Exception):
    pass


@pytest.fixture(scope="module")
def bench():
    return lashley.open_model("embedded-gpt2")


@pytest.fixture
def planning(monkeypatch):
    """Studies are planned, and not run."""

    def stop(*_):
        raise Planned

    monkeypatch.setattr(Study, "_answer", stop)


@contextmanager
def counted(bench, stop: int = 0):
    """The calls of decoder layers, one a list entry; at the `stop`-th Ctrl-C is pressed."""
    calls: list[int] = []

    def called(*_):
        calls.append(1)
        if len(calls) == stop:
            raise KeyboardInterrupt

    bench.changed()  # what it remembers of earlier runs would be no forward pass
    hooks = [layer.register_forward_pre_hook(called) for layer in bench.model.blocks]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def plan(ask: Callable, bench, folder: Path, stop: int = 0) -> int:
    """How many layer calls planning takes until it is done, or stopped."""
    with counted(bench, stop) as calls, pytest.raises(KeyboardInterrupt if stop else Planned) as caught:
        ask(bench, folder)
    if stop:
        assert "what is measured is kept" in str(caught.value)
    return len(calls)


def made(folder: Path) -> object:
    ledger = Study.open(folder).ledger
    arrays = {name: {k: a.tobytes() for k, a in ledger.arrays(name).items()} for name in ledger.array_names()}
    return ledger.planned(), ledger.exclusions(), arrays, ledger.spec.params


@pytest.mark.parametrize("name", ASKED)
def test_planning_goes_on_where_it_was_interrupted(bench, tmp_path, planning, name):
    total = plan(ASKED[name], bench, tmp_path / "whole")
    folder = tmp_path / "deep" / "study"
    done = plan(ASKED[name], bench, folder, int(0.7 * total))
    left = plan(ASKED[name], bench, folder)
    assert done + left < 1.3 * total, "more was asked again than what was in flight"
    assert made(folder) == made(tmp_path / "whole"), "another plan came of it"
    files = {p.name for p in (*folder.iterdir(), *folder.parent.iterdir())}
    assert not any(n.startswith((".search", NAME)) for n in files), "nothing is kept longer than it is needed"


def test_a_study_that_was_interrupted_before_it_was_planned_is_resumed(bench, tmp_path, planning):
    folder, ask = tmp_path / "study", ASKED["screen"]
    total = plan(ask, bench, tmp_path / "whole")
    plan(ask, bench, folder, int(0.7 * total))
    study = Study.open(folder)
    assert not study.planned and not study.complete and "resume" in study.page().finding.sentence
    with counted(bench) as calls, pytest.raises(Planned):
        study.run(bench)
    assert len(calls) < 0.6 * total and made(folder) == made(tmp_path / "whole")


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("deep", ["study", "a/b/study"])
def test_a_question_that_cannot_be_asked_leaves_nothing_behind(bench, tmp_path, there, deep):
    folder = tmp_path / deep
    if there:
        folder.mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BadFact):
        lashley.locate(bench, **ASK | {"object": "Rome"}, study=folder)
    with pytest.raises(BadSite):
        lashley.knockout(bench, **ASK, units="L77.mlp", study=folder)
    with pytest.raises(BadFact):
        api.audit(bench, strongest=1, of="capital(France)=Rome", study=folder)
    assert sorted(tmp_path.rglob("*")) == before


# -- where answers are kept -----------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path):
    kept = Preliminaries(tmp_path / "deep" / NAME, ("weights", 1))
    yield kept
    kept.close()


def test_arrays_come_back_as_they_were(kept, tmp_path):
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3).T, np.array(np.nan), np.empty(0), np.array([2**60])]
    kept.put(("read", [1]), arrays)
    kept.put(("read", [1]), arrays[:1])
    kept.within("copy").put(("read", [2]), arrays[2:])
    again = Preliminaries(kept.path, ("weights", 1))
    first, second = again.every(("read", [1]))
    assert [(a.dtype, a.shape, a.tobytes()) for a in first] == [(a.dtype, a.shape, a.tobytes()) for a in arrays]
    assert len(second) == 1 and first[0].flags.writeable
    assert len(again.within("copy").every(("read", [2]))) == 1
    for other in (again.every(("read", [2])), again.within("copy").every(("read", [1])), again.every(("values", [1]))):
        assert other == []
    assert Preliminaries(kept.path, ("other weights", 1)).every(("read", [1])) == []
    again.remove()
    assert not (tmp_path / "deep").exists() or not list((tmp_path / "deep").iterdir())


def test_what_is_damaged_is_asked_again(kept, tmp_path):
    kept.put("asked", [np.arange(3.0)])
    kept.close()
    with closing(sqlite3.connect(kept.path, isolation_level=None)) as raw:
        raw.execute("UPDATE kept SET answer = zeroblob(40)")
    assert Preliminaries(kept.path, ("weights", 1)).every("asked") == []
    kept.path.write_bytes(b"no database " * 999)
    anew = Preliminaries(kept.path, ("weights", 1))
    assert anew.every("asked") == []
    anew.put("asked", [np.arange(3.0)])
    assert len(anew.every("asked")) == 1


@pytest.mark.parametrize(
    ("field", "other"),
    [("memory", 1 << 20), ("device", torch.device("meta")), ("weights_hash", "other"), ("dtype", 16)],
)
def test_answers_are_those_of_one_model_where_and_how_it_ran(bench, tmp_path, field, other):
    fields = ("weights_hash", "tokenizer_hash", "dtype", "device", "memory")
    own = {name: getattr(bench.model, name) for name in fields}
    mine, its = (SimpleNamespace(model=SimpleNamespace(**m), kept=None) for m in (own, own | {field: other}))
    with keeping(mine, tmp_path / NAME, planned=False):
        mine.kept.put("asked", [np.arange(3.0)])
    for one, found in ((its, 0), (mine, 1)):
        with keeping(one, tmp_path / NAME, planned=False):
            assert len(one.kept.every("asked")) == found


def test_where_nothing_can_be_kept_it_is_asked_each_time(tmp_path):
    (tmp_path / "file").write_text("")
    nowhere = Preliminaries(tmp_path / "file" / "below" / NAME, "model")
    nowhere.put("asked", [np.arange(3.0)])
    assert nowhere.every("asked") == []
    nowhere.remove()
    assert (tmp_path / "file").read_text() == ""


def test_whoever_resumes_an_audit_knows_what_its_search_left_out(bench, planning, tmp_path):
    layers = plan(ASKED["strongest"], bench, tmp_path / "whole")
    plan(ASKED["strongest"], bench, tmp_path / "stopped", stop=layers - 1)
    whole, stopped = (Study.open(tmp_path / name) for name in ("whole", "stopped"))
    assert whole.planned and not stopped.planned
    assert stopped.ledger.notes()[LEFT_OUT] == whole.ledger.notes()[LEFT_OUT]
