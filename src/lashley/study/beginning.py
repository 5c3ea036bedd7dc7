"""Opening the study that some words describe, or beginning it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from lashley import experiments
from lashley.core.command import command
from lashley.core.errors import BrokenStudy, LashleyError, StudyConflict
from lashley.core.progress import Progress, silent
from lashley.core.question import Question
from lashley.core.trouble import explained
from lashley.study.identity import place, usual
from lashley.study.ledger import Ledger, Spec
from lashley.study.study import Study

if TYPE_CHECKING:
    from lashley.engine.bench import Bench
    from lashley.engine.model import Model


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
    folder = Path(folder) if folder else place(spec)
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
