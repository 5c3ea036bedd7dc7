"""Pictures of a calibration: how often confident claims are true, and power by strength."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lashley.charts import theme
from lashley.core.figure import Estimate, Figure, number

Row = dict[str, Any]


def reliability(bins: Sequence[tuple[float, Estimate]], model: str) -> Figure:
    """Share of true claims against the reported confidence; `bins` are mean confidences with their shares."""
    rows: list[Row] = [
        {"x": round(x, 4), "effect": e.value, "low": e.low, "high": e.high, "n": e.n}
        for x, e in bins
        if e.value is not None
    ]
    x = {"field": "x", "type": "quantitative", "scale": {"domain": [0, 1]}}
    y = {"type": "quantitative", "scale": {"domain": [0, 1]}}
    spec = {
        "data": {"values": rows},
        "width": 330,
        "height": 330,
        "encoding": {"x": x | {"axis": {"title": "reported confidence that the claim stands (mean of a bin)"}}},
        "layer": [
            {
                "data": {"values": [{"x": 0, "y": 0}, {"x": 1, "y": 1}]},
                "mark": {"type": "line", "color": theme.RULE, "strokeDash": [4, 3]},
                "encoding": {"y": {"field": "y"} | y},
            },
            {
                "mark": {"type": "rule", "strokeWidth": 2, "color": theme.BLUE},
                "encoding": {"y": {"field": "low"} | y, "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 80, "color": theme.BLUE, "opacity": 1},
                "encoding": {"y": {"field": "effect", "axis": {"title": "share of these claims that are true"}} | y},
            },
            {
                "mark": {
                    "type": "text",
                    "dx": -6,
                    "align": "right",
                    "baseline": "middle",
                    "color": theme.MUTED,
                    "fontSize": 11,
                },
                "encoding": {"y": {"field": "effect"} | y, "text": {"field": "n", "format": ",d"}},
            },
        ],
    }
    title = f"How often claims of a given confidence are true, in {model}"
    words = "; ".join(f"confidence {number(x)}: {number(e.value)} of {number(e.n)} true" for x, e in bins)
    caption = "Claims of known truth; lines are exact 95% binomial bounds, numbers how many claims. Dashed: equality."
    return Figure("reliability", title, caption, spec, f"{title}. {words}.")


def power(rows: Sequence[tuple[str, float, Estimate]], wanted: float, model: str) -> Figure:
    """Share of true claims that were supported, a row each plant and strength; dashed at `wanted`."""
    values: list[Row] = [
        {
            "row": f"{plant}, strength {number(s)} ({number(e.n)} claim{'s' * (e.n != 1)})",
            "plant": plant,
            "effect": e.value,
            "low": e.low,
            "high": e.high,
        }
        for plant, s, e in rows
    ]
    x = {"type": "quantitative", "scale": {"domain": [0, 1]}}
    y = {"field": "row", "type": "nominal", "sort": None, "axis": {"title": None, "labelLimit": 260}}
    colour = {"field": "plant", "type": "nominal", "scale": {"range": list(theme.SERIES)}, "legend": None}
    spec = {
        "data": {"values": values},
        "width": 400,
        "height": {"step": 26},
        "layer": [
            {
                "data": {"values": [{"wanted": wanted}]},
                "mark": {"type": "rule", "color": theme.RULE, "strokeDash": [4, 3]},
                "encoding": {"x": {"field": "wanted"} | x},
            },
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {"x": {"field": "low"} | x, "x2": {"field": "high"}, "y": y, "color": colour},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
                "encoding": {
                    "x": {"field": "effect", "axis": {"title": "share of true claims supported"}} | x,
                    "y": y,
                    "color": colour,
                },
            },
        ],
    }
    title = f"How often a true claim is supported, by plant and its strength, in {model}"
    words = "; ".join(f"{p} at {number(s)}: {number(e.value)} of {number(e.n)}" for p, s, e in rows)
    caption = (
        "Strength is in natural logit gaps of the fact. Plants are asserted when they are made; lines are exact 95% "
        f"binomial bounds. Dashed: {number(wanted)}, wanted of single plants at strength 2."
    )
    return Figure("power", title, caption, spec, f"{title}. {words}.")
