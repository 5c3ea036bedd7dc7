"""The ledger's SQLite file: opening it, bringing it up to date, and writing all or nothing."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from importlib import resources
from pathlib import Path

from lashley.core.errors import BrokenStudy, StudyConflict
from lashley.core.trouble import explained

PATIENCE = 5.0  # seconds to wait for another process that is writing


def steps() -> list[str]:
    """SQL scripts in order; the first makes version 1, the n-th takes a database from version n - 1 to n."""
    here = resources.files("lashley.study.ledger")
    later = sorted((f for f in (here / "migrations").iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [f.read_text("utf-8") for f in (here / "schema.sql", *later)]


def connect(path: Path, *, new: bool = False) -> sqlite3.Connection:
    """Open the ledger at `path`; an older one is brought up to date. An empty or missing one must be `new`.

    Where it can only be read, what is opened is a copy of it in memory, which refuses what would change it.
    Raises `BrokenStudy`, or `StudyConflict` where a newer lashley has been at work.
    """
    with explained(path):
        if not new:
            path.stat()
        try:
            return _ready(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None), path, new)
        except sqlite3.OperationalError as error:
            if new or getattr(error, "sqlite_errorcode", 0) & 0xFF not in _UNWRITABLE:
                raise
            db = _ready(_copied(path), path, new)
            db.execute("PRAGMA query_only = ON")
            return db


_UNWRITABLE = {
    *(sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM),
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR),
}


def _ready(db: sqlite3.Connection, path: Path, new: bool) -> sqlite3.Connection:
    """The connection, set up and brought up to date; closed after an error."""
    try:
        if not new and not _version(db):
            raise BrokenStudy(f"{path} is empty; put back a copy of it, or start in another --study folder")
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            db.execute(f"PRAGMA {pragma}")
        _update(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _copied(path: Path) -> sqlite3.Connection:
    """A copy in memory of a ledger where nothing can be written, not even the files that SQLite wants for reading it.
    What lies in a WAL there can be read only from a place where those can be."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    wal = path.with_name(f"{path.name}-wal")
    with tempfile.TemporaryDirectory() if wal.exists() and wal.stat().st_size else nullcontext() as elsewhere:
        if elsewhere:
            for file in (path, wal):
                shutil.copyfile(file, Path(elsewhere) / file.name)
            source = sqlite3.connect(Path(elsewhere) / path.name)
        else:
            source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        with closing(source):
            source.backup(db)
    return db


@contextmanager
def writing(db: sqlite3.Connection) -> Iterator[None]:
    """One transaction: everything in it is on the disk when it is left, or, after an error, nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise


def _version(db: sqlite3.Connection) -> int:
    return db.execute("PRAGMA user_version").fetchone()[0]


def _update(db: sqlite3.Connection, path: Path) -> None:
    known = steps()
    if _version(db) > len(known):
        raise StudyConflict(
            f"{path} has schema {_version(db)}, this lashley knows {len(known)}; update lashley to open it"
        )
    if _version(db) < len(known):
        with writing(db):
            for number, script in enumerate(known[_version(db) :], _version(db) + 1):
                for statement in _statements(script):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {number}")


def _statements(script: str) -> Iterator[str]:
    """The statements of a script; `executescript` would end the transaction it is called in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
