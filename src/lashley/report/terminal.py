"""The same page in a terminal of any width: 40 columns will do, and a pipe gets plain text."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table as Grid
from rich.text import Text

from lashley.core.claim import Verdict
from lashley.core.figure import Control, Figure
from lashley.report import lines
from lashley.report.console import Console
from lashley.report.page import Page, shown

LEAST = 24  # columns; narrower terminals get lines of that length
BESIDE = 34  # columns that a verdict needs beside another


def show(page: Page, path: str | os.PathLike[str] | None = None, console: Console | None = None) -> None:
    """Print the page; `path` is where its html lies. Colours only where the console has them."""
    console, page = console or Console(highlight=False), shown(page)
    for part in _parts(page, max(console.width, LEAST), path):
        console.print(part, highlight=False, soft_wrap=True)


def beside(console: Console, verdicts: Sequence[Verdict]) -> None:
    """Verdicts in columns beside each other, a line a criterion; below each other in a narrow terminal."""
    across = max(console.width // BESIDE, 1)
    for start in range(0, len(verdicts), across):
        some = verdicts[start : start + across]
        width = console.width // len(some) - 3
        grid = Grid(box=box.SIMPLE_HEAVY, expand=True, padding=(0, 1))
        for verdict in some:
            grid.add_column(lines.text(verdict.said, width).append(f"\n{verdict.outcome.upper()}"), ratio=1)
        grid.add_row(*(_criteria(v, width) for v in some))
        grid.add_row(*(lines.text(v.weaker or v.why, width) for v in some))
        console.print(grid)


MARKS = {"holds": "✓", "fails": "✗", "undecided": "?", "not tested": "–"}


def _criteria(verdict: Verdict, width: int) -> Text:
    rows = [c for c in verdict.criteria if c.status != "not tested"]
    each = [f"{c.criterion}: {'–' if c.effect is None else c.effect}" for c in rows]
    marked = [
        lines.text(words, width, indent="  ", first=f"{MARKS[c.status]} ") for c, words in zip(rows, each, strict=True)
    ]
    return Text("\n").join(marked)


def text(page: Page, path: str | os.PathLike[str] | None = None, width: int = 80) -> str:
    """The page as plain text, no line longer than `width`."""
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    show(page, path, console)
    printed = console.file.getvalue().splitlines()  # pyright: ignore[reportAttributeAccessIssue]
    return "\n".join(line.rstrip() for line in printed) + "\n"


def _parts(page: Page, width: int, path: str | os.PathLike[str] | None) -> Iterator[Text]:
    def said(words: str, style: str = "", indent: str = "", first: str = "") -> Text:
        return lines.text(words, width, style, indent, first)

    def section(heading: str, body: Sequence[Text], note: str = "") -> Iterator[Text]:
        yield Text()
        yield said(heading, "bold")
        yield from lines.joined(body, "  ")
        if note:
            yield said(note, "dim", "  ")

    finding = page.finding
    yield Text()
    yield said(page.question, "dim")
    yield said(finding.sentence, "bold")
    if under := finding.under():
        yield said(under, "dim")
    yield from (said(also.sentence, indent="  ", first="- ") for also in page.also)
    for figure in page.figures:
        if drawn := _draw(figure, width - 2):
            yield from section(figure.title, drawn, figure.spec["usermeta"]["note"])
    for table in page.tables:
        yield from section(table.title, lines.table(table, width - 2), table.note)
    for heading, listed in (
        ("Controls and noise floor", list(map(_control, page.controls))),
        ("What could make this wrong", page.caveats),
        ("What was not tested", page.not_tested),
        ("Left out", [f"{x.what}: {x.why}" for x in page.exclusions]),
    ):
        if listed:
            yield from section(heading, [lines.text(line, width - 2, indent="  ", first="- ") for line in listed])
    yield from section("Make it again", [lines.text(page.command, width - 2)])
    if path is not None:
        yield Text()
        yield said(f"Report: {os.fspath(path)}", "bold")


def _control(control: Control) -> str:
    unit = f" {control.estimate.unit}" if control.estimate.unit else ""
    return f"{control.name}: {control.estimate}{unit}. {control.reading}"


def _draw(figure: Figure, width: int) -> lines.Lines:
    """Heat maps and bars as characters; other figures are left to the html."""
    meta = figure.spec.get("usermeta", {})
    rows = figure.spec.get("data", {}).get("values", [])
    draw = lines.picture(meta.get("chart", ""))
    return draw(rows, meta, width) if draw and rows else []
