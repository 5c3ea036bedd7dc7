"""What is asked of a model before anything is measured, and kept: the door of experiments to it, and to torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lashley import experiments
from lashley.core.case import Case, Dossier, Estimated, Exclusion, Material
from lashley.core.claim import Topic
from lashley.core.errors import BrokenStudy, LashleyError, StudyConflict
from lashley.core.progress import Progress
from lashley.core.question import Asked, Question
from lashley.core.standing import NAME as STANDING
from lashley.core.standing import pack
from lashley.core.trial import Sweep
from lashley.study.ledger.preliminaries import Preliminaries

if TYPE_CHECKING:
    from lashley.engine.bench import Bench


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
