"""What goes into a ledger comes out of it, once, and never changes."""

import json
import math
import sqlite3
import subprocess
import sys
import zlib
from contextlib import closing

import ledger_makers as make
import msgspec
import numpy as np
import pytest

from lashley.core.case import Estimated
from lashley.core.errors import BadModel, StudyConflict
from lashley.core.site import Sites
from lashley.core.trial import Chunk
from lashley.study.ledger import Exclusion, Frame, Ledger, database, difference
from lashley.study.ledger.begin import begin


@pytest.fixture
def ledger(tmp_path):
    with Ledger.create(tmp_path / "study", make.spec()) as ledger:
        yield ledger


def reopened(ledger: Ledger) -> Ledger:
    ledger.close()
    return Ledger.open(ledger.folder)


def same(a: Chunk, b: Chunk) -> bool:
    x, y = msgspec.structs.asdict(a), msgspec.structs.asdict(b)
    return np.array_equal(x.pop("values"), y.pop("values"), equal_nan=True) and x == y


def test_every_edit_and_readout_comes_back_as_it_was_planned(ledger):
    planned = [make.sweep(edits=(e,), readout=r) for e in make.EDITS for r in make.READOUTS]
    planned += [make.sweep(effect="restoration"), make.sweep(corrupt=None, labels={}), make.sweep(0)]
    planned += [make.sweep(sites=Sites.pack([1, 2, 3], 0, edit=[0, 1, 0], sizes=[2, 1]), edits=make.EDITS)]
    ledger.plan(planned)
    with reopened(ledger) as again:
        assert list(again.sweeps()) == planned
        assert again.planned() == [s.key for s in planned] and len(again) == len(planned)
        assert again.spec == ledger.spec


def test_every_struct_that_is_stored_is_tried_here():
    kinds = {type(e) for e in make.EDITS} | {type(r) for r in make.READOUTS}
    from lashley.core import edit, readout

    assert kinds == {*edit.Edit.__args__, *readout.Readout.__args__}


def test_answers_come_back_bit_for_bit(ledger):
    a, b = make.sweep(), make.sweep(corrupt=None)
    ledger.plan([a, b])
    odd = np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324, 0.1])
    first = msgspec.structs.replace(make.chunk(a.key, 0, 6, path="plain"), values=odd)
    other = make.chunk(b.key, 3, 5, corrupt=None, clean=0.1 + 0.2)
    ledger.commit([other, first])
    with reopened(ledger) as again:
        assert same(again.chunks(a.key)[0], first) and same(again.chunks(b.key)[0], other)
        assert again.values(a.key).tobytes() == np.concatenate([odd, np.full(4, np.nan)]).tobytes()
        assert again.frame(b.key) == Frame(0.1 + 0.2, None, 1e-6)


def test_estimates_come_back_bit_for_bit_and_change_no_key(ledger):
    odd = np.array([np.nan, np.inf, -0.0, 5e-324, 0.1])
    ledger.plan([make.sweep(3, "a"), Estimated(make.sweep(5, "b"), odd), Estimated(make.sweep(0, "c"), odd[:0])])
    with reopened(ledger) as again:
        assert again.planned() == [make.sweep(n, name).key for n, name in ((3, "a"), (5, "b"), (0, "c"))]
        found = [again.estimates(key) for key in again.planned()]
        assert found[0] is None and found[1].tobytes() == odd.tobytes() and len(found[2]) == 0
        assert again.estimates("no such sweep") is None
        again.plan([Estimated(make.sweep(5, "b"), np.ones(5)), Estimated(make.sweep(3, "a"), np.ones(3))])
        assert again.estimates(make.sweep(3, "a").key) is None, "what is planned is planned"
        assert again.estimates(make.sweep(5, "b").key).tobytes() == odd.tobytes()


def test_estimates_of_another_length_are_refused_and_nothing_is_planned(ledger):
    with pytest.raises(StudyConflict, match="estimates every trial"):
        ledger.plan([make.sweep(), Estimated(make.sweep(5, "b"), np.ones(4))])
    assert not ledger.planned()


