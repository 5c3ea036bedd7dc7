"""One changed bit anywhere is noticed, or changes nothing that is shown; and so is what was lost."""

import random
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import ledger_makers as make
import msgspec
import numpy as np
import pandas as pd
import pytest

from lashley.core.case import Estimated
from lashley.core.errors import BrokenStudy, LashleyError
from lashley.study.ledger import Exclusion, Ledger, database
from lashley.study.ledger import ledger as module
from lashley.study.ledger.seal import COUNT, Count
from lashley.study.ledger.tidy import table

FLIPS = 120
JARGON = re.compile(r"btree|page|malformed database|\brows?\b|table|database|disk image|integrity|file is not", re.I)


def study(folder: Path) -> Path:
    """A small study with something in every table, and arrays."""
    with Ledger.create(folder, make.spec()) as ledger:
        ledger.exclude([Exclusion("capital", "Chad", "N'Djamena", "", "unknown")])
        ledger.put_arrays("means", {"a": np.arange(3.0)})
        ledger.plan([make.sweep(), Estimated(make.sweep(5, "b"), np.arange(5.0))])
        ledger.commit(
            [make.chunk(make.sweep().key, 0, 10, clean=-0.0, corrupt=None), make.chunk(make.sweep(5, "b").key, 0, 3)]
        )
        ledger.note("seconds", 1.5)
    return folder


def shown(folder: Path) -> object:
    """All that can be read of a study."""
    with Ledger.open(folder) as ledger:
        frame = table(ledger)
        said = msgspec.json.encode(
            [ledger.spec, ledger.notes(), ledger.exclusions(), ledger.planned(), ledger.answered()]
        )
        arrays = {name: {k: a.tobytes() for k, a in ledger.arrays(name).items()} for name in ledger.array_names()}
        lost = ledger.condition.lost if ledger.condition.counted else None
    return pd.util.hash_pandas_object(frame).tolist(), frame.columns.tolist(), said, arrays, lost


def flipped(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return study(tmp_path_factory.mktemp("seal") / "study")


def test_a_flipped_bit_is_noticed_or_changes_nothing(whole, tmp_path):
    """Bits are drawn from every file alike, and twice as often from where the rows lie."""
    intact, draw, copy = shown(whole), random.Random(1929), tmp_path / "study"
    files = [p.relative_to(whole) for p in whole.rglob("*") if p.is_file()]
    assert {p.name for p in files} == {"spec.json", "ledger.sqlite", COUNT, "means.safetensors"}
    noticed = 0
    for number in range(FLIPS):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy)
        path = copy / draw.choice(files)
        data = path.read_bytes()
        there = [i for i, byte in enumerate(data) if byte or path.suffix != ".sqlite" or number % 5 == 0]
        flipped(path, 8 * draw.choice(there) + draw.randrange(8))
        try:
            found = shown(copy)
        except LashleyError as error:
            noticed += 1
            assert "\n" not in str(error) and not JARGON.search(str(error).replace(str(copy), ""))
            continue
        assert found[-1] is None or found == intact, "a changed bit was not noticed"
        assert found[:-1] == intact[:-1]
    assert noticed > FLIPS / 3


ALTERED = {
    "sweeps": {"key": "'other'", "trials": "trials + 1", "spec": "zeroblob(80)", "digest": "zeroblob(16)"},
    "chunks": {
        "start": "start + 1",
        "stop": "stop + 1",
        "values": "zeroblob(24)",
        "path": "'plain'",
        "clean": "clean + 1",
        "corrupt": "NULL",
        "noise_floor": "1.0",
    },
    "estimates": {"values": "zeroblob(40)"},
    "exclusions": {"relation": "'capitals'", "subject": "'Mali'", "object": "'x'", "template": "'x'", "reason": "''"},
    "notes": {"key": "'minutes'", "value": "'3'", "digest": "NULL"},
}
LAST = {"chunks": "sweep = 2", "estimates": "sweep = 2"}  # of other tables, the last row


