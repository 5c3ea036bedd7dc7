"""What pictures have in common: axes, tooltips, ticks, and the figure about them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from lashley.core.figure import Figure
from lashley.report.charts import theme
from lashley.report.charts.rows import Row, alt_text, apart, basis, caption

if TYPE_CHECKING:
    pass

SIGN = {"condition": {"test": "datum.effect >= 0", "value": theme.BLUE}, "value": theme.ORANGE}
ZERO = {"type": "rule", "color": theme.RULE}
WORDS = "replace(datum.label, '_', ' ')"


def square(test: str, share: float, **look: str) -> Row:
    mark = {"type": "rect", "width": {"band": share}, "height": {"band": share}} | look
    return {"transform": [{"filter": test}], "mark": mark}


def quantity(field: str, title: str | list[str] = "") -> Row:
    axis = {"axis": {"tickCount": 6}} if title else {}
    return {"field": field, "type": "quantitative", "title": title or None} | axis


def wrapped(measure: str) -> list[str]:
    """A measure as the title of an upright axis: its unit on a line of its own."""
    return [line for part in measure.replace(" (", "\n(").split("\n") for line in textwrap.wrap(part, 42)]


def tooltip(x: str = "", y: str = "") -> list[Row]:
    shown = {"site": "site", "x": x, "y": y, "text": "effect [interval]", "n": "n"}
    return [{"field": k, "title": v} for k, v in shown.items() if v]


def tens(values: Iterable[float]) -> list[float]:
    """Powers of ten up to the largest, from 1 or from below the smallest."""
    found = [v for v in values if v > 0] or [1]
    low, high = math.ceil(math.log10(min(1, *found)) - 1e-9), math.floor(math.log10(max(1, *found)) + 1e-9)
    return [10**i for i in range(low, high + 1)]


def figure(
    chart: str, rows: list[Row], body: Row, name: str, title: str, measure: str,
    floor: float, about: str, how: str, alt: str, of: str, **axes: str,
) -> Figure:  # fmt: skip
    """`usermeta` tells renderers that draw with characters what the rows are."""
    note = basis(rows, floor, of)
    meta = {"chart": chart, "measure": measure, "note": caption(about, "", note), "apart": apart(rows), **axes}
    spec = {"data": {"values": rows}, "config": theme.CONFIG, "usermeta": meta, **body}
    return Figure(name, title, caption(about, how, note), spec, alt or alt_text(title, rows, measure))
