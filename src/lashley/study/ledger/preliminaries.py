"""Answers that planning a study asked for, kept until it is planned. They make nothing but haste: where they are
damaged, or cannot be kept, they are computed."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec
import numpy as np

from lashley.study.ledger import database
from lashley.study.ledger.seal import digest

NAME = ".preliminaries.sqlite"

_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_Packed = list[tuple[str, tuple[int, ...], bytes]]  # of each array its type, shape and bytes


class Preliminaries:
    """Arrays by what was asked. `whose` says which model's answers they are, and under which rules."""

    def __init__(self, path: Path, whose: object) -> None:
        self.path = path
        self.whose = whose
        self._made = [p for p in path.parents if not p.exists()]
        self._db: sqlite3.Connection | None = None
        for _ in range(2):  # what is no database is made anew
            with suppress(OSError, sqlite3.Error):
                path.parent.mkdir(parents=True, exist_ok=True)
                self._db = sqlite3.connect(path, timeout=database.PATIENCE, isolation_level=None)
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = NORMAL")
                self._db.execute("CREATE TABLE IF NOT EXISTS kept (asked BLOB, answer BLOB, digest BLOB)")
                self._db.execute("CREATE INDEX IF NOT EXISTS by_asked ON kept (asked)")
                return
            self.remove()

    def within(self, what: str) -> Self:
        other = object.__new__(type(self))
        other.path, other.whose, other._db, other._made = self.path, (self.whose, what), self._db, []
        return other

    def every(self, asked: object) -> list[Sequence[np.ndarray]]:
        """The answers that are kept, in order; [] where there are none, or one is damaged."""
        key, found = self._key(asked), []
        if self._db:
            with suppress(sqlite3.Error, msgspec.MsgspecError, ValueError, TypeError):
                query = "SELECT answer, digest FROM kept WHERE asked = ? ORDER BY rowid"
                for answer, sure in self._db.execute(query, (key,)).fetchall():
                    if sure != digest("", key, answer):
                        return []
                    packed = msgspec.msgpack.decode(answer, type=_Packed)
                    found.append([np.frombuffer(data, kind).reshape(shape).copy() for kind, shape, data in packed])
                return found
        return []

    def put(self, asked: object, answer: Sequence[np.ndarray]) -> None:
        if self._db:
            packed = _encode([(a.dtype.str, a.shape, np.ascontiguousarray(a).tobytes()) for a in answer])
            key = self._key(asked)
            with suppress(sqlite3.Error):
                self._db.execute("INSERT INTO kept VALUES (?, ?, ?)", (key, packed, digest("", key, packed)))

    def close(self) -> None:
        if self._db:
            self._db.close()
            self._db = None

    def remove(self) -> None:
        """Keep nothing any longer."""
        with suppress(sqlite3.Error):
            self.close()
        for end in ("", "-wal", "-shm"):
            with suppress(OSError):
                self.path.with_name(self.path.name + end).unlink()
        for folder in self._made:
            with suppress(OSError):
                folder.rmdir()

    def _key(self, asked: object) -> bytes:
        return digest("asked", _encode((self.whose, asked)))