@pytest.mark.parametrize("change", ["UPDATE estimates SET sweep = 2", "DELETE FROM estimates"])
def test_estimates_do_not_change(ledger, change):
    ledger.plan([Estimated(make.sweep(5, "b"), np.ones(5))])
    with closing(sqlite3.connect(ledger.folder / "ledger.sqlite")) as db, pytest.raises(sqlite3.IntegrityError):
        db.execute(change)


def test_planning_again_changes_nothing(ledger):
    a, b, c = (make.sweep(name=n) for n in "abc")
    ledger.plan([b, a, b])
    ledger.plan(iter([a, c, b]))
    assert list(ledger.sweeps()) == [b, a, c]


def test_what_is_left_to_do_is_the_plan_less_the_answers(ledger):
    a, b = make.sweep(10), make.sweep(4, "Italy")
    ledger.plan([a, b])
    assert ledger.answered() == {a.key: [], b.key: []}
    assert ledger.frame(a.key) is None and np.isnan(ledger.values(a.key)).all()
    ledger.commit([make.chunk(a.key, 8, 10), make.chunk(a.key, 0, 3), make.chunk(a.key, 3, 5), make.chunk(b.key, 2, 2)])
    assert ledger.answered() == {a.key: [(0, 5), (8, 10)], b.key: []}
    assert ledger.progress() == (7, 14)
    ledger.commit([make.chunk(a.key, 5, 8), make.chunk(b.key, 0, 4)])
    assert ledger.answered() == {a.key: [(0, 10)], b.key: [(0, 4)]}
    assert np.array_equal(ledger.values(a.key), np.arange(10) / 7)


def test_the_noise_floor_is_that_of_the_worst_chunk_and_covers_a_change_of_machine(ledger):
    key = make.sweep().key
    ledger.plan([make.sweep()])
    ledger.commit([make.chunk(key, 0, 2), make.chunk(key, 2, 4, noise_floor=3e-6)])
    assert ledger.frame(key) == Frame(2.0, -1.0, 3e-6)
    ledger.commit([make.chunk(key, 4, 6, clean=2.5)])
    assert ledger.frame(key) == Frame(2.0, -1.0, 0.5)


@pytest.mark.parametrize("bad", [(2, 3), (0, 9), (4, 6), (5, 11)], ids=["within", "around", "edge", "beyond"])
def test_a_commit_that_answers_a_trial_twice_or_beyond_the_sweep_leaves_nothing(ledger, bad):
    a, b = make.sweep(10), make.sweep(10, "Italy")
    ledger.plan([a, b])
    ledger.commit([make.chunk(a.key, 1, 5)])
    with pytest.raises(StudyConflict, match="trial"):
        ledger.commit([make.chunk(b.key, 0, 5), make.chunk(a.key, *bad)])
    assert ledger.answered() == {a.key: [(1, 5)], b.key: []}
    ledger.commit([make.chunk(a.key, 0, 1), make.chunk(a.key, 5, 10)])


@pytest.mark.parametrize("number", ["clean", "corrupt", "noise_floor"])
def test_answers_to_what_nobody_asked_and_a_model_that_gives_nan_are_refused(ledger, number):
    ledger.plan([make.sweep()])
    with pytest.raises(StudyConflict, match="not planned here"):
        ledger.commit([make.chunk("no such sweep", 0, 5)])
    with pytest.raises(BadModel, match="float32"):
        ledger.commit([make.chunk(make.sweep().key, 0, 5), make.chunk(make.sweep().key, 5, 9, **{number: math.nan})])
    with pytest.raises(KeyError):
        ledger.sweep("no such sweep")
    assert ledger.progress() == (0, 10)


def test_an_error_of_the_caller_in_the_middle_of_planning_plans_nothing(ledger):
    def faulty():
        yield make.sweep()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ledger.plan(faulty())
    assert len(ledger) == 0 and ledger


