"""A picture of a calibration: how often true claims are supported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lashley.core.figure import Estimate, Figure, number
from lashley.report.charts import theme

Row = dict[str, Any]


def power(rows: Sequence[tuple[str, float, Estimate]], wanted: float, standard: float, model: str) -> Figure:
    """Share of true claims that were supported, a row each plant and strength; dashed at `wanted`."""
    values = [_row(f"{plant}, strength {number(s)}", e, plant=plant) for plant, s, e in rows]
    colour = {"field": "plant", "type": "nominal", "scale": {"range": list(theme.SERIES)}, "legend": None}
    line = {
        "data": {"values": [{"wanted": wanted}]},
        "mark": {"type": "rule", "color": theme.RULE, "strokeDash": [4, 3]},
        "encoding": {"x": {"field": "wanted", "type": "quantitative"}},
    }
    title = f"How often a true claim is supported, by plant and its strength, in {model}"
    words = "; ".join(f"{p} at {number(s)}: {number(e.value)} of {number(e.n)}" for p, s, e in rows)
    caption = (
        "Strength is in natural logit gaps of the fact. Plants are asserted when they are made; lines are exact 95% "
        f"binomial bounds. Dashed: {number(wanted)}, wanted of single plants at strength {number(standard)}."
    )
    spec = _shares(values, "share of true claims supported", colour, line)
    return Figure("power", title, caption, spec, f"{title}. {words}.")


ROWS = {"field": "row", "type": "nominal", "sort": None, "axis": {"title": None, "labelLimit": 260}}


def _row(name: str, share: Estimate, **more: Any) -> Row:
    claims = f"{number(share.n)} claim{'s' * (share.n != 1)}"
    return {"row": f"{name} ({claims})", "effect": share.value, "low": share.low, "high": share.high} | more


def _shares(rows: Sequence[Row], title: str, colour: Row, beside: Row) -> Row:
    """Shares with their bounds, a row each, over the layer `beside`."""
    x = {"type": "quantitative", "scale": {"domain": [0, 1]}}
    own = {"y": ROWS, "color": colour}
    return {
        "data": {"values": list(rows)},
        "width": 400,
        "height": {"step": 26},
        "layer": [
            beside,
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {"x": {"field": "low"} | x, "x2": {"field": "high"}} | own,
            },
            {
                "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
                "encoding": {"x": {"field": "effect", "axis": {"title": title}} | x} | own,
            },
        ],
    }
