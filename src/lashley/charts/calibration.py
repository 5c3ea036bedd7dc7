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
                "mark": {"type": "text", "dx": 24, "dy": -8, "color": theme.MUTED, "fontSize": 11},
                "encoding": {"y": {"field": "effect"} | y, "text": {"field": "n", "format": ",d"}},
            },
        ],
    }
    title = f"How often claims of a given confidence are true, in {model}"
    words = "; ".join(f"confidence {number(x)}: {number(e.value)} of {number(e.n)} true" for x, e in bins)
    caption = "Claims of known truth; lines are exact 95% binomial bounds, numbers how many claims. Dashed: equality."
    return Figure("reliability", title, caption, spec, f"{title}. {words}.")


def power(rows: Sequence[tuple[str, float, Estimate]], model: str) -> Figure:
    """Share of true claims that were supported, by strength of the plant; `rows` are plant, strength, share."""
    values = [{"plant": p, "x": s, "effect": e.value, "low": e.low, "high": e.high} for p, s, e in rows]
    x = {"field": "x", "type": "quantitative", "scale": {"zero": False, "padding": 20}}
    y = {"type": "quantitative", "scale": {"domain": [0, 1]}}
    colour = {"field": "plant", "type": "nominal", "scale": {"range": list(theme.SERIES)}, "legend": {"title": None}}
    spec = {
        "data": {"values": values},
        "width": 400,
        "height": 260,
        "encoding": {
            "x": x | {"axis": {"title": "strength, in natural logit gaps of the fact"}},
            "color": colour,
        },
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {"y": {"field": "low"} | y, "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "line", "point": {"size": 70}},
                "encoding": {"y": {"field": "effect", "axis": {"title": "share of true claims supported"}} | y},
            },
        ],
    }
    title = f"How often a true claim is supported, by how strong the plant is, in {model}"
    words = "; ".join(f"{p} at {number(s)}: {number(e.value)}" for p, s, e in rows)
    caption = "Plants are asserted when they are made; lines are exact 95% binomial bounds."
    return Figure("power", title, caption, spec, f"{title}. {words}.")
