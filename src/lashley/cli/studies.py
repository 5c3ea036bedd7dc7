"""Commands on studies that are there: to go on with, to look at, to compare, to export."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from lashley.cli.options import show
from lashley.experiments import audit
from lashley.report.console import Console, say
from lashley.report.progress import progress_of


def judge(exported: Path, /, *, json: bool = False) -> None:
    """Judge the claims of an EXPORTED study again (parquet), with neither model nor torch."""
    from lashley.cli import listings
    from lashley.study.ledger.tidy import exported as read_export

    spec, table = read_export(exported)
    listings.verdicts(Console(), audit.again(spec.params, table), json)


def next_(
    study: Path, /, *, run: bool = False, json: bool = False, device: str = "cpu", memory: str = "512MiB"
) -> None:
    """What is worth measuring next in STUDY, an audit: what could settle the most open criteria a second comes first.

    Parameters
    ----------
    run
        Do the first, and show what came of it.
    """
    from lashley.cli import listings
    from lashley.study.steps import following
    from lashley.study.study import Study

    steps = following(Study.open(study))
    if not (run and steps):
        listings.steps(Console(), steps, json)
        return

    from lashley import api

    with progress_of(json) as progress:
        done = api.follow(study, device=device, memory=memory, progress=progress)
    show(done, json)


def resume(study: Path, /, *, json: bool = False, device: str = "cpu", memory: str = "512MiB") -> None:
    """Do what is missing in STUDY, and nothing twice."""
    from lashley import api

    with progress_of(json) as progress:
        found = api.resume(study, device=device, memory=memory, progress=progress)
    show(found, json)


def report(study: Path, /, *, json: bool = False, out: Path | None = None) -> None:
    """Write and show the report of STUDY. Needs no model.

    Parameters
    ----------
    out
        The folder that it is written to; by default the study itself.
    """
    from lashley.study.study import Study

    show(Study.open(study), json, out)


def check(study: Path, /, *, json: bool = False) -> None:
    """Whether STUDY is as it was written: its checksums, and whether anything was lost. Every command that opens a
    study looks for the same."""
    from lashley.cli import listings
    from lashley.study.study import Study

    found = Study.open(study).ledger.condition  # which warns of what is lost
    listings.condition(Console(), study, found, json)
    if found.notice:
        sys.exit(2)


def compare(first: Path, second: Path, /, *, out: Path | None = None, json: bool = False) -> None:
    """Two studies of one experiment side by side: what was asked otherwise, and which effects differ. Needs no model.

    Parameters
    ----------
    out
        A folder for the comparison as a page.
    json
        Print all of it as JSON, every effect included.
    """
    from lashley.report import terminal, write
    from lashley.study.comparison import compare as beside

    found = beside(first, second)
    page = found.page()
    path = write(page, out).html if out else None
    if json:
        sys.stdout.buffer.write(found.to_json())
    else:
        terminal.show(page, path)


def export(
    study: Path,
    /,
    *,
    format: Literal["parquet", "csv", "json", "circuit", "graphml"] = "parquet",
    out: Path | None = None,
) -> None:
    """Write one tidy row per measurement; or the circuit that was found, as JSON or GraphML.

    Parameters
    ----------
    out
        The file; by default measurements.FORMAT in the study, or circuit.json or circuit.graphml. In CSV, words that a
        spreadsheet would take for a formula begin with an apostrophe.
    """
    from lashley.study.study import Study

    name = {"circuit": "circuit.json", "graphml": "circuit.graphml"}.get(format, f"measurements.{format}")
    path = out or study / name
    Study.open(study).export(path, format)
    if path.is_file():  # what went to a pipe is not a place to look
        say(path)
