"""A durable directory: planned, run, measured, told. The resume rule lives here: todo = trials - ledger."""

from __future__ import annotations

import math
import shlex
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self

import msgspec
import numpy as np

from lashley import experiments, report
from lashley.core.anatomy import Anatomy
from lashley.core.errors import BadCircuit, BrokenStudy, LashleyError, StudyConflict
from lashley.core.files import replacing
from lashley.core.progress import Progress, silent
from lashley.core.question import Question
from lashley.core.trial import Sweep
from lashley.report import html
from lashley.report.notebook import Picture, pictures
from lashley.report.page import Page
from lashley.study.identity import usual
from lashley.study.ledger import Ledger, Spec
from lashley.study.ledger.preliminaries import NAME as PRELIMINARIES
from lashley.study.ledger.tidy import export, table
from lashley.study.page import page
from lashley.study.planning import Planned, keeping, planned, resumable

if TYPE_CHECKING:
    import pandas as pd
    from typing_extensions import TypeVar

    from lashley.engine.bench import Bench

    R = TypeVar("R", default=Any)  # its result
else:
    from typing import TypeVar

    R = TypeVar("R")


class Made(Anatomy, frozen=True, kw_only=True):
    """The model that a study was made with, as `spec.json` has it."""

    name: str
    weights: str
    tokenizer: str
    dtype: str
    device: str


class Arrays(dict[str, dict[str, np.ndarray]]):
    """Arrays of a study by name. Raises `BrokenStudy` where the one asked for is not there."""

    def __init__(self, folder: Path, found: Mapping[str, dict[str, np.ndarray]]):
        super().__init__(found)
        self.folder = folder

    def __missing__(self, name: str) -> dict[str, np.ndarray]:
        file = self.folder / "arrays" / f"{name}.safetensors"
        raise BrokenStudy(f"{file} is missing; put back a copy of it, or start in another --study folder")