@pytest.mark.parametrize("table", ["sweeps", "chunks", "exclusions", "notes"])
def test_sql_cannot_change_remove_or_replace_what_is_recorded(ledger, table):
    key = make.sweep().key
    ledger.plan([make.sweep()])
    ledger.commit([make.chunk(key, 0, 5)])
    ledger.exclude([Exclusion("capital", "Chad", "N'Djamena", "", "unknown")])
    ledger.note("seconds", 1.5)
    raw = sqlite3.connect(ledger.folder / "ledger.sqlite", isolation_level=None)
    before = raw.execute(f"SELECT * FROM {table}").fetchall()
    columns = [name for _, name, *_ in raw.execute(f"PRAGMA table_info({table})")]
    assert len(before) == 1 + (table == "notes")  # the digest of spec.json
    for column in columns:
        with pytest.raises(sqlite3.IntegrityError, match="immutable"):
            raw.execute(f'UPDATE {table} SET "{column}" = "{column}"')
    with pytest.raises(sqlite3.IntegrityError, match="immutable"):
        raw.execute(f"DELETE FROM {table}")
    for row in (before[0], [*before[0][:1], *("other" if isinstance(v, str) else v for v in before[0][1:])]):
        try:
            raw.execute(f"REPLACE INTO {table} VALUES ({', '.join('?' * len(columns))})", row)
        except sqlite3.IntegrityError:
            assert table == "chunks"
    assert raw.execute(f"SELECT * FROM {table}").fetchall() == before
    raw.close()


def test_exclusions_and_notes(ledger):
    whole = Exclusion("capital", "Chad", "N'Djamena", "", "the model ranks it 40th")
    one = Exclusion("capital", "Chad", "N'Djamena", "{}'s capital is", "two tokens")
    ledger.exclude([whole, one])
    ledger.exclude([msgspec.structs.replace(whole, reason="another"), one])
    ledger.note("self-test", {"largest difference": 2.5e-5, "families": ["llama"]})
    ledger.note("seconds", 1)
    ledger.note("seconds", 0.1)
    with reopened(ledger) as again:
        assert again.exclusions() == [whole, one]
        assert again.notes() == {
            "self-test": {"largest difference": 2.5e-5, "families": ["llama"]},
            "seconds": 0.1,
        }


def test_arrays_come_back_as_they_were(ledger):
    grid = np.arange(12, dtype=np.float32).reshape(3, 4)
    arrays = {
        "fortran": grid.T,
        "strided": grid[:, ::2],
        "point": np.float64(3.0),
        "none": np.zeros((0, 3)),
        "i": grid > 3,
    }
    assert ledger.array_names() == []
    ledger.put_arrays("probe.L3", {"old": grid})
    ledger.put_arrays("probe.L3", arrays)
    back = ledger.arrays("probe.L3")
    assert back.keys() == arrays.keys() and ledger.array_names() == ["probe.L3"]
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype and np.array_equal(back[name], array)
        assert back[name].shape == array.shape
    assert [p.name for p in (ledger.folder / "arrays").iterdir()] == ["probe.L3.safetensors"]
    for name in ("../spec", ".hidden", "", "a/b"):
        with pytest.raises(ValueError):
            ledger.put_arrays(name, {})


def test_spec_json_is_for_people(ledger):
    text = (ledger.folder / "spec.json").read_text()
    assert '\n  "experiment": "locate",' in text and json.loads(text)["params"]["windows"] == [1, 5]
    assert ledger.spec.created.endswith("Z")


SAME = {
    "versions": {"lashley": "9.9"},
    "command": "lashley locate other",
    "created": "1929-01-01T00:00:00Z",
    "model": make.spec().model | {"name": "copy of tiny", "device": "cuda", "family": "llama"},
    "params": {"facts": 20, "windows": [1, 5], "edit": "zero"},
}
OTHER = {
    "experiment = 'locate', now 'knockout'": {"experiment": "knockout"},
    "params.edit = 'zero', now 'mean'": {"params": make.spec().params | {"edit": "mean"}},
    "params.edit = 'zero', now nothing": {"params": {"windows": (1, 5), "facts": 20}},
    "params.new = nothing, now None": {"params": make.spec().params | {"new": None}},
    "params.windows[1] = 5, now 7": {"params": make.spec().params | {"windows": (1, 7)}},
    "params.windows = [1, 5], now [1]": {"params": make.spec().params | {"windows": (1,)}},
    "params.facts = 20, now '20'": {"params": make.spec().params | {"facts": "20"}},
    "question.relation = 'capital', now 'currency'": {"question": {"relation": "currency"}},
    "model.weights = 'aa', now 'cc'": {"model": make.spec().model | {"weights": "cc"}},
    "model.tokenizer = 'bb', now 'cc'": {"model": make.spec().model | {"tokenizer": "cc"}},
    "model.dtype = 'float32', now 'bfloat16'": {"model": make.spec().model | {"dtype": "bfloat16"}},
}


