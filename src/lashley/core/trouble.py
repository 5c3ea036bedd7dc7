"""One place that turns what disks and databases raise into one line that says what to do."""

from __future__ import annotations

import errno
import sqlite3
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from safetensors import SafetensorError

from lashley.core.errors import BrokenStudy, LashleyError, StudyConflict

_FULL = "{}: the disk is full ({}); make room and start again: what was committed is safe"
_READ_ONLY = "{} cannot be written ({}); make it writable, or use a copy of the folder elsewhere"
CHANGED = "it is not as it was written"
DAMAGED = "{} is damaged ({}); put back a copy of it, or start in another --study folder"
_BUSY = "{} is in use by another process ({}); wait for it or stop it, then start again"

_SQLITE = {  # in our words: SQLite's speak of its pages and tables
    sqlite3.SQLITE_BUSY: (_BUSY, "it is being written"),
    sqlite3.SQLITE_LOCKED: (_BUSY, "it is being written"),
    sqlite3.SQLITE_FULL: (_FULL, "no space is left"),
    sqlite3.SQLITE_READONLY: (_READ_ONLY, "writing there is refused"),
    sqlite3.SQLITE_CANTOPEN: (_READ_ONLY, "no file can be opened there"),
    sqlite3.SQLITE_PERM: (_READ_ONLY, "writing there is refused"),
    sqlite3.SQLITE_IOERR: (
        "{} cannot be read or written ({}); check the disk, then start again",
        "the disk reports an error",
    ),
}
_SYSTEM = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
    errno.ENOENT: "{} is missing ({}); put back a copy of it, or start in another --study folder",
    errno.ENAMETOOLONG: "{} is too long a name ({}); use a shorter one",
    errno.EEXIST: "{} is not a folder ({}); use another --study folder",
    errno.ENOTDIR: "{} is not a folder ({}); use another --study folder",
}
_OTHER = "{} cannot be read or written ({}); check the disk and the path, then start again"


@contextmanager
def explained(path: Path) -> Generator[None]:
    """Reading or writing `path`: what goes wrong is a `BrokenStudy`, a refused measurement a `StudyConflict`.

    Misuse of sqlite3 itself (`ProgrammingError`) is a mistake of ours and passes as it is.
    """
    try:
        yield
    except (LashleyError, sqlite3.ProgrammingError):
        raise
    except sqlite3.IntegrityError as error:
        raise StudyConflict(f"{path}: {error}") from error
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        line, said = _SQLITE.get(code & 0xFF, (DAMAGED, CHANGED))
        raise BrokenStudy(line.format(path, said)) from error
    except OSError as error:
        line = _SYSTEM.get(error.errno or 0, _OTHER)
        raise BrokenStudy(line.format(path, error.strerror or error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, zlib.error, SafetensorError, RecursionError) as error:
        raise BrokenStudy(DAMAGED.format(path, error)) from error
