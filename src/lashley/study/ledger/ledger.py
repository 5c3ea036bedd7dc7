"""One study folder: `spec.json`, `ledger.sqlite`, `arrays/*.safetensors`. Measurements never change."""

from __future__ import annotations

import itertools
import math
import re
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import safetensors.numpy

from lashley.core.case import Estimated, Exclusion
from lashley.core.errors import BadModel, BrokenStudy, StudyConflict
from lashley.core.files import replacing
from lashley.core.trial import Chunk, Sweep
from lashley.core.trouble import explained
from lashley.study.ledger import database, spec
from lashley.study.ledger.begin import LEDGER, SPEC, begin
from lashley.study.ledger.seal import (
    ARRAYS_NOTE,
    COUNT,
    FILES,
    SPEC_NOTE,
    Condition,
    Count,
    digest,
    examine,
    of_file,
    of_json,
    read_count,
    write_count,
)
from lashley.study.ledger.spec import NOTHING, Spec, Usual, difference

ARRAYS = "arrays"
_NAME = re.compile(r"\w[\w.-]*")


class Frame(msgspec.Struct, frozen=True):
    """What a sweep's values are read against, in the readout's unit.

    `noise_floor` is the largest of the sweep's chunks. Where the unedited runs differ from chunk to chunk (a
    study resumed on another machine), the first counts, and the floor is at least their spread.
    """

    clean: float
    corrupt: float | None
    noise_floor: float

    @classmethod
    def of(cls, chunks: Sequence[Chunk]) -> Frame:
        """The frame of one sweep's chunks (at least one)."""
        clean = [c.clean for c in chunks]
        corrupt = [c.corrupt for c in chunks if c.corrupt is not None]
        spread = [max(v) - min(v) for v in (clean, corrupt) if len(set(v)) > 1]
        floor = max(0.0, *spread, *(c.noise_floor for c in chunks))
        return cls(clean[0], corrupt[0] if corrupt else None, floor)


