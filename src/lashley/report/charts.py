"""Tidy tables become figures: pure functions from a data frame to Vega-Lite, drawn by nobody yet.

Every frame has a column `effect`, and may have `low` and `high` (its interval), `n` (replicates) and `site` (its
address as text). Each builder takes the figure's name, its title (a sentence), `measure` (what the effect is,
with its unit), `floor` (the noise floor, in the same unit) and `about` (words put before the caption: what was
measured, on what). Effects that are not told apart from 0 are drawn weaker, in every figure in the same sense:
their interval includes 0, or they are below the noise floor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lashley.core.figure import Estimate, Figure
from lashley.report import theme
from lashley.report.tidy import Row, alt_text, caption, records, span

if TYPE_CHECKING:
    from pandas import DataFrame

RESTORATION = "restored share of the logit difference (0 = corrupt run, 1 = clean run)"
DAMAGE = "lost share of the logit difference (0 = no damage, 1 = all lost)"


def heat(
    frame: DataFrame, *, name: str, title: str, measure: str, x: str = "layer", y: str = "role",
    panel: str | None = "kind", floor: float = 0.0, about: str = "", alt: str = "",
) -> Figure:  # fmt: skip
    """Effect over `x` (columns) and `y` (rows), one panel for each value of `panel`."""
    rows = records(frame, floor, x=x, y=y, panel=panel)
    columns, lines = theme.order(r["x"] for r in rows), theme.order(r["y"] for r in rows)
    panels = theme.order(r["panel"] for r in rows)
    side = len(panels) > 1 and len(panels) * len(columns) <= 24
    step = min(max(round((560 / len(panels) if side else 600) / len(columns)), 16), 36)
    label = {"labelExpr": "replace(datum.label, '_', ' ')"}
    views = []
    for i, each in enumerate(panels):
        axis_x = {"title": x, "labelAngle": 0, "labelOverlap": True, "domain": False, "ticks": False}
        axis_y = {"title": None if y == "role" else y, "domain": False, "ticks": False} | (label if y == "role" else {})
        if not side and i < len(panels) - 1:
            axis_x |= {"title": None, "labels": False}
        if side and i:
            axis_y |= {"labels": False, "title": None}
        views.append(
            {
                "title": {"text": theme.PANELS.get(str(each), str(each))} if panel else "",
                "width": {"step": step},
                "height": {"step": 24},
                "transform": [{"filter": {"field": "panel", "equal": each}}],
                "encoding": {
                    "x": {"field": "x", "type": "ordinal", "scale": {"domain": columns}, "axis": axis_x},
                    "y": {"field": "y", "type": "ordinal", "scale": {"domain": lines}, "axis": axis_y},
                    "color": {
                        "field": "effect",
                        "type": "quantitative",
                        "scale": theme.scale(*span(rows)),
                        "legend": {
                            "title": measure,
                            "orient": "bottom",
                            "direction": "horizontal",
                            "gradientLength": 280,
                            "gradientThickness": 12,
                            "titlePadding": 7,
                            "offset": 14,
                        },
                    },
                    "tooltip": _tooltip(x, y),
                },
                "layer": [
                    {"transform": [{"filter": f"{flag}datum.clear"}], "mark": {"type": "rect", **_square(band)}}
                    for flag, band in (("", 0.95), ("!", 0.38))
                ],
            }
        )
    spec = _spec("heat", rows, {"hconcat" if side else "vconcat": views, "spacing": 18}, measure, x=x, y=y)
    words = caption(about, rows, floor, "Full cells are told apart from 0; small squares are not", True)
    return Figure(name, title, words + " Blank: nothing to measure there.", spec, alt or alt_text(title, rows, measure))


def bars(
    frame: DataFrame, *, name: str, title: str, measure: str, label: str = "site",
    control: Estimate | None = None, top: int = 20, floor: float = 0.0, about: str = "", alt: str = "",
) -> Figure:  # fmt: skip
    """The `top` largest effects by size, with intervals, before the band of matched random controls.

    The band is `control` (mean and 95% range), or for each bar its own columns `control`, `control_low`,
    `control_high`.
    """
    rows = records(frame, floor, y=label, control="control", control_low="control_low", control_high="control_high")
    total = len(rows)
    rows = sorted(rows, key=lambda r: -abs(r["effect"]))[:top]
    rows.sort(key=lambda r: -r["effect"])
    if control is not None:
        for r in rows:
            r |= {"control": control.value, "control_low": control.low, "control_high": control.high}
    banded = any(r.get("control_low") is not None for r in rows)
    position = {"field": "y", "type": "nominal", "sort": None, "axis": {"title": None, "ticks": False, "domain": False}}
    strong = {"condition": {"test": "datum.clear", "value": 1}, "value": 0.4}
    sign = {"condition": {"test": "datum.effect >= 0", "value": theme.BLUE}, "value": theme.ORANGE}
    layers = [
        {
            "mark": {"type": "rect", "color": theme.CONTROL, "height": {"band": 1.12}},
            "encoding": {"x": _x(measure, "control_low"), "x2": {"field": "control_high"}},
        },
        {
            "mark": {"type": "tick", "color": theme.GREYS[0], "thickness": 1.5, "height": {"band": 1.12}},
            "encoding": {"x": _x(measure, "control")},
        },
    ] * banded + [
        {
            "mark": {"type": "bar", "height": {"band": 0.62}},
            "encoding": {"x": _x(measure, "effect"), "color": sign, "opacity": strong, "tooltip": _tooltip("", "")},
        },
        {
            "mark": {"type": "rule", "color": theme.INK, "strokeWidth": 1.4},
            "encoding": {"x": _x(measure, "low"), "x2": {"field": "high"}},
        },
        {"mark": {"type": "rule", "color": theme.MUTED}, "encoding": {"x": {"datum": 0}, "y": None}},
    ]
    body = {"width": 520, "height": {"step": 21}, "encoding": {"y": position}, "layer": layers}
    how = f"The {len(rows)} largest of {total:,} effects by size; blue positive, orange negative, pale not told apart from 0"
    if banded:
        how += "; grey band: 95% range of matched random controls, its line their mean"
    spec = _spec("bars", rows, body, measure, y=label)
    return Figure(name, title, caption(about, rows, floor, how), spec, alt or alt_text(title, rows, measure))


def curves(
    frame: DataFrame, *, name: str, title: str, measure: str, x: str = "layer", by: str | None = "role",
    panel: str | None = None, muted: Sequence[str] = (), log: bool = False, floor: float = 0.0,
    about: str = "", alt: str = "",
) -> Figure:  # fmt: skip
    """Effect along `x`, one line for each value of `by` with its interval as a band; `muted` lines are grey."""
    rows = records(frame, floor, x=x, y=by, panel=panel)
    series, panels = theme.order(r["y"] for r in rows), theme.order(r["panel"] for r in rows)
    bright, grey = iter(theme.SERIES * 9), iter(theme.GREYS * 9)
    colours = [next(grey if s in muted else bright) for s in series]
    words = "replace(datum.label, '_', ' ')"
    legend = {"title": None, "orient": "top", "symbolSize": 70, "labelExpr": words, "columns": 6, "offset": 10}
    axis = {"title": x, "grid": False, "labelOverlap": True} | ({} if log else {"tickMinStep": 1, "labelFlush": False})
    hue = {"field": "y", "type": "nominal", "scale": {"domain": series, "range": colours}, "legend": None}
    hue |= {"legend": legend} if by else {}
    views = [
        {
            "title": {"text": theme.PANELS.get(str(each), str(each))} if panel else "",
            "width": 600 if len(panels) < 3 else 620 // len(panels) * (2 if len(panels) > 3 else 1),
            "height": 260 if len(panels) < 3 else 200,
            "transform": [{"filter": {"field": "panel", "equal": each}}],
            "encoding": {
                "x": {
                    "field": "x",
                    "type": "quantitative",
                    "scale": {"type": "log"} if log else {"nice": False, "zero": False, "padding": 8},
                    "axis": axis,
                },
                "color": hue,
            },
            "layer": [
                {"mark": {"type": "rule", "color": "#b9bbb8"}, "encoding": {"y": {"datum": 0}, "x": None, "color": None}},
                {
                    "mark": {"type": "area", "opacity": 0.16, "tooltip": None},
                    "encoding": {"y": _x("", "low"), "y2": {"field": "high"}},
                },
                {"mark": {"type": "line", "strokeWidth": 2}, "encoding": {"y": _x("", "effect")}},
                {
                    "mark": {"type": "point", "filled": True, "size": 34, "opacity": 1},
                    "encoding": {
                        "y": _x(measure if len(panels) < 3 or not i else "", "effect"),
                        "shape": {"field": "y", "type": "nominal", "scale": {"domain": series}, "legend": hue["legend"]},
                        "tooltip": _tooltip(x, by or ""),
                    },
                },
            ],
        }
        for i, each in enumerate(panels)
    ]
    body = views[0] if len(views) == 1 else {"concat": views, "columns": 3 if len(views) > 2 else 1}
    body |= {"resolve": {"scale": {"y": "shared"}}} if len(views) > 1 else {}
    spec = _spec("curves", rows, body, measure, x=x, y=by or "")
    return Figure(name, title, caption(about, rows, floor, ""), spec, alt or alt_text(title, rows, measure))


def ranks(
    frame: DataFrame, *, name: str, title: str, measure: str, label: str = "site", control: Estimate | None = None,
    draw: int = 900, named: int = 4, floor: float = 0.0, about: str = "", alt: str = "",
) -> Figure:  # fmt: skip
    """Every effect against its rank by size, both signs, on a log axis; about `draw` points of any number.

    The largest `draw` / 3 are all drawn; of the rest, ranks evenly spaced on the axis.
    """
    effects = frame["effect"].to_numpy()
    order = abs(effects).argsort(kind="stable")[::-1]
    total, head = len(order), max(draw // 3, 1)
    kept = list(range(min(total, head)))
    if total > head:
        ratio, rest = math.log(total / head), draw - head
        kept = sorted({*kept, *(min(total - 1, int(head * math.exp(ratio * i / rest))) for i in range(rest + 1))})
    rows = records(frame.iloc[order[kept]], floor, y=label)
    for r, rank in zip(rows, kept, strict=True):
        r["x"] = rank + 1
    low, high = span(rows)
    for i, r in enumerate(rows[:named]):
        near = [s for s in rows[:i] if "name" in s and abs(s["effect"] - r["effect"]) < 0.06 * (high - low)]
        if not near:
            r["name"] = r["y"]
    sign = {"condition": {"test": "datum.effect >= 0", "value": theme.BLUE}, "value": theme.ORANGE}
    strong = {"condition": {"test": "datum.clear", "value": 0.85}, "value": 0.28}
    band = [
        {
            "data": {"values": [{"low": control.low, "high": control.high}]},
            "mark": {"type": "rect", "color": theme.CONTROL, "opacity": 0.8},
            "encoding": {"y": _x(measure, "low"), "y2": {"field": "high"}},
        }
        for control in [control]
        if control is not None and control.low is not None
    ]
    place = {
        "field": "x",
        "type": "quantitative",
        "scale": {"type": "log", "domain": [0.85, total * 1.15], "nice": False},
        "axis": {"title": "rank by size of effect (log scale; 1 = largest)", "grid": False, "format": ",d", "tickCount": 5},
    }
    points = {"x": place, "y": _x(measure, "effect")}
    body = {
        "width": 600,
        "height": 280,
        "layer": [
            *band,
            {"mark": {"type": "rule", "color": "#b9bbb8"}, "encoding": {"y": {"datum": 0}}},
            {
                "mark": {"type": "point", "filled": True, "size": 24},
                "encoding": points | {"color": sign, "opacity": strong, "tooltip": _tooltip("rank", "")},
            },
            {
                "transform": [{"filter": "isValid(datum.name)"}],
                "mark": {"type": "text", "align": "left", "dx": 8, "fontSize": 11.5, "color": theme.INK},
                "encoding": points | {"text": {"field": "name"}},
            },
        ],
    }
    how = "Blue positive, orange negative, pale not told apart from 0"
    how += "; grey band: 95% range of matched random controls" if band else ""
    how += f". {len(rows):,} of {total:,} units drawn: the largest {head:,} all, of the rest ranks evenly spaced"
    spec = _spec("ranks", rows, body, measure, x="rank", y=label)
    return Figure(name, title, caption(about, rows, floor, how), spec, alt or alt_text(title, rows, measure))


def _square(band: float) -> Row:
    return {"width": {"band": band}, "height": {"band": band}}


def _x(title: str, field: str) -> Row:
    return {"field": field, "type": "quantitative", "title": title or None, "axis": {"tickCount": 6}}


def _tooltip(x: str, y: str) -> list[Row]:
    shown = {"site": "site", "x": x, "y": y.replace("_", " "), "text": "effect [interval]", "n": "n"}
    return [{"field": k, "title": v} for k, v in shown.items() if v]


def _spec(chart: str, rows: list[Row], body: Row, measure: str, **axes: str) -> Row:
    """`usermeta` tells other renderers (the terminal) what the rows are."""
    meta = {"chart": chart, "measure": measure, **axes}
    return {"data": {"values": rows}, "config": theme.CONFIG, "usermeta": meta, **body}