def altered(folder: Path, table: str, change: str) -> int:
    """Change the last row of a table by SQL, past all triggers and checks; how many rows changed."""
    with closing(sqlite3.connect(folder / "ledger.sqlite", isolation_level=None)) as raw:
        for (trigger,) in raw.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            raw.execute(f"DROP TRIGGER {trigger}")
        raw.execute("PRAGMA ignore_check_constraints = ON")
        before = raw.total_changes
        raw.execute(f"{change} WHERE {LAST.get(table, f'id = (SELECT max(id) FROM {table})')}")
        return raw.total_changes - before


@pytest.mark.parametrize(("table", "column"), [(t, c) for t, columns in ALTERED.items() for c in columns])
def test_a_changed_value_is_noticed(whole, tmp_path, table, column):
    """What somebody alters by hand, in any column that is shown."""
    shutil.copytree(whole, tmp_path / "study")
    assert altered(tmp_path / "study", table, f'UPDATE {table} SET "{column}" = {ALTERED[table][column]}') == 1
    with pytest.raises(BrokenStudy, match="is damaged"):
        Ledger.open(tmp_path / "study")


@pytest.mark.parametrize("table", ALTERED)
def test_a_row_that_is_gone_is_noticed(whole, tmp_path, table):
    shutil.copytree(whole, tmp_path / "study")
    assert altered(tmp_path / "study", table, f"DELETE FROM {table}") == 1
    try:
        with Ledger.open(tmp_path / "study") as ledger:
            assert ledger.condition.notice
    except BrokenStudy:
        assert table == "sweeps", "its answers were left without it"


def test_a_lost_wal_is_noticed_until_it_is_measured_again(tmp_path):
    """The last process was killed, so that what it wrote lies in the WAL alone, and that is deleted."""
    key, folder = make.sweep().key, tmp_path / "study"
    with Ledger.create(folder, make.spec()) as ledger:
        ledger.plan([make.sweep()])
    with Ledger.open(folder) as ledger:
        ledger.commit([make.chunk(key, 0, 4)])
        ledger.note("x", 1)
        shutil.copytree(folder, tmp_path / "killed")
    (tmp_path / "killed" / "ledger.sqlite-wal").unlink()
    (tmp_path / "killed" / "ledger.sqlite-shm").unlink()
    for _ in range(2):  # looking does not make it forget
        with Ledger.open(tmp_path / "killed") as ledger:
            assert ledger.condition.lost == Count(2, 4) and "4 measurements" in ledger.condition.notice
            assert ledger.progress() == (0, 10)
    with Ledger.open(tmp_path / "killed") as ledger:
        ledger.commit([make.chunk(key, 0, 10)])
    with Ledger.open(tmp_path / "killed") as ledger:
        assert not ledger.condition.notice


def test_a_study_that_lost_all_its_ledger_is_sealed_again_by_what_is_written_next(tmp_path):
    with Ledger.create(tmp_path / "study", make.spec()) as ledger:
        ledger.plan([make.sweep()])
        shutil.copytree(tmp_path / "study", tmp_path / "killed")
    for end in ("-wal", "-shm"):
        (tmp_path / "killed" / f"ledger.sqlite{end}").unlink()
    with Ledger.open(tmp_path / "killed") as ledger:
        assert any(ledger.condition.lost)
        ledger.plan([make.sweep()])
    spec = tmp_path / "killed" / "spec.json"
    Ledger.open(tmp_path / "killed").close()
    spec.write_text(spec.read_text().replace("locate", "locale"))
    with pytest.raises(BrokenStudy, match=r"spec\.json is damaged"):
        Ledger.open(tmp_path / "killed")