class Ledger:
    """The store of one study. A context manager, for one thread; any number of processes may have it open.

    Every method raises `BrokenStudy` where the disk or the folder fails, and what was committed stays.
    """

    def __init__(self, folder: Path, spec: Spec, db: sqlite3.Connection, condition: Condition) -> None:
        self.folder = folder
        self.spec = spec
        self.condition = condition  # what was found when it was opened
        self._db = db
        self._count = condition.found
        self._unsealed: str | None = None  # the digest of spec.json, where it is to be noted with what is written next

    @classmethod
    def create(cls, folder: str | Path, spec: Spec) -> Self:
        """Begin a study in a folder that is new, empty, or was left by a creation that did not finish.

        Raises `StudyConflict` where there is a study already, or anything else.
        """
        folder = Path(folder)
        if not begin(folder, spec):
            raise StudyConflict(f"{folder} is a study already; open it, or use another --study folder")
        return cls.open(folder)

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open a study, and look through all of it. Raises `BrokenStudy` where anything is not as it was written,
        or `StudyConflict` where a newer lashley made it."""
        folder = Path(folder)
        with explained(folder):
            if not folder.is_dir():
                raise BrokenStudy(f"{folder} is not a study: there is no such folder; check the path")
            if not (folder / SPEC).exists():
                raise BrokenStudy(
                    f"{folder} is not a study: it has no {SPEC}; check the path, or, "
                    "if the study was never begun, run its command again"
                )
        heading, data = spec.read(folder / SPEC)
        db = database.connect(folder / LEDGER)
        try:
            ledger = cls(folder, heading, db, examine(db, folder, data))
            if not any(ledger.condition.found):  # of what was begun before, nobody knows that it is unchanged
                ledger._unsealed = of_json(data)
                if not any(ledger.condition.lost) and ledger.writable:
                    ledger._seal()
            return ledger
        except BaseException:
            db.close()
            raise

    @classmethod
    def open_or_create(cls, folder: str | Path, spec: Spec, usual: Usual = NOTHING) -> Self:
        """Open the study that `spec` describes (see `spec.difference`), or begin it. Raises `StudyConflict` at another
        study."""
        folder = Path(folder)
        begin(folder, spec)
        ledger = cls.open(folder)
        if apart := difference(ledger.spec, spec, usual):
            ledger.close()
            seed = ledger.spec.question.get("seed", 0)
            same = f"--question-seed {seed}" if apart.startswith("question.seed ") else "the same parameters"
            raise StudyConflict(f"{folder} was made with {apart}; use another --study folder, or {same}")
        return ledger

    def close(self) -> None:
        self._db.close()

    @property
    def writable(self) -> bool:
        """Whether more can be written: not so of a study on a disk that is read-only, or full."""
        return not self._rows("PRAGMA query_only")[0][0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- what is asked ---------------------------------------------------------------------------------------

    def plan(self, sweeps: Iterable[Sweep | Estimated]) -> None:
        """Record sweeps in order, in one transaction; those that are planned already are passed over."""
        known = set(self.planned())
        new: dict[str, tuple[str, int, bytes, bytes]] = {}
        estimates: list[tuple[str, bytes, bytes]] = []
        for each in sweeps:
            sweep = each.sweep if isinstance(each, Estimated) else each
            if (key := sweep.key) not in known and key not in new:
                row = (key, len(sweep), zlib.compress(msgspec.msgpack.encode(sweep), 1))
                new[key] = (*row, digest("sweeps", *row))
                if isinstance(each, Estimated):
                    guessed = (key, np.asarray(each.estimates, "<f8").tobytes())
                    estimates.append((*guessed, digest("estimates", *guessed)))
        with self._writing():
            self._db.executemany("INSERT INTO sweeps (key, trials, spec, digest) VALUES (?, ?, ?, ?)", new.values())
            self._db.executemany(
                'INSERT INTO estimates (sweep, "values", digest) VALUES ((SELECT id FROM sweeps WHERE key = ?), ?, ?)',
                estimates,
            )

    def planned(self) -> list[str]:
        """Keys of the planned sweeps, in order."""
        return [key for (key,) in self._rows("SELECT key FROM sweeps ORDER BY id")]

    def sweep(self, key: str) -> Sweep:
        """A planned sweep. Raises `KeyError`."""
        rows = self._rows("SELECT spec FROM sweeps WHERE key = ?", key)
        if not rows:
            raise KeyError(key)
        with explained(self.folder / LEDGER):
            return msgspec.msgpack.decode(zlib.decompress(rows[0][0]), type=Sweep)

    def sweeps(self) -> Iterator[Sweep]:
        """The planned sweeps, in order, read one at a time."""
        return (self.sweep(key) for key in self.planned())

    def estimates(self, key: str) -> np.ndarray | None:
        """What a screen estimated that each trial of a sweep changes in the readout, float64 [trials]; or None."""
        query = 'SELECT "values" FROM estimates WHERE sweep = (SELECT id FROM sweeps WHERE key = ?)'
        rows = self._rows(query, key)
        return np.frombuffer(rows[0][0], "<f8") if rows else None

    def __len__(self) -> int:
        """How many sweeps are planned."""
        return self._rows("SELECT count(*) FROM sweeps")[0][0]

    def __bool__(self) -> bool:
        return True

    # -- what is answered ------------------------------------------------------------------------------------

    def progress(self) -> tuple[int, int]:
        """Trials answered, and trials planned."""
        return self._rows(
            "SELECT (SELECT coalesce(sum(stop - start), 0) FROM chunks), coalesce(sum(trials), 0) FROM sweeps"
        )[0]

    def answered(self) -> dict[str, list[tuple[int, int]]]:
        """For every planned sweep the half-open ranges of answered trials, in order, merged."""
        done: dict[str, list[tuple[int, int]]] = {key: [] for key in self.planned()}
        query = "SELECT key, start, stop FROM chunks JOIN sweeps ON id = sweep ORDER BY sweep, start"
        for key, start, stop in self._rows(query):
            ranges = done.setdefault(key, [])
            if ranges and ranges[-1][1] == start:
                start, _ = ranges.pop()
            ranges.append((start, stop))
        return done

    def commit(self, chunks: Sequence[Chunk]) -> None:
        """Store answers in one transaction: all are on the disk when this returns, or none.

        Raises `StudyConflict` where a trial has an answer already or is not planned, and `BadModel` where an
        unedited run has none (NaN): there is nothing to compare with.
        """
        for chunk in chunks:
            if any(math.isnan(x) for x in (chunk.clean, chunk.corrupt or 0.0, chunk.noise_floor)):
                raise BadModel(
                    "the model's unedited run gives NaN, so no edit of it can be judged; use --dtype float32"
                )
        rows = [_row(chunk) for chunk in chunks if len(chunk.values)]
        with self._writing(sum(len(chunk.values) for chunk in chunks)):
            self._db.executemany(
                'INSERT INTO chunks (sweep, start, stop, "values", clean, corrupt, noise_floor, path, digest) '
                "VALUES ((SELECT id FROM sweeps WHERE key = ?), ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

    def chunks(self, key: str) -> list[Chunk]:
        """The answers to a sweep as they were committed, in the order of its trials."""
        query = (
            'SELECT start, "values", clean, corrupt, noise_floor, path '
            "FROM chunks WHERE sweep = (SELECT id FROM sweeps WHERE key = ?) ORDER BY start"
        )
        return [
            Chunk(key, start, np.frombuffer(values, "<f8"), *rest) for start, values, *rest in self._rows(query, key)
        ]

    def values(self, key: str) -> np.ndarray:
        """The answers to a sweep, float64 [trials] in the readout's unit; NaN where there is none yet."""
        rows = self._rows("SELECT trials FROM sweeps WHERE key = ?", key)
        if not rows:
            raise KeyError(key)
        values = np.full(rows[0][0], np.nan)
        for chunk in self.chunks(key):
            values[chunk.start : chunk.start + len(chunk.values)] = chunk.values
        return values

    def frame(self, key: str) -> Frame | None:
        """The sweep's unedited readouts and noise floor, or None while nothing is answered."""
        chunks = self.chunks(key)
        return Frame.of(chunks) if chunks else None

    # -- what is kept beside it ------------------------------------------------------------------------------

    def exclude(self, exclusions: Iterable[Exclusion]) -> None:
        """Record what is not measured; of several reasons for one thing the first counts."""
        rows = [(*row, digest("exclusions", *row)) for row in map(msgspec.structs.astuple, exclusions)]
        columns = "relation, subject, object, template, reason, digest"
        with self._writing():
            self._db.executemany(f"INSERT INTO exclusions ({columns}) VALUES (?, ?, ?, ?, ?, ?)", rows)

    def exclusions(self) -> list[Exclusion]:
        """What is not measured, in the order it was recorded."""
        query = "SELECT relation, subject, object, template, reason FROM exclusions ORDER BY id"
        return list(itertools.starmap(Exclusion, self._rows(query)))

    def note(self, key: str, value: Any) -> None:
        """Keep a value (anything JSON can say) beside the measurements; the last under a key counts."""
        with self._writing():
            self._note(key, value)

    def _note(self, key: str, value: Any) -> None:
        row = (key, msgspec.json.encode(value).decode())
        self._db.execute("INSERT INTO notes (key, value, digest) VALUES (?, ?, ?)", (*row, digest("notes", *row)))

    def _seal(self) -> None:
        """Take spec.json as it is for what the study is."""
        with self._writing():
            pass

    def notes(self) -> dict[str, Any]:
        """The last value under each key."""
        with explained(self.folder / LEDGER):
            rows = self._rows("SELECT key, value FROM notes WHERE key <> ? AND key NOT GLOB ? ORDER BY id", *FILES)
            return {key: msgspec.json.decode(value) for key, value in rows}

    def put_arrays(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Write `arrays/NAME.safetensors`, whole or not at all; an earlier one of that name is replaced."""
        data = safetensors.numpy.save({key: np.asarray(a, order="C") for key, a in arrays.items()})
        path = self._array_path(name)
        with explained(path.parent):
            path.parent.mkdir(exist_ok=True)
        there = path.exists()
        if there:  # a kill between the two must leave a file that has a digest, and no digest that has no file
            self.note(ARRAYS_NOTE + name, of_file(data))
        with replacing(path) as draft:
            draft.write_bytes(data)
        if not there:
            self.note(ARRAYS_NOTE + name, of_file(data))

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """Read `arrays/NAME.safetensors`. Raises `BrokenStudy` where it is missing or damaged."""
        path = self._array_path(name)
        with explained(path):
            return safetensors.numpy.load(path.read_bytes())

    def array_names(self) -> list[str]:
        """Names that `arrays` can read, sorted."""
        return sorted(p.stem for p in (self.folder / ARRAYS).glob("[!.]*.safetensors"))

    def _array_path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"arrays {name!r}: write letters, digits, _, - and .")
        return self.folder / ARRAYS / f"{name}.safetensors"

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with explained(self.folder / LEDGER):
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _writing(self, measurements: int = 0) -> Iterator[None]:
        before = self._db.total_changes
        with explained(self.folder / LEDGER), database.writing(self._db):
            if self._unsealed:
                self._note(SPEC_NOTE, self._unsealed)
            yield
        self._unsealed = None
        rows, were = self._count
        self._count = Count(rows + self._db.total_changes - before, were + measurements)
        write_count(self.folder, self._count)

    def discard(self, made: Sequence[Path]) -> None:
        """Take away a study in which nothing is measured, and the folders `made` for it, the deepest first."""
        assert not self.progress()[0]
        self.close()
        for name in (SPEC, LEDGER, f"{LEDGER}-wal", f"{LEDGER}-shm", COUNT):  # from the one on that makes it a study
            with suppress(OSError):
                (self.folder / name).unlink()
        for path in (self.folder / ARRAYS, *made):
            with suppress(OSError):
                path.rmdir()

    def recount(self) -> None:
        """Take what is here for all there is: what was lost is not missed any longer."""
        if self.writable and read_count(self.folder) != self._count:
            write_count(self.folder, self._count)


def _row(chunk: Chunk) -> tuple[Any, ...]:
    values = np.asarray(chunk.values, "<f8")
    corrupt = None if chunk.corrupt is None else float(chunk.corrupt)
    frame = (float(chunk.clean), corrupt, float(chunk.noise_floor))
    frame = [x if x is None else x + 0.0 for x in frame]  # SQLite has no -0.0
    row = (chunk.sweep, chunk.start, chunk.start + len(values), values.tobytes(), *frame, chunk.path)
    return (*row, digest("chunks", *row))