@pytest.mark.parametrize("field", SAME)
def test_where_and_when_a_study_runs_is_not_what_it_is(ledger, field):
    with Ledger.open_or_create(ledger.folder, make.spec(**{field: SAME[field]})) as again:
        assert again.spec == ledger.spec


@pytest.mark.parametrize("words", OTHER)
def test_another_study_is_refused_with_the_first_difference(ledger, words):
    with pytest.raises(StudyConflict) as caught:
        Ledger.open_or_create(ledger.folder, make.spec(**OTHER[words]))
    assert f"was made with {words}; use another --study folder" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_long_value_is_shortened():
    line = difference(make.spec(question={"text": "x" * 500}), make.spec(question={"text": "y" * 500}))
    assert line and len(line) < 160


def test_a_study_is_not_created_twice(ledger):
    with pytest.raises(StudyConflict, match="is a study already"):
        Ledger.create(ledger.folder, make.spec())


def test_an_older_ledger_is_brought_up_to_date_and_a_newer_one_refused(ledger, monkeypatch):
    ledger.plan([make.sweep()])
    ledger.commit([make.chunk(make.sweep().key, 0, 5)])
    ledger.close()
    first = database.steps()
    faulty = "ALTER TABLE notes ADD COLUMN author TEXT;\nSELECT no_such_column FROM notes;\n"
    monkeypatch.setattr(database, "steps", lambda: [*first, faulty])
    with pytest.raises(Exception, match="not as it was written"):
        Ledger.open(ledger.folder)
    second = """
        -- who; and a trigger, whose body has statements of its own
        ALTER TABLE notes ADD COLUMN author TEXT;
        CREATE TRIGGER signed BEFORE INSERT ON notes WHEN NEW.key = 'x' BEGIN
          SELECT 1;
          SELECT RAISE(IGNORE);
        END;
    """
    third = "CREATE TABLE more (id INTEGER PRIMARY KEY) STRICT;"
    monkeypatch.setattr(database, "steps", lambda: [*first, second, third])
    with Ledger.open(ledger.folder) as newer:
        assert newer.answered() == {make.sweep().key: [(0, 5)]}
        newer.note("x", 1)
        newer.note("y", 1)
        assert newer.notes() == {"y": 1}
    monkeypatch.setattr(database, "steps", lambda: first)
    with pytest.raises(
        StudyConflict, match=rf"schema {len(first) + 2}, this lashley knows {len(first)}; update lashley"
    ):
        Ledger.open(ledger.folder)


def test_a_ledger_of_version_one_gets_room_for_estimates(tmp_path, monkeypatch):
    schema = database.steps()[:1]
    with monkeypatch.context() as patch:
        patch.setattr(database, "steps", lambda: schema)
        folder = tmp_path / "study"
        begin(folder, make.spec())
        with closing(database.connect(folder / "ledger.sqlite")) as db, database.writing(db):
            body = zlib.compress(msgspec.msgpack.encode(make.sweep()))
            db.execute("INSERT INTO sweeps (key, trials, spec) VALUES (?, 10, ?)", (make.sweep().key, body))
    with Ledger.open(folder) as ledger:
        assert ledger.planned() == [make.sweep().key] and ledger.estimates(make.sweep().key) is None
        ledger.plan([Estimated(make.sweep(3, "Chad"), np.zeros(3))])
        assert len(ledger.estimates(make.sweep(3, "Chad").key)) == 3


def test_a_newer_spec_is_refused(ledger):
    path = ledger.folder / "spec.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 2').replace('"params"', '"settings"'))
    with pytest.raises(StudyConflict, match="update lashley"):
        Ledger.open(ledger.folder)


def test_migrations_are_numbered_without_a_gap():
    from importlib import resources

    names = sorted(f.name for f in (resources.files("lashley.study.ledger") / "migrations").iterdir())
    scripts = [name for name in names if name.endswith(".sql")]
    assert [int(name[:4]) for name in scripts] == list(range(2, len(scripts) + 2))


def test_importing_the_ledger_is_light():
    code = "import sys, lashley.study.ledger; print(*({'torch', 'pandas', 'pyarrow', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
