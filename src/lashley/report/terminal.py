"""The same page in a terminal: 80 columns are enough, and a pipe gets plain text."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from lashley.charts import theme
from lashley.core.claim import Verdict
from lashley.core.figure import Control, Figure, Table, cell
from lashley.report.page import Page

BLOCKS = " ▏▎▍▌▋▊▉█"


def show(page: Page, path: str | os.PathLike[str] | None = None, console: Console | None = None) -> None:
    """Print the page; `path` is where its html lies. Colours only where the console has them."""
    console = console or Console(highlight=False)
    for part in _parts(page, console.width, path):
        console.print(part, highlight=False)


def beside(console: Console, verdicts: Sequence[Verdict]) -> None:
    """Verdicts in columns beside each other, a line a criterion."""
    grid = Grid(box=box.SIMPLE_HEAVY, expand=True, padding=(0, 1))
    for verdict in verdicts:
        grid.add_column(Text(f"{verdict.claim}\n{verdict.outcome.upper()}"), ratio=1)
    grid.add_row(*(_lines(v) for v in verdicts))
    grid.add_row(*(Text(v.weaker or v.why) for v in verdicts))
    console.print(grid)


MARKS = {"holds": "✓", "fails": "✗", "undecided": "?", "not tested": "–"}


def _lines(verdict: Verdict) -> Text:
    rows = [c for c in verdict.criteria if c.status != "not tested"]
    return Text("\n".join(f"{MARKS[c.status]} {c.criterion}: {'–' if c.effect is None else c.effect}" for c in rows))


def text(page: Page, path: str | os.PathLike[str] | None = None, width: int = 80) -> str:
    """The page as plain text, no line longer than `width`."""
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    show(page, path, console)
    lines = console.file.getvalue().splitlines()  # pyright: ignore[reportAttributeAccessIssue]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _parts(page: Page, width: int, path: str | os.PathLike[str] | None) -> Iterator[RenderableType]:
    finding = page.finding
    yield Text(f"\n{page.question}", style="dim")
    yield Text(finding.sentence, style="bold")
    if under := finding.under():
        yield Text(under, style="dim")
    yield from (Text(f"- {also.sentence}") for also in page.also)
    for figure in page.figures:
        if drawn := _draw(figure, width):
            yield _section(figure.title, drawn, figure.spec["usermeta"]["note"])
    for table in page.tables:
        yield _section(table.title, _grid(table), table.note)
    if page.controls:
        yield _section("Controls and noise floor", Group(*map(_control, page.controls)))
    for heading, lines in (
        ("What could make this wrong", page.caveats),
        ("What was not tested", page.not_tested),
        ("Left out", [f"{x.what}: {x.why}" for x in page.exclusions]),
    ):
        if lines:
            yield _section(heading, Group(*(_item(line) for line in lines)))
    yield _section("Make it again", Text(page.command))
    if path is not None:
        yield Text(f"\nReport: {os.fspath(path)}", style="bold", overflow="fold")


def _section(heading: str, body: RenderableType, note: str = "") -> RenderableType:
    parts = [Text(f"\n{heading}", style="bold"), Padding(body, (0, 0, 0, 2))]
    return Group(*parts, *([Padding(Text(note, style="dim"), (0, 0, 0, 2))] if note else []))


def _item(line: str) -> RenderableType:
    row = Grid.grid(padding=(0, 1))
    row.add_row(Text("-"), Text(line, overflow="fold"))
    return row


def _control(control: Control) -> RenderableType:
    unit = f" {control.estimate.unit}" if control.estimate.unit else ""
    return _item(f"{control.name}: {control.estimate}{unit}. {control.reading}")


def _grid(table: Table) -> RenderableType:
    grid = Grid(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, header_style="bold")
    for i, column in enumerate(table.columns):
        right = bool(table.rows) and not isinstance(table.rows[0][i], str | bool | None)
        head = f"{column.label} ({column.unit})" if column.unit else column.label
        grid.add_column(Text(head), justify="right" if right else "left", overflow="fold")
    for row in table.rows:
        grid.add_row(*(Text(cell(value)) for value in row))
    return grid


def _draw(figure: Figure, width: int) -> RenderableType | None:
    """Heat maps and bars as characters; other figures are left to the html."""
    meta = figure.spec.get("usermeta", {})
    rows = figure.spec.get("data", {}).get("values", [])
    draw = {"heat": _heat, "bars": _bars}.get(meta.get("chart"))
    return draw(rows, meta, width - 2) if draw and rows else None


def _heat(rows: list[dict[str, Any]], meta: dict[str, str], width: int) -> RenderableType:
    """Four characters a cell; a dot where the effect is not told apart from 0; wide maps go on below."""
    limit = max(abs(r["effect"]) for r in rows) or 1.0
    factor = 100 if limit < 9.995 else 1
    held = {(r["panel"], r["y"], r["x"]): r for r in rows}
    panels, lines, columns = (theme.order(key[i] for key in held) for i in range(3))
    margin = max(len(str(y)) for y in [*lines, meta["x"]]) + 1
    fit = max((width - margin) // 4, 1)
    fit = -(-len(columns) // -(-len(columns) // fit))  # pieces of equal length
    unit = "in hundredths: " * (factor == 100) + meta["measure"]
    out = Text(unit + "\n· not told apart from 0\n", style="dim")
    for panel in panels:
        for start in range(0, len(columns), fit):
            some = columns[start : start + fit]
            if panel:
                out.append(f"\n{theme.PANELS.get(panel, panel)}", style="bold")
            out.append(f"\n{meta['x']:<{margin}}" + "".join(f"{x!s:.4}".rjust(4) for x in some), style="dim")
            for y in lines:
                out.append(f"\n{str(y).replace('_', ' '):<{margin}}")
                for x in some:
                    out.append(*_square(held.get((panel, y, x)), limit, factor))
            out.append("\n")
    return out


def _square(row: dict[str, Any] | None, limit: float, factor: int) -> tuple[str, str]:
    if row is None:
        return "    ", ""
    if not row["clear"]:
        return "   ·", "dim"
    strong = abs(row["effect"]) / limit > 0.45
    shown = round(row["effect"] * factor)
    return f"{shown:4d}", f"{'white' if strong else 'black'} on {theme.colour(row['effect'], limit)}"


def _bars(rows: list[dict[str, Any]], meta: dict[str, str], width: int) -> RenderableType:
    limit = max(abs(r["effect"]) for r in rows) or 1.0
    margin = min(max(len(str(r["y"])) for r in rows), 26)
    long = max(width - margin - 32, 8)
    out = Text(meta["measure"] + "\n· not told apart from 0\n", style="dim")
    for r in rows:
        size = round(abs(r["effect"]) / limit * long * 8)
        bar = "█" * (size // 8) + BLOCKS[size % 8].strip()
        style = theme.BLUE if r["effect"] >= 0 else theme.ORANGE
        out.append(f"\n{r['y']!s:<{margin}.{margin}} ").append(f"{bar:<{long}}", style=style)
        out.append(f" {r['text']}" + " ·" * (not r["clear"]))
    return out
