"""A durable directory: plan, done, run, judge, draw. The resume rule lives here: todo = trials - ledger."""

from __future__ import annotations

import datetime
import hashlib
import math
import platform
import re
import shlex
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self

import msgspec
import numpy as np

from lashley import experiments, report
from lashley.core.anatomy import Anatomy
from lashley.core.case import Case, Dossier, Estimated, Exclusion, Material
from lashley.core.claim import Topic
from lashley.core.command import command
from lashley.core.cost import ROUTES
from lashley.core.errors import BadCircuit, BrokenStudy, LashleyError, StudyConflict
from lashley.core.figure import Finding, Omission
from lashley.core.files import replacing
from lashley.core.progress import Progress, silent
from lashley.core.question import Asked, Question
from lashley.core.standing import NAME as STANDING
from lashley.core.standing import pack
from lashley.core.trial import Sweep
from lashley.core.trouble import explained
from lashley.facts.joins import told
from lashley.report import html
from lashley.report.notebook import Picture, pictures
from lashley.report.page import Page
from lashley.stats.summary import facts, measured
from lashley.study.ledger import Ledger, Spec
from lashley.study.ledger.preliminaries import NAME as PRELIMINARIES
from lashley.study.ledger.preliminaries import Preliminaries
from lashley.study.ledger.spec import Usual, difference, read
from lashley.study.ledger.tidy import export, table

if TYPE_CHECKING:
    import pandas as pd
    from typing_extensions import TypeVar

    from lashley.engine.bench import Bench
    from lashley.engine.model import Model

    R = TypeVar("R", default=Any)  # its result
else:
    from typing import TypeVar

    R = TypeVar("R")

CHAT = "Every prompt is a user's message in the tokenizer's chat template, and answers are read where the reply begins."
STUDIES = Path("studies")  # where those go that are given no folder
LEFT_OUT = "left out of the search"  # the note that holds, in words, what a search passed over
SUNK = (
    "Some subjects begin their text, and the tokenizer puts nothing before it: their first token is the attention sink "
    "too, and what is done there is done to both."
)


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
            return self._page()

    def _page(self) -> Page:
        spec, rows = self.ledger.spec, self.table
        name = Path(str(spec.model["name"])).name
        model = f"the {name} model" if name == "embedded" else name
        answered, planned = self.ledger.progress()
        common: dict[str, Any] = {
            "exclusions": tuple(Omission(_what(e), e.reason) for e in self.ledger.exclusions()),
            "environment": _environment(spec, self.ledger.notes()),
            "command": spec.command,
            "study": str(self.folder).encode(errors="backslashreplace").decode(),
            "created": spec.created,
        }
        kept = measured(rows)
        experiment, arrays = self.experiment, self.arrays()
        if not len(kept) and not (experiment.asks == "claims" and self.planned):
            nothing = Finding("Nothing is measured yet: run `lashley resume` on this study.")
            return Page(
                title=f"{spec.experiment}, not yet run", question="", finding=nothing, caveats=self._lost(), **common
            )
        what = experiment.topic(self.params, kept) if experiment.topic else facts(kept)
        result = experiment.measure(self.params, rows, arrays)
        outcome, drawing = experiment.tell(self.params, result), experiment.draw(self.params, result, rows)
        left = (
            f"{answered:,} of {planned:,} trials are measured" if answered < planned else "a further round is to come"
        )
        partial = () if self.complete else (f"Incomplete: {left}; `lashley resume {self.folder}` does the rest.",)
        return Page(
            title=f"{spec.experiment}: {what} in {model}",
            question=experiment.question.format(facts=what, model=model),
            finding=outcome.findings[0],
            verdicts=outcome.verdicts,
            also=outcome.findings[1:],
            figures=drawing.figures,
            tables=drawing.tables,
            caveats=self._lost() + partial + self._prompted(kept) + self._searched() + outcome.caveats,
            not_tested=outcome.not_tested,
            result=msgspec.json.decode(msgspec.json.encode(result)) if isinstance(result, msgspec.Struct) else None,
            controls=outcome.controls,
            **common,
        )

    def _lost(self) -> tuple[str, ...]:
        notice = self.ledger.condition.notice
        return (f"{notice[0].upper()}{notice[1:]}.",) if notice else ()

    def _searched(self) -> tuple[str, ...]:
        """What a search left out that preceded the study."""
        return tuple(self.ledger.notes().get(LEFT_OUT, ()))

    def _prompted(self, rows: pd.DataFrame) -> tuple[str, ...]:
        """What is to be known of the prompts: a chat, answers that follow by another join than one blank beyond doubt,
        subjects at the attention sink."""
        chat = (CHAT,) * bool(self.question.chat)
        joined = [f"Between prompt and answer: {told(j)}." for j in rows["join"].dropna().unique() if j]
        return (*chat, *joined, *(SUNK,) * ("subject first" in self.ledger.notes()))

    def write(self, folder: str | Path | None = None) -> Path:
        """Write page, pictures and JSON beside the ledger, or into another folder; the path of the page."""
        return report.write(self.page(), folder or self.folder).html

    def _repr_html_(self) -> str:
        return html.render(self.page())

    def __repr__(self) -> str:
        answered, planned = self.ledger.progress()
        return f"Study({str(self.folder)!r}, {self.ledger.spec.experiment}, {answered}/{planned} trials)"