class Study(Generic[R]):
    """One question, its measurements, and what follows from them. Opening it needs no model and no torch."""

    def __init__(self, ledger: Ledger):
        self.ledger = ledger
        self.folder = ledger.folder
        self.experiment = experiments.find(ledger.spec.experiment)
        self.usual = usual(ledger.spec.experiment)
        for part, made in (("params", ledger.spec.params), ("question", ledger.spec.question)):
            if lacking := sorted(made.keys() - self.usual[part].keys()):
                what = f"{part}.{lacking[0]} = {made[lacking[0]]!r}"
                raise StudyConflict(f"{ledger.folder} was made with {what}, which this version lacks; update lashley")
        self.params = msgspec.convert(ledger.spec.params, self.experiment.Params)
        self.question = msgspec.convert(ledger.spec.question, Question)
        self.model = msgspec.convert(ledger.spec.model, Made)
        if ledger.condition.notice:
            warnings.warn(f"{self.folder}: {ledger.condition.notice}", stacklevel=3)

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """An existing study. Raises `BrokenStudy` or `StudyConflict`."""
        ledger = Ledger.open(folder)
        try:
            if ledger.spec.experiment in experiments.names():
                return cls(ledger)
            raise StudyConflict(f"{folder} holds {ledger.spec.experiment!r}, which this version lacks; update lashley")
        except msgspec.ValidationError as e:
            ledger.close()
            raise BrokenStudy(
                f"{folder}: spec.json does not fit this version ({e}); use the version that made it"
            ) from e
        except LashleyError:
            ledger.close()
            raise

    @property
    def identity(self) -> dict[str, Any]:
        """What makes this study this one, as plain JSON data: what is asked of which weights, parameters and all."""
        return self.ledger.spec.identity(self.usual)

    @property
    def table(self) -> pd.DataFrame:
        """One tidy row per measurement; excluded facts have `excluded` true and no numbers."""
        with self._understood():
            return table(self.ledger)

    @property
    def result(self) -> R:
        """What the measurements so far come to, a frozen struct: numbers with their intervals, n and units. Its fields
        are told by `help(type(study.result))`."""
        with self._understood():
            return self.experiment.measure(self.params, self.table, self.arrays())

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """What no checksum vouches for, and cannot be made sense of, is a `BrokenStudy`, and no fault of ours."""
        try:
            yield
        except LashleyError:
            raise
        except Exception as e:
            if not self.ledger.condition.unsealed:
                raise
            raise BrokenStudy(
                f"{self.folder} cannot be made sense of ({type(e).__name__}: {e}); an older lashley made it, without "
                "checksums: if it was altered, put back a copy of it"
            ) from e

    @property
    def planned(self) -> bool:
        """Whether it is known what is to be measured, be it nothing."""
        return bool(len(self.ledger)) or "planned" in self.ledger.notes()

    @property
    def complete(self) -> bool:
        """Whether every planned trial is answered, and nothing follows from the answers."""
        answered, planned = self.ledger.progress()
        rounds = self.experiment.further and "rounds" not in self.ledger.notes()
        return self.planned and answered == planned and not rounds

    @property
    def figures(self) -> tuple[Picture, ...]:
        """The pictures; each shows itself in a notebook."""
        return pictures(self.page().figures)

    def export(self, path: str | Path, format: str = "parquet") -> None:
        """Write the table as parquet, csv or json; or the circuit that was found, as `circuit` (JSON) or graphml."""
        if format not in ("circuit", "graphml"):
            export(self.ledger, path, format)  # pyright: ignore[reportArgumentType]
            return
        if format not in self.experiment.exports:
            raise BadCircuit(f"{self.folder} holds {self.experiment.name!r}, which finds no circuit")
        made = self.experiment.exports[format]
        data = made(self.params, self.result, str(self.ledger.spec.model["name"]))
        with replacing(Path(path)) as draft:
            draft.write_bytes(data)

    def plan(self, planned: Planned) -> None:
        """Record what is to be measured; the sweeps come last, and at once. Doing so twice changes nothing."""
        self.ledger.exclude(planned.exclusions)
        self.ledger.note("self-test", planned.checked)
        if planned.sunk:
            self.ledger.note("subject first", planned.sunk)
        for name, arrays in planned.arrays.items():
            self.ledger.put_arrays(name, arrays)
        self.ledger.plan(planned.sweeps)
        if not planned.sweeps:
            self.ledger.note("planned", "nothing")

    def run(self, bench: Bench, progress: Progress = silent) -> Self:
        """Do what is missing, committing pack by pack; an interruption loses at most the pack in flight."""
        if self.complete:
            self.ledger.recount()
            return self
        with self._resumable():
            self.prepare(bench, progress)
            self._answer(bench, progress)
            while sweeps := self.further():
                self.ledger.plan(sweeps)
                self._answer(bench, progress)
        return self

    def prepare(self, bench: Bench, progress: Progress = silent) -> None:
        """Plan what is to be measured, where it is not planned yet. What is asked of the model for it is kept, too."""
        if not self.planned:
            with self._resumable(), keeping(bench, self.folder / PRELIMINARIES):
                self.plan(planned(self.ledger.spec.experiment, self.params, self.question, bench, progress))

    def _resumable(self):
        return resumable(f"`{shlex.join(['lashley', 'resume', str(self.folder)])}`")

    def _answer(self, bench: Bench, progress: Progress) -> None:
        """Measure what is planned and not yet answered."""
        sweeps = list(self.ledger.sweeps())
        self.ledger.note("routes", dict(Counter(bench.routes(sweeps))))
        done, total = self.ledger.progress()
        begun, fresh = time.monotonic(), 0
        answered = self.ledger.answered()
        copies: dict[Any, list[Sweep]] = {}
        for sweep in sorted(sweeps, key=lambda s: bool(s.copy)):  # the model itself comes first
            copies.setdefault(sweep.copy, []).append(sweep)
        for copy, some in copies.items():
            if all(answered[s.key] == [(0, len(s))] for s in some):
                continue  # a copy need not be made for what is known
            asked = bench.copy(copy) if copy else bench
            for chunks in asked.run(some, answered):
                self.ledger.commit(chunks)
                fresh += sum(len(c.values) for c in chunks)
                progress("measuring", done + fresh, total)
        if fresh:
            self.ledger.note("trials a second", fresh / (time.monotonic() - begun))

    def further(self) -> list[Sweep]:
        """What an experiment in rounds wants to know next, now that all it asked is answered; [] at the end."""
        if not self.experiment.further or "rounds" in self.ledger.notes():
            return []
        known = set(self.ledger.planned())
        sweeps = list(self.experiment.further(self.params, _anatomy(self.ledger.spec), self.answers(), self.arrays()))
        new = [s for s in sweeps if s.key not in known]
        if not new:
            self.ledger.note("rounds", "done")
        return new

    def answers(self) -> list[tuple[Sweep, np.ndarray]]:
        """Every planned sweep with its effects, float64 [trials]; NaN where there is no answer yet."""
        found = []
        for key in self.ledger.planned():
            sweep, frame = self.ledger.sweep(key), self.ledger.frame(key)
            values = self.ledger.values(key)
            found.append((sweep, sweep.normalise(values, frame.clean, frame.corrupt) if frame else values * math.nan))
        return found

    def arrays(self) -> Arrays:
        """What was kept beside the plan, by name."""
        return Arrays(self.folder, {name: self.ledger.arrays(name) for name in self.ledger.array_names()})

    def page(self) -> Page:
        """Judge and draw what is measured so far; a pure function of the ledger."""
        with self._understood():
            about = (self.ledger, self.experiment, self.params, self.question, self.table, self.arrays())
            return page(*about, begun=self.planned, complete=self.complete)

    def write(self, folder: str | Path | None = None) -> Path:
        """Write page, pictures and JSON beside the ledger, or into another folder; the path of the page."""
        return report.write(self.page(), folder or self.folder).html

    def _repr_html_(self) -> str:
        return html.render(self.page())

    def __repr__(self) -> str:
        answered, planned = self.ledger.progress()
        return f"Study({str(self.folder)!r}, {self.ledger.spec.experiment}, {answered}/{planned} trials)"


def _anatomy(spec: Spec) -> Anatomy:
    return msgspec.convert({k: spec.model[k] for k in Anatomy.__struct_fields__ if k in spec.model}, Anatomy)
