"""Colours and type of every figure: blue positive, orange negative, safe for colour-blind eyes and print."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lashley.core.site import ROLES

PANELS = {
    "resid": "Residual stream",
    "attn": "Attention output",
    "mlp": "MLP output",
    "head": "Attention heads",
    "neuron": "MLP neurons",
}

FONT = "'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"
INK, MUTED, RULE, HAIRLINE, CONTROL = "#1f2328", "#5c636b", "#b9bbb8", "#e6e6e3", "#d9d9d5"

# ColorBrewer Blues and Oranges from a common near-white: lightness falls evenly with the size of the effect.
POSITIVE = ("#f5f5f2", "#c9dcef", "#86b8dc", "#3b82be", "#0b3f82")
NEGATIVE = ("#f5f5f2", "#fbd9b5", "#f5a864", "#d96a1c", "#8f3a04")
BLUE, ORANGE = "#2a6fb0", "#d0651b"

# Okabe & Ito (2008) without yellow, which vanishes on paper; black last.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
GREYS = ("#8b8f94", "#b4b7ba", "#6c7075")

_AXIS = {
    "labelFontSize": 12,
    "titleFontSize": 12.5,
    "titleFontWeight": "normal",
    "labelColor": MUTED,
    "titleColor": INK,
    "titlePadding": 8,
    "labelPadding": 5,
    "gridColor": HAIRLINE,
    "domainColor": RULE,
    "tickColor": RULE,
    "labelLimit": 260,
    "titleLimit": 0,
}
CONFIG = {
    "font": FONT,
    "background": "white",
    "padding": 6,
    "view": {"stroke": None},
    "axis": _AXIS,
    "legend": {
        "labelFontSize": 12,
        "titleFontSize": 12.5,
        "titleFontWeight": "normal",
        "labelColor": MUTED,
        "titleColor": INK,
        "titleLimit": 0,
        "labelLimit": 260,
        "symbolOpacity": 1,
    },
    "title": {"anchor": "start", "fontSize": 13, "fontWeight": "bold", "color": INK, "offset": 7},
}


def colour(value: float, limit: float) -> str:
    """The colour of an effect when `limit` (> 0) is the largest size shown.

    >>> colour(0, 1), colour(1, 1), colour(-2, 1), colour(0.125, 1)
    ('#f5f5f2', '#0b3f82', '#8f3a04', '#dfe9f1')
    """
    ramp = POSITIVE if value >= 0 else NEGATIVE
    place = min(abs(value) / limit, 1.0) * (len(ramp) - 1)
    step = min(int(place), len(ramp) - 2)
    lower, upper = (tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in ramp[step : step + 2])
    return "#" + "".join(f"{int(a + (b - a) * (place - step) + 0.5):02x}" for a, b in zip(lower, upper, strict=True))


def scale(low: float, high: float, steps: int = 8) -> dict:
    """A Vega-Lite colour scale over [low, high], near white at 0, equally strong on both sides."""
    low, high = min(low, 0.0), max(high, 0.0)
    limit = max(-low, high) or 1.0
    below = [low * i / steps for i in range(steps, 0, -1)] if low < 0 else []
    above = [high * i / steps for i in range(1, steps + 1)] if high > 0 else [] if low < 0 else [limit]
    stops = [*below, 0.0, *above]
    colours = [colour(s, limit) for s in stops]
    return {"type": "linear", "interpolate": "rgb", "domain": stops, "range": colours}


def order(values: Iterable[Any]) -> list[Any]:
    """Distinct values in reading order: numbers by size, roles and kinds as in the protocol, others as met.

    >>> order(["final", "begin", "final"]), order([10, 2]), order(["b", "a"])
    (['begin', 'final'], [2, 10], ['b', 'a'])
    """
    seen = list(dict.fromkeys(values))
    if all(isinstance(v, int | float) for v in seen):
        return sorted(seen)
    known = [*ROLES, *PANELS]
    return sorted(seen, key=lambda v: known.index(v) if v in known else len(known))