def begin(
    experiment: str,
    params: Any,
    question: Question,
    bench: Bench,
    folder: str | Path | None = None,
    progress: Progress = silent,
    notes: Mapping[str, Any] = {},
) -> Study:
    """Open the study that these words describe, or begin it. Raises `StudyConflict` at another study's folder.

    A new one is planned, and keeps what that asks of the model; a question that cannot be asked leaves nothing behind.
    `notes` are kept before anything is asked, so that whoever resumes it knows them.
    """
    model = bench.model
    typed = command(experiment, params, question, study=folder, **_where(model))
    params = experiments.find(experiment).settled(params, bench.anatomy)
    spec = Spec(
        experiment=experiment,
        params=asdict(params),
        question=msgspec.to_builtins(question),
        model={
            "name": model.name,
            "weights": model.weights_hash,
            "tokenizer": model.tokenizer_hash,
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": str(model.device),
            **msgspec.to_builtins(model.anatomy),
        },
        versions={
            **{p: version(p) for p in ("lashley", "torch", "transformers")},
            "python": platform.python_version(),
            "platform": platform.platform(),
        },
        command=typed,
    )
    folder = Path(folder) if folder else _place(spec)
    with explained(folder):
        new = not (folder / "spec.json").exists()
        made = [p for p in (folder, *folder.parents) if not p.exists()]
    study = Study(Ledger.open_or_create(folder, spec, usual(experiment)))
    for key in notes.keys() - study.ledger.notes().keys():
        study.ledger.note(key, notes[key])
    if new:
        try:
            study.prepare(bench, progress)
        except (BrokenStudy, StudyConflict):
            raise
        except LashleyError:
            study.ledger.discard(made)
            raise
    return study


def _where(model: Model) -> dict[str, str]:
    """On what a study is made, as the command line takes it."""
    several = len(set(model.devices)) > 1
    whole, rest = divmod(model.memory, 1 << 20)
    return {
        "model": model.name,
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": "auto" if several else str(model.device),
        "memory": str(model.memory) if rest else f"{whole}MiB",
    }


@contextmanager
def keeping(bench: Bench, path: Path, planned: bool = True) -> Iterator[None]:
    """Keep in the file `path` what `bench` is asked meanwhile. After an interruption it is there for the next who asks
    the same; it goes when what is asked for is `planned`, or cannot be asked."""
    model = bench.model
    whose = (
        *(model.weights_hash, model.tokenizer_hash, str(model.dtype), version("lashley")),
        *(str(model.device), model.memory),  # other packs, other last bits
    )
    store = Preliminaries(path, whose)
    before, bench.kept = bench.kept, store
    try:
        yield
        if planned:
            store.remove()
    except (BrokenStudy, StudyConflict):
        raise
    except LashleyError:
        store.remove()
        raise
    finally:
        store.close()
        bench.kept = before


