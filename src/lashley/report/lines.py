"""Words, tables and pictures as lines of a terminal of any width: nothing is cut, and no name is broken that fits.

A line breaks at blanks, and after the `+` between sites. Only what is longer than a whole line is broken elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.cells import cell_len, chop_cells
from rich.text import Text

from lashley.core.figure import Estimate, Table, cell, number
from lashley.report.charts import theme

HARD = "\u00a0"  # a blank at which no line breaks, within numbers with their intervals
PIECES = re.compile(r"[^ +]*\++|[^ +]+| +")  # between which a line may break
WHOLE = re.compile(
    r" (?=[×] 10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹])|(?<=×) (?=10)|(?<=\d,) (?=[−\d.]+\])| (?=\[[−\d])"
)  # blanks within numbers
LOOSE = re.compile(f"(?<!×){HARD}(?!×)")  # of these, where a number longer than a line breaks: between its bounds
BLOCKS = " ▏▎▍▌▋▊▉█"
NARROW = 12  # characters below which a bar has a line of its own
Lines = list[Text]


def fold(words: str, width: int) -> list[str]:
    """Words as lines no longer than `width` (at least 1).

    >>> fold("Knocking out L1.attn.h0+L12.attn.h13 costs 0.41 of it", 20)
    ['Knocking out', 'L1.attn.h0+', 'L12.attn.h13 costs', '0.41 of it']
    """
    lines, line = [], ""
    for piece in _pieces(re.sub(r"[\n\t]+", " ", words), width):
        if cell_len(line + piece.rstrip(" ")) <= width:
            line += piece
            continue
        if line.strip(" "):
            lines.append(line.rstrip(" "))
        line = piece.lstrip(" ")
        while cell_len(line) > width:
            first, *rest = chop_cells(line, width)
            lines.append(first)
            line = "".join(rest)
    return [*lines, line.rstrip(" ")] if line.strip(" ") or not lines else lines


def _pieces(words: str, width: int) -> Iterator[str]:
    """Between which a line may break."""
    for piece in PIECES.findall(WHOLE.sub(HARD, words)):
        yield from PIECES.findall(LOOSE.sub(" ", piece)) if cell_len(piece) > width else [piece]


def text(words: str, width: int, style: str = "", indent: str = "", first: str = "") -> Text:
    """Words folded, each line after `indent`; the first after `first`, which is as long."""
    lines = fold(words, max(width - len(indent), 1))
    whole = "\n".join((first or indent if not i else indent) + line for i, line in enumerate(lines))
    return Text(whole.replace(HARD, " "), style=style, no_wrap=True, overflow="ignore")


def _pad(words: str, width: int, right: bool = False) -> str:
    room = " " * max(width - cell_len(words), 0)
    return room + words if right else words + room


def _longest(words: str) -> int:
    """The length of the longest piece that no line may break."""
    return max((cell_len(p) for p in PIECES.findall(WHOLE.sub(HARD, words)) if p.strip(" ")), default=0)


# -- tables ----------------------------------------------------------------------------------------------------------


def table(shown: Table, width: int) -> Lines:
    """In columns where they fit, else each row as a list of its cells."""
    heads = [f"{c.label} ({c.unit})" if c.unit else c.label for c in shown.columns]
    rows = [[cell(v).replace(" ", HARD) if isinstance(v, Estimate) else cell(v) for v in row] for row in shown.rows]
    columns = list(zip(heads, *rows, strict=True))
    least = [max(1, *map(_longest, column)) for column in columns]
    room = width - 2 * (len(columns) - 1)
    if sum(least) > room:
        return _listed(heads, rows, width)
    most = [max(map(cell_len, column)) for column in columns]
    widths = list(least)
    for _ in range(room - sum(least)):
        short = [m - w for m, w in zip(most, widths, strict=True)]
        if max(short) <= 0:
            break
        widths[short.index(max(short))] += 1
    right = [any(isinstance(row[i], Estimate | int | float) and not isinstance(row[i], bool) for row in shown.rows)
             for i in range(len(columns))]  # fmt: skip
    out = _row(heads, widths, right, "bold")
    out.append(Text("─" * (sum(widths) + 2 * (len(widths) - 1)), style="dim"))
    for row in rows:
        out += _row(row, widths, right)
    return out


def _row(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool], style: str = "") -> Lines:
    folded = [fold(words, w) for words, w in zip(cells, widths, strict=True)]
    height = max(map(len, folded))
    lines = []
    for at in range(height):
        parts = [
            _pad(lines_[at] if at < len(lines_) else "", w, r)
            for lines_, w, r in zip(folded, widths, right, strict=True)
        ]
        lines.append(Text("  ".join(parts).rstrip().replace(HARD, " "), style=style, no_wrap=True, overflow="ignore"))
    return lines


def _listed(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Lines:
    out: Lines = []
    for row in rows:
        out.append(text(f"{heads[0]}: {row[0]}", width, "bold", "  ", "- "))
        out += [
            text(f"{head}: {words}", width, indent="    ", first="  ")
            for head, words in zip(heads[1:], row[1:], strict=True)
        ]
    return out


# -- pictures --------------------------------------------------------------------------------------------------------


def picture(chart: str) -> Callable[[list[dict[str, Any]], dict[str, str], int], Lines] | None:
    """How a chart is drawn with characters; None where it is left to the html."""
    return {"heat": _heat, "bars": _bars}.get(chart)


def _legend(meta: dict[str, str], words: str, width: int) -> Lines:
    lines = (words + meta["measure"], f"· not {meta.get('apart', 'told apart from 0')}")
    return [text(line, width, "dim") for line in lines]


def _heat(rows: list[dict[str, Any]], meta: dict[str, str], width: int) -> Lines:
    """Numbers on their colours; a dot where the effect is not told apart from 0; wide maps go on below. Heads that
    are too long for their columns become numbers, listed first."""
    limit = max(abs(r["effect"]) for r in rows) or 1.0
    factor = 100 if limit < 9.995 else 1
    held = {(r["panel"], r["y"], r["x"]): r for r in rows}
    panels, labels, columns = (theme.order(key[i] for key in held) for i in range(3))
    unsure = _unsure(rows)
    shown = {
        key: "·"
        if not r["clear"] and key not in unsure
        else number(round(r["effect"] * factor)) + "?" * (key in unsure)
        for key, r in held.items()
    }
    names = {y: str(y).replace("_", " ") if meta["y"] == "role" else str(y) for y in labels}
    margin = max(cell_len(words) for words in [*names.values(), meta["x"]]) + 1
    above = margin > width // 2  # labels of rows that would leave no room stand on lines of their own
    margin = 2 if above else margin
    heads = {x: str(x) for x in columns}
    room = max(4, *(len(s) + 1 for s in shown.values()))
    longest = max(cell_len(h) for h in heads.values()) + 1
    out = _legend(meta, "in hundredths: " * (factor == 100), width)
    if unsure:
        out.append(text("? from too few prompts for an interval", width, "dim"))
    if longest > room and longest * len(columns) + margin > width:
        heads = {x: str(i + 1) for i, x in enumerate(columns)}
        out += [text(f"{heads[x]}: {x}", width, "dim") for x in columns]
        longest = max(map(len, heads.values())) + 1
    room = max(room, longest)
    fit = max((width - margin) // room, 1)
    fit = -(-len(columns) // -(-len(columns) // fit))  # pieces of equal length
    for panel in panels:
        for start in range(0, len(columns), fit):
            some = columns[start : start + fit]
            out.append(Text())
            if panel:
                out.append(text(theme.PANELS.get(panel, str(panel)), width, "bold"))
            corner = _pad("", margin) if above else _pad(meta["x"], margin)
            out.append(Text(corner + "".join(_pad(heads[x], room, True) for x in some), style="dim"))
            for y in labels:
                line = Text(no_wrap=True, overflow="ignore")
                if above:
                    out.append(text(names[y], width))
                line.append(_pad("" if above else names[y], margin))
                for x in some:
                    key = panel, y, x
                    line.append(_pad(shown.get(key, ""), room, True), _colour(held.get(key), limit))
                out.append(line)
    return out


def _unsure(rows: list[dict[str, Any]]) -> set[tuple[Any, Any, Any]]:
    """The cells that have no interval, where others have one: nothing is known of them, not that they are 0."""
    none = {(r["panel"], r["y"], r["x"]) for r in rows if r.get("low") is None}
    return none if len(none) < len(rows) else set()


def _colour(row: dict[str, Any] | None, limit: float) -> str:
    if row is None:
        return ""
    if not row["clear"]:
        return "dim"
    strong = abs(row["effect"]) / limit > 0.45
    return f"{'white' if strong else 'black'} on {theme.colour(row['effect'], limit)}"


def _bars(rows: list[dict[str, Any]], meta: dict[str, str], width: int) -> Lines:
    """Bars from a common 0: what is positive grows to the right, what is negative to the left."""
    names = [str(r["y"]) for r in rows]
    told = [r["text"].replace(" ", HARD) + f"{HARD}·" * (not r["clear"]) for r in rows]
    margin, said = max(map(_longest, names)), max(map(cell_len, told))
    margin = max(margin, min(max(map(cell_len, names)), width // 3))
    beside = width - margin - said - 2 >= NARROW
    long = width - margin - said - 2 if beside else width - 2
    most = max(0.0, *(r["effect"] for r in rows))
    least = max(0.0, *(-r["effect"] for r in rows))
    left = round((long - 1) * least / (most + least or 1.0))
    right = long - 1 - left
    scale = min(x for x in ((left / least if least else None), (right / most if most else None), 1e9) if x is not None)
    out = _legend(meta, "", width)
    out.append(Text())
    for name, words, r in zip(names, told, rows, strict=True):
        bar = _bar(r["effect"], scale, left, right)
        style = theme.BLUE if r["effect"] >= 0 else theme.ORANGE
        if not beside:
            out += [text(f"{name} {words}", width), Text("  ").append(bar, style)]
            continue
        lines = fold(name, margin)
        line = Text(_pad(lines[0], margin) + " ", no_wrap=True, overflow="ignore")
        out.append(line.append(bar, style).append(f" {words}".replace(HARD, " ")))
        out += [Text(part) for part in lines[1:]]
    return out


def _bar(effect: float, scale: float, left: int, right: int) -> str:
    """`left` characters for what is negative, the axis, `right` for what is positive."""
    eighths = round(abs(effect) * scale * 8)
    whole, part = divmod(eighths, 8)
    if effect >= 0:
        return f"{' ' * left}│{_pad('█' * whole + BLOCKS[part].strip(), right)}"
    return f"{_pad('▐' * (part >= 4) + '█' * whole, left, True)}│{' ' * right}"


def joined(lines: Sequence[Text], indent: str) -> Iterator[Text]:
    """Lines moved to the right."""
    for line in lines:
        for part in line.split("\n", allow_blank=True):
            yield Text(indent, no_wrap=True, overflow="ignore").append_text(part)
