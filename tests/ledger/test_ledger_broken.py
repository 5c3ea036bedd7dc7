"""A disk, a folder or another process that fails is one clear line, and nothing that was committed is lost.

Tests run as root, whom no permission stops: read-only and full disks are played by the lowest call that would
fail (`os.fsync`, `Path.open`), or by SQLite's own limits (`query_only`, `max_page_count`).
"""

import errno
import os
import shutil
import sqlite3
from pathlib import Path

import ledger_makers as make
import numpy as np
import pytest

from lashley.core.errors import BrokenStudy, LashleyError, StudyConflict
from lashley.study.ledger import Ledger, database

KEY = make.sweep().key


@pytest.fixture
def folder(tmp_path):
    with Ledger.create(tmp_path / "study", make.spec()) as ledger:
        ledger.plan([make.sweep()])
        ledger.commit([make.chunk(KEY, 0, 5)])
        ledger.put_arrays("means", {"a": np.arange(3.0)})
    return ledger.folder


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(database, "PATIENCE", 0.1)


def refused(action, *words: str, kind: type[LashleyError] = BrokenStudy) -> None:
    """`action` raises one line that has all `words` and says what to do."""
    with pytest.raises(kind) as caught:
        action()
    line = str(caught.value)
    assert "\n" not in line and ";" in line and all(word in line for word in words), line


def whole(folder: Path) -> None:
    with Ledger.open_or_create(folder, make.spec()) as ledger:
        assert ledger.answered() == {KEY: [(0, 5)]}
        assert np.array_equal(ledger.arrays("means")["a"], np.arange(3.0))


def test_there_is_no_study(tmp_path):
    refused(lambda: Ledger.open(tmp_path / "nowhere"), "no such folder")
    refused(lambda: Ledger.open(tmp_path), "not a study", "spec.json")
    (tmp_path / "file").write_text("")
    refused(lambda: Ledger.create(tmp_path / "file", make.spec()), "not a folder")
    refused(lambda: Ledger.create(tmp_path / "file" / "below", make.spec()), "not a folder")


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    for begin in (Ledger.create, Ledger.open_or_create):
        refused(lambda begin=begin: begin(tmp_path, make.spec()), "thesis.tex", kind=StudyConflict)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("left", ["nothing", "an empty folder", "a draft", "a ledger"])
def test_a_half_made_folder_is_finished(tmp_path, left):
    folder = tmp_path / "deep" / "study"
    if left != "nothing":
        folder.mkdir(parents=True)
    if left == "a draft":
        (folder / ".spec.json.4711.tmp").write_text('{"experi')
        (folder / ".DS_Store").write_text("")
        (folder / "ledger.sqlite").write_bytes(b"")
    if left == "a ledger":
        database.connect(folder / "ledger.sqlite", new=True).close()
    with Ledger.create(folder, make.spec()) as ledger:
        ledger.plan([make.sweep()])
    assert not list(folder.glob("*.tmp")) and not list(folder.glob(".*.tmp"))


@pytest.mark.parametrize("kept", [0, 1, 40, -3])
def test_a_truncated_spec(folder, kept):
    text = (folder / "spec.json").read_text()
    (folder / "spec.json").write_text(text[:kept])
    refused(lambda: Ledger.open_or_create(folder, make.spec()), "spec.json", "damaged")
    (folder / "spec.json").write_text(text)
    whole(folder)


@pytest.mark.parametrize("text", ["[]", '{"experiment": 3}', "\xff", '{"schema": "1"}'])
def test_a_spec_that_is_none(folder, text):
    (folder / "spec.json").write_text(text, "latin-1")
    refused(lambda: Ledger.open(folder), "spec.json", "damaged")


def test_measurements_without_a_spec_are_not_taken_over(folder):
    text = (folder / "spec.json").read_text()
    (folder / "spec.json").unlink()
    refused(lambda: Ledger.open(folder), "spec.json")
    refused(lambda: Ledger.create(folder, make.spec()), kind=StudyConflict)
    for name in ("arrays/means.safetensors", "arrays"):
        (folder / name).rename(folder.parent / Path(name).name)
    refused(lambda: Ledger.create(folder, make.spec()), "holds measurements")
    (folder.parent / "arrays").rename(folder / "arrays")
    (folder.parent / "means.safetensors").rename(folder / "arrays/means.safetensors")
    (folder / "spec.json").write_text(text)
    whole(folder)


def test_a_ledger_that_is_missing_empty_or_no_database(folder):
    path = folder / "ledger.sqlite"
    path.rename(folder / "away")
    refused(lambda: Ledger.open_or_create(folder, make.spec()), "ledger.sqlite", "missing")
    for data, word in ((b"", "empty"), (b"no database at all " * 99, "damaged")):
        path.write_bytes(data)
        refused(lambda: Ledger.open_or_create(folder, make.spec()), "ledger.sqlite", word)
    path.unlink()
    path.mkdir()
    refused(lambda: Ledger.open(folder), "ledger.sqlite")
    path.rmdir()
    (folder / "away").rename(path)
    whole(folder)


