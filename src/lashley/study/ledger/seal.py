"""What tells that a study is as it was written: digests of rows and files, and a count beside the ledger.

A row's digest is written with it, in one transaction. The count is written after every commit, so that the ledger never
has less than it says, unless something was lost: a deleted WAL takes the last rows, and leaves no other trace.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from lashley.core.errors import BrokenStudy
from lashley.core.trouble import CHANGED, DAMAGED, explained

SPEC_NOTE = "spec.json"  # the note that holds the digest of spec.json; ARRAYS_NOTE + NAME that of arrays
ARRAYS_NOTE = "arrays/"
FILES = (SPEC_NOTE, ARRAYS_NOTE + "*")
COUNT = "ledger.count"

# Of each table, how a message names a row by its number, and what its digests cover, after number and digest.
_ROWS = {
    "sweeps": ("planned sweep {}", "SELECT id, digest, key, trials, spec FROM sweeps"),
    "chunks": (
        "a measurement of planned sweep {}",
        'SELECT sweep, c.digest, key, start, stop, "values", clean, corrupt, noise_floor, path '
        "FROM chunks AS c LEFT JOIN sweeps ON id = sweep",
    ),
    "estimates": (
        "an estimate of planned sweep {}",
        'SELECT sweep, e.digest, key, "values" FROM estimates AS e LEFT JOIN sweeps ON id = sweep',
    ),
    "exclusions": (
        "exclusion {}",
        "SELECT id, digest, relation, subject, object, template, reason FROM exclusions",
    ),
    "notes": ("note {}", "SELECT id, digest, key, value FROM notes"),
}


class Count(NamedTuple):
    """How much there is."""

    rows: int
    measurements: int


class Condition(NamedTuple):
    """What looking through a study found. `unsealed` rows were written before there were digests; `lost` is what the
    ledger had when it was last written, and has no longer."""

    found: Count
    unsealed: int
    lost: Count
    counted: bool  # whether there is a count to tell what is lost

    @property
    def notice(self) -> str:
        """What has to be said of it, or ""."""
        if self.lost.measurements:
            n = self.lost.measurements
            what = f"{n:,} measurement{'s' * (n > 1)}"
            return f"the study lost {what} since it was last closed; `lashley resume` measures them again"
        if self.lost.rows:
            return "the study lost what was noted last since it was last closed; `lashley resume` does it again"
        return ""


def digest(table: str, *fields: Any) -> bytes:
    """Of one row (or of anything that msgpack can say)."""
    return hashlib.blake2b(msgspec.msgpack.encode((table, *fields)), digest_size=16).digest()


def of_json(data: bytes) -> str:
    """Of what a JSON file says, however it is laid out. Raises `msgspec.DecodeError`."""
    return digest(SPEC_NOTE, msgspec.json.encode(msgspec.json.decode(data), order="deterministic")).hex()


def of_file(data: bytes) -> str:
    return digest("", data).hex()


def examine(db: sqlite3.Connection, folder: Path, spec: bytes) -> Condition:
    """Look through a whole study. Raises `BrokenStudy` where anything is not as it was written."""
    path, counted = folder / "ledger.sqlite", read_count(folder)  # before the rows: others may be writing
    with explained(path):
        db.execute("BEGIN")
        try:
            (sound,) = db.execute("PRAGMA integrity_check(1)").fetchone()
            if sound != "ok":
                raise BrokenStudy(DAMAGED.format(path, CHANGED))
            found, unsealed = _rows(db, path)
            notes: dict[str, list[str]] = {}
            for name, noted in db.execute("SELECT key, value FROM notes WHERE key = ? OR key GLOB ?", FILES):
                notes.setdefault(name, []).append(noted)
        finally:
            db.execute("COMMIT")
    if SPEC_NOTE in notes:
        if unsealed:
            raise BrokenStudy(DAMAGED.format(path, f"{unsealed} of its entries are not as they were written"))
        with explained(folder / SPEC_NOTE):
            _same(folder / SPEC_NOTE, of_json(spec), notes.pop(SPEC_NOTE))
    for name, noted in notes.items():
        file = folder / f"{name}.safetensors"
        with explained(file):
            _same(file, of_file(file.read_bytes()), noted)
    lost = Count(*(max(0, was - now) for was, now in zip(counted or found, found, strict=True)))
    return Condition(found, unsealed, lost, counted is not None)


def _rows(db: sqlite3.Connection, path: Path) -> tuple[Count, int]:
    rows = measurements = unsealed = 0
    for table, (name, query) in _ROWS.items():
        for number, kept, *fields in db.execute(query):
            rows += 1
            if kept is None:
                unsealed += 1
            elif kept != digest(table, *fields):
                raise BrokenStudy(DAMAGED.format(path, f"{name.format(number)} is not as it was written"))
            if table == "chunks":
                measurements += fields[2] - fields[1]
    return Count(rows, measurements), unsealed


def _same(path: Path, found: str, noted: list[str]) -> None:
    """A file that is about to be replaced has its next digest already, and one of before still."""
    if msgspec.json.encode(found).decode() not in noted:
        raise BrokenStudy(DAMAGED.format(path, CHANGED))


def read_count(folder: Path) -> Count | None:
    """What the ledger had when it was last written; None where that is not known."""
    with suppress(OSError, ValueError, UnicodeDecodeError):
        rows, measurements, sure = (folder / COUNT).read_text("ascii").split()
        count = Count(int(rows), int(measurements))
        if sure == _sure(count):
            return count
    return None


def write_count(folder: Path, count: Count) -> None:
    """Overwrite the count in place: the same few bytes, so that no kill leaves half of them. A count that is not
    written is too low, which harms nobody; so a full disk is passed over."""
    line = f"{count.rows:20} {count.measurements:20} {_sure(count)}\n".encode()
    with suppress(OSError):
        file = os.open(folder / COUNT, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.write(file, line)
        finally:
            os.close(file)


def _sure(count: Count) -> str:
    return digest(COUNT, *count).hex()
