"""A study that was changed or has lost something says so, and goes on where it can; one of an older lashley too."""

import json
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import lashley
from lashley import api
from lashley.core.errors import BrokenStudy, LashleyError
from lashley.engine.bench import Bench
from lashley.study.ledger.seal import COUNT
from lashley.study.study import Study

from .conftest import ASK
from .test_study import Counting, same

FOSSILS = Path(__file__).parents[1] / "data" / "studies_v2"


def killed(bench, folder: Path, to: Path, words: dict) -> None:
    """A study as `kill -9` leaves it, its last commits in the WAL alone."""

    class Dying(Counting):
        def run(self, sweeps, answered=None):
            for number, chunks in enumerate(Bench.run(self, sweeps, answered)):
                yield chunks
                if number == 2:
                    shutil.copytree(folder, to)
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lashley.locate(Dying(bench), **words, study=folder)


def test_a_lost_wal_is_said_and_measured_again(small, whole, folder, tmp_path):
    killed(small, folder, tmp_path / "killed", ASK)
    for name in ("ledger.sqlite-wal", "ledger.sqlite-shm"):
        (tmp_path / "killed" / name).unlink()
    with pytest.warns(UserWarning, match=r"lost \d+ measurements since it was last closed; `lashley resume`"):
        lost = Study.open(tmp_path / "killed")
    assert any("lost" in c for c in lost.page().caveats)
    same(lost.run(small), whole)
    lost.ledger.close()
    assert not Study.open(tmp_path / "killed").ledger.condition.notice


def test_a_study_that_lacks_only_its_count_is_mended_by_resuming(whole, tmp_path, monkeypatch):
    shutil.copytree(whole.folder, tmp_path / "study")
    (tmp_path / "study" / COUNT).unlink()
    monkeypatch.setattr(api, "open_model", None)
    api.resume(tmp_path / "study")
    assert (tmp_path / "study" / COUNT).read_bytes() == (whole.folder / COUNT).read_bytes()


def test_an_older_study_is_resumed_to_what_an_undisturbed_one_has(tmp_path):
    for name in ("whole", "half"):
        shutil.copytree(FOSSILS / name, tmp_path / name)
    half = api.resume(tmp_path / "half")
    assert half.complete and len(half.table) == 48
    assert half.page().finding.sentence
    first = half.table[half.table["kind"] == "resid"]
    whole = Study.open(tmp_path / "whole")
    np.testing.assert_allclose(first["value"], whole.table["value"], atol=1e-4)
    assert whole.page().finding.sentence


@pytest.fixture(scope="module")
def spread(bench, tmp_path_factory) -> Path:
    """A study in rounds that was stopped in the first, with arrays beside it."""
    folder = tmp_path_factory.mktemp("spread") / "study"
    with pytest.raises(KeyboardInterrupt):
        lashley.spread(Counting(bench, 0), **ASK | {"draws": 1}, study=folder)
    return folder


def test_arrays_that_are_gone_are_named(spread, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(spread, folder)
    name = "magnitudes.safetensors"
    assert (folder / "arrays" / name).exists()
    shutil.rmtree(folder / "arrays")
    with pytest.raises(BrokenStudy, match=r"arrays/\w+\.safetensors is missing"):
        Study.open(folder)
    with closing(sqlite3.connect(folder / "ledger.sqlite", isolation_level=None)) as raw:  # as an older lashley has it
        raw.executescript("DROP TRIGGER notes_no_delete; DELETE FROM notes WHERE key GLOB 'arrays/*'")
    with pytest.warns(UserWarning, match="lost"), pytest.raises(BrokenStudy, match=f"{name} is missing"):
        Study.open(folder).arrays()[Path(name).stem]


# -- by hand --------------------------------------------------------------------------------------------------------

VALUES = (None, True, -1, 0, 10**30, 0.5, "", "\0", "France", [], [[]], {}, {"a": None}, [1, "x"], "9" * 400)


def places(value, at=()):
    """Every place in a JSON value."""
    yield at
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*at, key))


def mutated(data, draw: random.Random):
    """One place of it dropped, or given another value."""
    data = json.loads(json.dumps(data))
    *way, last = draw.choice(list(places(data))[1:])
    inside = data
    for key in way:
        inside = inside[key]
    if draw.random() < 0.3:
        del inside[last]
    else:
        inside[last] = draw.choice(VALUES)
    return data


def read(folder: Path) -> None:
    """All that looking at a study does; what it cannot make sense of is one line."""
    try:
        study = Study.open(folder)
        study.page(), study.table, repr(study)
        study.ledger.close()
    except LashleyError as error:
        assert "\n" not in str(error)


def test_a_spec_altered_by_hand_is_refused_in_one_line(tmp_path, whole):
    draw, made = random.Random(1), json.loads((whole.folder / "spec.json").read_text())
    shutil.copytree(whole.folder, tmp_path / "new")
    for _ in range(60):
        other = mutated(made, draw)
        (tmp_path / "new" / "spec.json").write_text(json.dumps(other))
        if json.dumps(other, sort_keys=True) != json.dumps(made, sort_keys=True):
            with pytest.raises(LashleyError) as caught:
                Study.open(tmp_path / "new")
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", ["spec", "notes"])
def test_an_older_study_altered_by_hand_is_read_or_refused_in_one_line(tmp_path, what):
    draw = random.Random(what)
    shutil.copytree(FOSSILS / "whole", tmp_path / "study")
    kept = (tmp_path / "study" / "ledger.sqlite").read_bytes()
    made = json.loads((tmp_path / "study" / "spec.json").read_text())
    for _ in range(60):
        if what == "spec":
            (tmp_path / "study" / "spec.json").write_text(json.dumps(mutated(made, draw)))
        else:
            (tmp_path / "study" / "ledger.sqlite").write_bytes(kept)
            with closing(sqlite3.connect(tmp_path / "study" / "ledger.sqlite", isolation_level=None)) as raw:
                for key in ("self-test", "routes", "trials a second", "rounds", "planned"):
                    row = (key, json.dumps(draw.choice(VALUES))[: draw.choice((None, None, -1))])
                    raw.execute("INSERT INTO notes (key, value) VALUES (?, ?)", row)
        read(tmp_path / "study")