def test_a_ledger_with_a_torn_page(folder):
    path = folder / "ledger.sqlite"
    data = bytearray(path.read_bytes())
    for start in range(4096, len(data), 4096):
        data[start : start + 64] = bytes(range(64))
    path.write_bytes(data)

    def use() -> None:
        with Ledger.open(folder) as ledger:
            list(ledger.sweeps())

    refused(use, "ledger.sqlite", "damaged")


def test_a_torn_sweep_is_noticed(folder):
    raw = sqlite3.connect(folder / "ledger.sqlite")
    raw.executescript("DROP TRIGGER sweeps_no_update; UPDATE sweeps SET spec = substr(spec, 1, length(spec) - 9)")
    raw.close()
    refused(lambda: Ledger.open(folder), "ledger.sqlite", "damaged", "planned sweep 1 is not as")


@pytest.mark.parametrize("damage", [lambda d: d[:-5], lambda d: d[:4], lambda d: b"", lambda d: b"\xff" + d[1:]])
def test_damaged_arrays(folder, damage):
    path = folder / "arrays" / "means.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    refused(lambda: Ledger.open(folder), "means.safetensors", "damaged")


def test_arrays_that_are_missing(folder):
    with Ledger.open(folder) as ledger:
        refused(lambda: ledger.arrays("other"), "other.safetensors", "missing")
    shutil.rmtree(folder / "arrays")
    refused(lambda: Ledger.open(folder), "means.safetensors", "missing")


def test_a_full_disk_in_the_ledger(folder):
    with Ledger.open(folder) as ledger:
        pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
        ledger._db.execute(f"PRAGMA max_page_count = {pages}")
        big = [make.sweep(5000, name) for name in "abcdefgh"]
        refused(lambda: ledger.plan(big), "disk is full", "committed is safe")
        refused(lambda: ledger.note("big", "x" * 99_999), "disk is full")
        assert ledger.answered() == {KEY: [(0, 5)]}
        ledger._db.execute("PRAGMA max_page_count = 100000")
        ledger.commit([make.chunk(KEY, 5, 10)])
        assert ledger.progress() == (10, 10)


def test_a_read_only_ledger(folder):
    with Ledger.open(folder) as ledger:
        ledger._db.execute("PRAGMA query_only = ON")
        refused(lambda: ledger.commit([make.chunk(KEY, 5, 10)]), "cannot be written", "writing there is refused")
    whole(folder)


FAULTS = {
    errno.ENOSPC: "disk is full",
    errno.EROFS: "cannot be written",
    errno.EACCES: "cannot be written",
    errno.EIO: "check the disk",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_disk_that_fails_under_a_file_leaves_the_old_one(folder, monkeypatch, fault):
    def fail(*_):
        raise OSError(fault, os.strerror(fault))

    with monkeypatch.context() as patch, Ledger.open(folder) as ledger:
        patch.setattr(os, "fsync", fail)
        refused(lambda: ledger.put_arrays("means", {"a": np.zeros(9)}), "means.safetensors", FAULTS[fault])
        refused(lambda: Ledger.create(folder.parent / "new", make.spec()), "new", FAULTS[fault])
    whole(folder)
    assert [p.name for p in (folder / "arrays").iterdir()] == ["means.safetensors"]
    Ledger.create(folder.parent / "new", make.spec()).close()


@pytest.mark.parametrize("fault", [errno.EACCES, errno.EROFS])
def test_a_folder_that_may_not_be_made_or_read(folder, monkeypatch, fault):
    def fail(*_, **__):
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(Path, "mkdir", fail)
    monkeypatch.setattr(Path, "read_bytes", fail)
    refused(lambda: Ledger.create(folder.parent / "new", make.spec()), "new", "cannot be written")
    refused(lambda: Ledger.open(folder), "spec.json", "cannot be written")


def test_a_folder_that_another_process_is_writing_to(folder, impatient):
    other = sqlite3.connect(folder / "ledger.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with Ledger.open(folder) as ledger:
        assert ledger.progress() == (5, 10)
        refused(lambda: ledger.commit([make.chunk(KEY, 5, 10)]), "in use by another process")
        other.execute("ROLLBACK")
        ledger.commit([make.chunk(KEY, 5, 10)])
    other.execute("BEGIN EXCLUSIVE")
    other.close()


def test_a_folder_that_another_process_is_making(tmp_path, impatient):
    folder = tmp_path / "study"
    folder.mkdir()
    other = sqlite3.connect(folder / "ledger.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    refused(lambda: Ledger.create(folder, make.spec()), "in use by another process")
    other.close()
    Ledger.create(folder, make.spec()).close()
