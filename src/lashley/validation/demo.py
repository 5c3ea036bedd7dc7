"""The main job in a minute: a claim about a fact that training put into a model, and the same claim about one that was
put into a single neuron; two verdicts side by side."""

from __future__ import annotations

from pathlib import Path

import msgspec

from lashley import api
from lashley.core.fact import Fact
from lashley.core.figure import Figure, Finding
from lashley.core.files import room
from lashley.core.progress import Progress
from lashley.models import planted
from lashley.report.page import Page
from lashley.study.study import Study

FACT = Fact("landmark", "Trevi Fountain", "Madrid")  # what is planted


def demo(folder: Path, progress: Progress) -> tuple[Study, Study, Page]:
    """Both studies, and the page that shows them side by side."""
    room(folder)
    progress("1 of 3: what the embedded model learned in training; a minute or two in all", 0, 1)
    bench = api.open_model("embedded")
    fact = f"{FACT.relation}({FACT.subject})"
    trained = api.audit(bench, strongest=1, of=fact, study=folder / "trained", progress=_part("1 of 3", progress))
    cabinet = folder / "cabinet"
    if not (cabinet / "truth.json").exists():
        progress("2 of 3: planting a file cabinet", 0, 1)
        with planted.undoing(bench):
            planted.write(bench, planted.find("single").plant(bench, FACT), cabinet)
    truth = planted.read(cabinet)
    there = api.open_model(str(cabinet))
    single = api.audit(there, truth.true[0], study=folder / "planted", progress=_part("3 of 3", progress))
    return trained, single, _page(trained, single, folder)


def _part(name: str, progress: Progress) -> Progress:
    """The progress of one part."""
    return lambda what, done, total: progress(f"{name}: {what}", done, total)


def _page(trained: Study, single: Study, folder: Path) -> Page:
    pages = trained.page(), single.page()
    first, second = (p.verdicts[0] for p in pages)
    sentence = (
        f"“{first.claim}”, of the fact that training put into the model, is {first.outcome}; "
        f"“{second.claim}”, of the fact that was planted in one neuron, is {second.outcome}."
    )
    figures = [
        _named(f, f"{name}-{f.name}") for name, p in zip(("trained", "planted"), pages, strict=True) for f in p.figures
    ]
    return msgspec.structs.replace(
        pages[0],
        title="One question, two models: is the fact stored in one neuron?",
        question="What does the same instrument say of a fact learned in training, and of one planted in one neuron?",
        finding=Finding(sentence, None, "The same prompts, criteria and thresholds for both."),
        also=tuple(p.finding for p in pages),
        verdicts=(first, second),
        figures=tuple(figures),
        tables=tuple(t for p in pages for t in p.tables),
        command="lashley demo",
        study=str(folder),
    )


def _named(figure: Figure, name: str) -> Figure:
    return msgspec.structs.replace(figure, name=name)