class Killed(BaseException):
    pass


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("at", ["file", "note"])
def test_a_kill_while_arrays_are_put_leaves_a_study_that_opens(tmp_path, monkeypatch, again, at):
    with Ledger.create(tmp_path / "study", make.spec()) as ledger:
        if again:
            ledger.put_arrays("means", {"a": np.arange(3.0)})

        def killed(*_):
            raise Killed

        monkeypatch.setattr(*{"file": (module, "replacing"), "note": (Ledger, "note")}[at], killed)
        with pytest.raises(Killed):
            ledger.put_arrays("means", {"a": np.arange(4.0)})
    monkeypatch.undo()
    with Ledger.open(tmp_path / "study") as ledger:
        if again or at == "note":
            assert ledger.arrays("means")["a"].tolist() in ([0, 1, 2], [0, 1, 2, 3])
        ledger.put_arrays("means", {"a": np.arange(4.0)})
    with Ledger.open(tmp_path / "study") as ledger:
        assert len(ledger.arrays("means")["a"]) == 4
    flipped(tmp_path / "study" / "arrays" / "means.safetensors", 600)
    with pytest.raises(BrokenStudy, match="is damaged"):
        Ledger.open(tmp_path / "study")


def test_what_was_written_before_the_count_was_is_not_missed(tmp_path):
    folder = study(tmp_path / "study")
    early = (folder / COUNT).read_bytes()
    with Ledger.open(folder) as ledger:
        ledger.note("later", 1)
    (folder / COUNT).write_bytes(early)
    with Ledger.open(folder) as ledger:
        assert not ledger.condition.notice
        ledger.recount()
    assert (folder / COUNT).read_bytes() != early


@pytest.mark.parametrize(
    "spoil", [lambda p: p.unlink(), lambda p: p.write_bytes(b"1 2 3"), lambda p: p.write_bytes(b"\xff")]
)
def test_a_count_that_is_gone_or_damaged_is_made_again(tmp_path, spoil):
    folder = study(tmp_path / "study")
    count = (folder / COUNT).read_bytes()
    spoil(folder / COUNT)
    with Ledger.open(folder) as ledger:
        assert not ledger.condition.counted and not ledger.condition.notice
        ledger.recount()
    assert (folder / COUNT).read_bytes() == count


# -- media that can only be read ------------------------------------------------------------------------------------


@pytest.fixture
def read_only(monkeypatch):
    """As root no permission stops us: SQLite's own answer to a folder that cannot be written plays one."""
    connect = sqlite3.connect

    def refused(where, *rest, **more):
        if more.get("uri") or where == ":memory:" or "read-only" not in str(where):
            return connect(where, *rest, **more)
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error

    monkeypatch.setattr(database.sqlite3, "connect", refused)


def test_a_study_opens_read_only(tmp_path, read_only):
    folder = study(tmp_path / "study")
    intact = shown(folder)
    folder = folder.rename(tmp_path / "read-only")
    before = {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert shown(folder) == intact
    with Ledger.open(folder) as ledger:
        assert not ledger.writable
        with pytest.raises(BrokenStudy, match="cannot be written"):
            ledger.note("x", 1)
        ledger.recount()
    assert {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


def test_what_lies_in_a_wal_is_read_too(tmp_path, read_only):
    folder = study(tmp_path / "study")
    with Ledger.open(folder) as ledger:
        ledger.commit([make.chunk(make.sweep(5, "b").key, 3, 5)])
        shutil.copytree(folder, tmp_path / "read-only")
    assert (tmp_path / "read-only" / "ledger.sqlite-wal").stat().st_size
    assert shown(tmp_path / "read-only") == shown(folder)


# -- studies of version 2 ------------------------------------------------------------------------------------------

FOSSILS = Path(__file__).parents[1] / "data" / "studies_v2"


@pytest.mark.parametrize("name", ["whole", "half"])
def test_an_older_study_is_read_as_it_is_and_gets_no_checksums(tmp_path, name, read_only):
    for place in ("study", "read-only"):
        shutil.copytree(FOSSILS / name, tmp_path / place)
        for _ in range(2):
            with Ledger.open(tmp_path / place) as ledger:
                assert ledger.condition.found.measurements == 24
                assert ledger.condition.unsealed == ledger.condition.found.rows > 4
                assert not ledger.condition.counted and not ledger.condition.notice
                assert table(ledger)["value"].notna().all()
    with Ledger.open(tmp_path / "study") as ledger:
        ledger.note("x", 1)
        rows = ledger.condition.found.rows
    with Ledger.open(tmp_path / "study") as ledger:
        assert ledger.condition.found.rows == rows + 1 and ledger.condition.unsealed == rows
