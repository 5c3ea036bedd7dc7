"""Tidy tables become figures: pure functions from a data frame to Vega-Lite, drawn by nobody yet.

The frames are those of `rows`. Each builder takes the figure's name, its title (a sentence), `measure` (what
the effect is, with its unit), `floor` (the noise floor, in that unit), `about` (words put before the caption:
what was measured, on what, which interval) and, at will, its own `alt` text and what n counts (`of`). An effect
that is not told apart from 0 (its interval includes 0, or it lies below the floor, which alone counts where nothing
has an interval) is drawn weaker: a small square in a heat map, a pale bar or point; a curve shows it by its band.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lashley.core.figure import Estimate, Figure
from lashley.report.charts import theme
from lashley.report.charts.rows import Row, apart, records, span

if TYPE_CHECKING:
    from pandas import DataFrame
from lashley.report.charts.parts import SIGN, WORDS, ZERO, figure, quantity, square, tens, tooltip, wrapped

RESTORATION = "restored share of the logit difference (0 = corrupt run, 1 = clean run)"
DAMAGE = "lost share of the logit difference (0 = no damage, 1 = all lost)"


def heat(
    frame: DataFrame, *, name: str, title: str, measure: str, x: str = "layer", y: str = "role",
    panel: str | None = "kind", x_title: str = "", floor: float = 0.0, about: str = "", alt: str = "", of: str = "",
) -> Figure:  # fmt: skip
    """Effect over `x` (columns) and `y` (rows), one panel for each value of `panel`."""
    rows = records(frame, floor, x=x, y=y, panel=panel)
    columns, lines, panels = (theme.order(r[k] for r in rows) for k in ("x", "y", "panel"))
    side = len(panels) > 1 and len(panels) * len(columns) <= 24  # panels beside each other, else stacked
    across = len(columns) * (len(panels) if side else 1)
    step = min(max(round(600 / max(across, 1)), 16), 36)
    words = any(isinstance(c, str) for c in columns)
    slant = {"labelAngle": -40, "labelOverlap": False} if words else {"labelAngle": 0, "labelOverlap": True}
    bare = {"domain": False, "ticks": False}
    colour = quantity("effect") | {
        "scale": theme.scale(*span(rows)),
        "legend": {
            "title": measure, "titlePadding": 7, "orient": "bottom", "direction": "horizontal",
            "gradientLength": 280, "gradientThickness": 12, "offset": 14, "tickCount": 5,
        },
    }  # fmt: skip

    def view(at: int, each: str) -> Row:
        below = {} if side or at == len(panels) - 1 else {"title": None, "labels": False}
        left = {"labelExpr": WORDS} if y == "role" else {}
        left |= {"title": None, "labels": False} if side and at else {}
        axis_x = {"title": x_title or x} | slant | bare | below
        axis_y = {"title": None if y == "role" else y, "maxExtent": 300} | bare | left
        return {
            "title": theme.PANELS.get(str(each), str(each)),
            "width": {"step": step},
            "height": {"step": 24},
            "transform": [{"filter": {"field": "panel", "equal": each}}],
            "encoding": {
                "x": {"field": "x", "type": "ordinal", "scale": {"domain": columns}, "axis": axis_x},
                "y": {"field": "y", "type": "ordinal", "scale": {"domain": lines}, "axis": axis_y},
                "color": colour,
                "tooltip": tooltip(x, y),
            },
            "layer": [square("datum.clear", 0.95), square("!datum.clear", 0.36, stroke=theme.HAIRLINE)],
        }

    body = {"hconcat" if side else "vconcat": [view(*each) for each in enumerate(panels)], "spacing": 18}
    how = f"full cells are {apart(rows)}, small squares are not"
    how += "; blank: nothing to measure there" * (len(rows) < len(panels) * len(lines) * len(columns))
    return figure("heat", rows, body, name, title, measure, floor, about, how, alt, of, x=x, y=y)


def bars(
    frame: DataFrame, *, name: str, title: str, measure: str, label: str = "site",
    control: Estimate | None = None, top: int = 20, floor: float = 0.0, about: str = "", alt: str = "", of: str = "",
) -> Figure:  # fmt: skip
    """The `top` largest effects by size, with intervals, before the band of matched random controls.

    The band is `control` (mean and 95% range), or for each bar its own columns `control`, `control_low`,
    `control_high`.
    """
    own = {k: k for k in ("control", "control_low", "control_high")}
    rows = records(frame, floor, y=label, **own)
    total = len(rows)
    rows = sorted(sorted(rows, key=lambda r: -abs(r["effect"]))[:top], key=lambda r: -r["effect"])
    if control is not None:
        same = {"control": control.value, "control_low": control.low, "control_high": control.high}
        rows = [r | same for r in rows]
    banded = any(r.get("control_low") is not None for r in rows)
    axis = {"title": None, "ticks": False, "domain": False}
    strong = {"condition": {"test": "datum.clear", "value": 1}, "value": 0.4}

    def layer(mark: Row, field: str, to: str = "", **more: Row | list[Row] | None) -> Row:
        end = {"x2": {"field": to}} if to else {}
        return {"mark": mark, "encoding": {"x": quantity(field, measure)} | end | more}

    line = {"type": "tick", "color": theme.GREYS[0], "thickness": 1.5, "height": {"band": 1.12}}
    band = {"type": "rect", "color": theme.CONTROL, "height": {"band": 1.12}}
    bar = {"type": "bar", "height": {"band": 0.62}}
    layers = [
        *[layer(band, "control_low", "control_high"), layer(line, "control")] * banded,
        layer(bar, "effect", color=SIGN, opacity=strong, tooltip=tooltip()),
        layer({"type": "rule", "color": theme.INK, "strokeWidth": 1.4}, "low", "high"),
        {"mark": {"type": "rule", "color": theme.MUTED}, "encoding": {"x": {"datum": 0}, "y": None}},
    ]
    place = {"field": "y", "type": "nominal", "axis": axis}
    place |= {"sort": None, "scale": {"domain": list(dict.fromkeys(r["y"] for r in rows))}}
    body = {"width": 520, "height": {"step": 21}, "encoding": {"y": place}, "layer": layers}
    how = f"the {len(rows)} largest of {total:,} effects by size" if len(rows) < total else "all effects"
    how += f"; blue positive, orange negative, pale not {apart(rows)}"
    how += "; grey band: 95% range of matched random controls, its line their mean" * banded
    return figure("bars", rows, body, name, title, measure, floor, about, how, alt, of, y=label)


def curves(
    frame: DataFrame, *, name: str, title: str, measure: str, x: str = "layer", by: str | None = "role",
    panel: str | None = None, x_title: str = "", muted: Sequence[str] = (), log: bool = False,
    floor: float = 0.0, about: str = "", alt: str = "", of: str = "",
) -> Figure:  # fmt: skip
    """Effect along `x`, a line for each value of `by`, its interval a band; lines in `muted` are grey."""
    rows = records(frame, floor, x=x, y=by, panel=panel)
    series, panels = theme.order(r["y"] for r in rows), theme.order(r["panel"] for r in rows)
    bright, grey = iter(theme.SERIES * 9), iter(theme.GREYS * 9)
    colours = [next(grey if s in muted else bright) for s in series]
    legend = {"title": None, "orient": "top", "labelExpr": WORDS, "columns": 6, "symbolSize": 70}
    key = {"field": "y", "type": "nominal", "legend": legend if by else None}
    few = len(panels) < 3
    scale = {"type": "log"} if log else {"zero": False}
    ticks = {"tickMinStep": 1, "tickCount": 18 if few else 8}
    ticks = {"values": tens(r["x"] for r in rows)} if log else ticks
    across = {"title": x_title or x, "grid": False, "labelOverlap": True, "format": ",~f"} | ticks

    alone = {"x": None, "color": None}

    def view(at: int, each: str) -> Row:
        words = wrapped(measure) if few or not at % 3 else []

        def layer(mark: Row, field: str, **more: Row | list[Row]) -> Row:
            return {"mark": mark, "encoding": {"y": quantity(field, words)} | more}

        return {
            "title": theme.PANELS.get(str(each), str(each)),
            "width": 600 if few else 176,
            "height": 260 if few else 210,
            "transform": [{"filter": {"field": "panel", "equal": each}}],
            "encoding": {
                "x": quantity("x") | {"scale": scale | {"nice": False, "padding": 9}, "axis": across},
                "color": key | {"scale": {"domain": series, "range": colours}},
            },
            "layer": [
                {"mark": ZERO, "encoding": {"y": {"datum": 0, "title": words or None}} | alone},
                layer({"type": "area", "opacity": 0.16}, "low", y2={"field": "high"}),
                layer({"type": "line", "strokeWidth": 2}, "effect"),
                layer(
                    {"type": "point", "filled": True, "size": 34, "opacity": 1}, "effect",
                    shape=key | {"scale": {"domain": series}}, tooltip=tooltip(x, by or ""),
                ),
            ],
        }  # fmt: skip

    views = [view(*each) for each in enumerate(panels)]
    shared = {"columns": 1 if few else 3, "resolve": {"scale": {"y": "shared"}}}
    body = views[0] if len(views) == 1 else {"concat": views} | shared
    how = "shaded: the interval" if any(r.get("low") is not None for r in rows) else ""
    return figure("curves", rows, body, name, title, measure, floor, about, how, alt, of, x=x, y=by or "")


def ranks(
    frame: DataFrame, *, name: str, title: str, measure: str, label: str = "site",
    control: Estimate | None = None, draw: int = 600, named: int = 3, floor: float = 0.0, about: str = "",
    alt: str = "", of: str = "",
) -> Figure:  # fmt: skip
    """Every effect against its rank by size, both signs, on a log axis; about `draw` points of any number.

    The largest `draw` / 3 are all drawn; of the rest, ranks evenly spaced on the axis. The first `named` have
    their address written beside them.
    """
    effects = frame["effect"].fillna(0.0).to_numpy()
    order = abs(effects).argsort(kind="stable")[::-1]
    total, head = len(order), min(max(draw // 3, 1), len(order))
    ratio, rest = math.log(max(total, 1) / max(head, 1)), max(draw - head, 1)
    spaced = {min(total - 1, int(head * math.exp(ratio * i / rest))) for i in range(rest + 1)}
    kept = sorted({*range(head), *(spaced if total > head else ())})
    rows = records(frame.iloc[order[kept]].fillna({"effect": 0.0}), floor, y=label)
    for rank, r in zip(kept, rows, strict=True):
        r |= {"x": rank + 1} | ({"name": r["y"]} if rank < named else {})
    low, high = span(rows)
    words = wrapped(measure)
    room = 0.24 * (high - low)  # for the names, above the largest and below the most negative
    reach = [low - room * any(r["effect"] < 0 for r in rows[:named]), high + room * (high > 0)]
    band = {
        "data": {"values": [{"low": control.low, "high": control.high}] if control else []},
        "mark": {"type": "rect", "color": theme.CONTROL, "opacity": 0.8},
        "encoding": {"y": quantity("low", words), "y2": {"field": "high"}},
    }
    axis = {"title": "rank by size of effect (1 = largest; log scale)", "grid": False, "format": ",~f"}
    axis |= {"values": tens(range(1, total + 1))}
    scale = {"type": "log", "domain": [0.85, total * 1.2], "nice": False}
    strong = {"condition": {"test": "datum.clear", "value": 0.85}, "value": 0.28}
    tilt = {"condition": {"test": "datum.effect >= 0", "value": 318}, "value": 42}
    points = {
        "x": quantity("x") | {"scale": scale, "axis": axis},
        "y": quantity("effect", words) | {"scale": {"domain": reach, "nice": True}},
    }
    layers = [
        *[band] * (control is not None and control.low is not None),
        {"mark": ZERO, "encoding": {"y": {"datum": 0, "title": words}}},
        {
            "mark": {"type": "point", "filled": True, "size": 24},
            "encoding": points | {"color": SIGN, "opacity": strong, "tooltip": tooltip("rank")},
        },
        {
            "transform": [{"filter": "isValid(datum.name)"}],
            "mark": {"type": "text", "align": "left", "baseline": "middle", "dx": 7, "limit": 150},
            "encoding": points | {"text": {"field": "name"}, "angle": tilt},
        },
    ]
    how = f"blue positive, orange negative, pale not {apart(rows)}"
    how += "; grey band: 95% range of matched random controls" * (len(layers) > 3)
    some = f". {len(rows):,} of {total:,} units drawn: the {head:,} largest, then ranks evenly spaced"
    how += some if len(rows) < total else f". All {total:,} units drawn"
    body = {"width": 600, "height": 280, "layer": layers}
    return figure("ranks", rows, body, name, title, measure, floor, about, how, alt, of, x="rank", y=label)


def scatter(
    frame: DataFrame, *, name: str, title: str, measure: str, x: str = "estimate", x_title: str = "",
    by: str | None = None, label: str = "site", draw: int = 1200, floor: float = 0.0, about: str = "", alt: str = "",
    of: str = "",
) -> Figure:  # fmt: skip
    """Effect against another number of the same unit, before the line where they are equal; a colour and shape for
    each value of `by`. Of more than `draw` points, the largest half and evenly spaced ones of the rest are drawn."""
    order = abs(frame["effect"].fillna(0.0).to_numpy()).argsort(kind="stable")[::-1].tolist()
    head, total = draw // 2, len(order)
    kept = order if total <= draw else order[:head] + order[head :: -(-(total - head) // (draw - head))]
    rows = records(frame.iloc[kept], floor, x=x, y=by, name=label)
    series = theme.order(str(each) for each in (frame[by] if by else [""]))
    rows = [r | {"x": float(f"{r['x']:.6g}")} for r in rows if r.get("x") is not None][::-1]  # the largest in front
    across = x_title or x
    ends = [f([0.0, *(r[k] for r in rows for k in ("x", "effect"))]) for f in (min, max)]
    key = {"field": "y", "type": "nominal"}
    legend = {"title": None, "orient": "top", "columns": 3, "symbolSize": 70, "symbolOpacity": 1}
    colour = {"scale": {"domain": series, "range": list(theme.SERIES[: len(series)])}, "legend": legend if by else None}
    words = wrapped(measure)
    rule = {"type": "line", "color": theme.RULE, "strokeDash": [4, 3]}
    layers = [
        {"mark": ZERO, "encoding": {"x": {"datum": 0, "title": across}}},
        {"mark": ZERO, "encoding": {"y": {"datum": 0, "title": words}}},
        {
            "data": {"values": [{"x": end, "effect": end} for end in ends]},
            "mark": rule,
            "encoding": {"x": quantity("x", across), "y": quantity("effect", words)},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 26, "opacity": 0.6},
            "encoding": {
                "x": quantity("x", across), "y": quantity("effect", words),
                "color": key | colour, "shape": key | {"scale": {"domain": series}, "legend": colour["legend"]},
                "tooltip": [{"field": "name", "title": label}, *tooltip(x, by or "")],
            },
        },
    ]  # fmt: skip
    body = {"width": 520, "height": 360, "layer": layers}
    how = "dashed: where both are equal"
    how += f". {len(rows):,} of {total:,} points drawn" * (len(rows) < total)
    return figure("scatter", rows, body, name, title, measure, floor, about, how, alt, of, x=x, y=by or "")