@contextmanager
def resumable(again: str) -> Iterator[None]:
    """Say how to go on after an interruption."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"what is measured is kept, and {again} goes on") from stop


def _anatomy(spec: Spec) -> Anatomy:
    return msgspec.convert({k: spec.model[k] for k in Anatomy.__struct_fields__ if k in spec.model}, Anatomy)


class Planned(NamedTuple):
    """What an experiment wants to know, what was left out, how the model's self-test went, arrays to keep, and in how
    many cases the subject begins at the attention sink."""

    sweeps: list[Sweep | Estimated]
    exclusions: tuple[Exclusion, ...]
    checked: str
    arrays: Mapping[str, Mapping[str, np.ndarray]] = {}
    sunk: int = 0


def planned(experiment: str, params: Any, question: Question, bench: Bench, progress: Progress) -> Planned:
    """Ask what the model knows, and plan every trial. Raises `BadFact`, `BadSite`, ..."""
    from lashley.engine.answers import standing  # a door to torch

    asked = experiments.find(experiment)
    found = asked.gather(params, question, Asking(bench, progress))
    kept = {STANDING: pack(standing(bench, found.cases)), **found.arrays}
    sunk = sum(c.clean.sunk for c in found.cases)
    return Planned(list(asked.plan(params, found.material)), found.exclusions, bench.checked, kept, sunk)


class Asking:
    """The door of experiments to a model (`core.experiment.Door`), and to torch."""

    def __init__(self, bench: Bench, progress: Progress):
        self.bench, self.anatomy, self.progress = bench, bench.anatomy, progress

    def pairs(self, asked: Sequence[Asked], **words: Any) -> Material:
        from lashley.prompts.pairs import prepare

        told = lambda done, total: self.progress("asking what the model knows", done, total)  # noqa: E731
        return prepare(self.bench, asked[0] if len(asked) == 1 else asked, progress=told, **words)

    def dossiers(self, topics: Sequence[Topic], **words: Any) -> list[Dossier]:
        from lashley.prompts.dossier import gather

        return gather(self.bench, topics, progress=self.progress, **words)

    def operations(self, cases: Sequence[Case], seed: int) -> Mapping[str, np.ndarray]:
        from lashley.features.operations import operations

        return operations(self.bench, cases, seed, self.progress)


def usual(experiment: str) -> Usual:
    """What parameters and question are where nothing is said: no part of a study's identity, so that a parameter that
    is added, with a default that does as was done before it, leaves every older study what it was."""
    return {"params": asdict(experiments.find(experiment).Params()), "question": msgspec.to_builtins(Question())}


def _place(spec: Spec) -> Path:
    """The folder that belongs to this very question, so that asking again finds it: one of an older lashley, which may
    have called it otherwise, or one with a readable name."""
    q = spec.question
    what = [q["task"] or q["relation"] or "prompt", q["subject"] or "all"]
    if claims := spec.params.get("claims"):
        what = [claims[0][:40]]
    words = [spec.experiment, *what, Path(str(spec.model["name"])).name]
    slug = "-".join(re.sub(r"[^a-z0-9]+", "_", str(w).lower()).strip("_") for w in words)
    held, identity = usual(spec.experiment), spec.identity()
    for part, values in msgspec.to_builtins(held).items():
        identity[part] = {k: v for k, v in identity[part].items() if v != values[k]}
    digest = hashlib.blake2b(msgspec.json.encode(identity, order="deterministic"), digest_size=3).hexdigest()
    own = STUDIES / f"{slug}-{digest}"
    older = sorted(STUDIES.glob(f"{slug}-{'[0-9a-f]' * 6}"))
    return next((folder for folder in (own, *older) if _holds(folder, spec, held)), own)


def _holds(folder: Path, spec: Spec, held: Usual) -> bool:
    """Whether it is the folder of this very study."""
    with suppress(BrokenStudy, StudyConflict):
        return not difference(read(folder / "spec.json")[0], spec, held)
    return False


def _what(e) -> str:
    under = f" under “{e.template}”" if e.template else ""
    return f"{e.relation}({e.subject}) = {e.object}{under}"


def _environment(spec: Spec, notes: dict[str, Any]) -> dict[str, str]:
    m = spec.model
    return {
        "model": f"{m['name']}: {m['family']}, {m['layers']} layers of {m['heads']} heads and {m['neurons']:,} neurons",
        "weights": str(m["weights"]),
        "tokenizer": str(m["tokenizer"]),
        "arithmetic": f"{m['dtype']} on {m['device']}",
        "fast path against plain passes": str(notes.get("self-test", "not run")),
        "sweeps by route": ", ".join(f"{ROUTES[r]}: {n}" for r, n in notes.get("routes", {}).items()) or "not run",
        **{k: str(v) for k, v in spec.versions.items()},
        "report made": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
