"""A circuit as a picture: layers from left to right, components as boxes, edges as wide as their effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lashley.core.figure import Figure, number
from lashley.report.charts import theme

Row = dict[str, Any]
MOST = 40  # edges that are drawn
BENT = 24  # points of an edge
BOWS = (0, 14, -14, 28, -28, 42, -42, 56, -56, 74, -74, 96, -96)  # pixels, the least first
PITCH, LANE = 60, 44  # pixels from column to column, and from box to box
BOX, TALL = 46, 22
HELPS, HURTS, MAYBE = "helps", "hurts", "comes and goes"
COLOURS = {HELPS: theme.BLUE, HURTS: theme.ORANGE, MAYBE: theme.GREYS[0]}
SHORT = {
    "previous token": "previous token",
    "duplicate token": "duplicate",
    "induction": "induction",
    "copying": "copying",
    "subject to final": "moves subject",
    "attribute extraction": "extraction",
}


HALO: tuple[tuple[str, Row], ...] = (("white", {"stroke": "white", "strokeWidth": 3}), (theme.INK, {}))


class Drawn(NamedTuple):
    """One edge to draw: `into` is q, k, v or "", `stable` False where it comes and goes."""

    source: str
    target: str
    into: str
    effect: float
    stable: bool
    text: str


Place = tuple[int, int, int]  # layer, attention 0 or MLP 1, unit


def picture(
    edges: Sequence[Drawn], operations: Mapping[str, Sequence[str]], *, name: str, title: str, about: str
) -> Figure:
    """The `MOST` edges of largest effect among the components that they join."""
    kept = sorted(edges, key=lambda e: -abs(e.effect))[:MOST]
    nodes = sorted({node for e in kept for node in (e.source, e.target)} | {"embed", "logits"}, key=_order)
    across = _columns(nodes)
    below = {node: 1 + 0.32 * max(len(operations.get(node, ())) - 1, 0) for node in nodes}
    down = _lanes(nodes, kept, across, below)
    boxes = [_box(node, across[node], down[node], operations.get(node, ())) for node in nodes]
    ports = _ports(kept, down)
    lines = [row for i, e in enumerate(kept) for row in _bend(i, e, across, down, ports)]
    ends = [_end(e, across, ports) for e in kept if e.into]
    top = min(0.0, *(r["y"] for r in lines)) - LANE / 2 if lines else -LANE / 2
    width, height = max(across.values()) + BOX, max(max(down.values()), *(r["y"] for r in lines), 0.0) + LANE
    ends = list({(r["x"], r["y"], r["into"]): r for r in ends}.values())
    x = {"field": "x", "type": "quantitative", "scale": {"domain": [-BOX, width], "nice": False}, "axis": None}
    y = {"field": "y", "type": "quantitative", "scale": {"domain": [height, top], "nice": False}, "axis": None}
    shown = [kind for kind in COLOURS if any(r["kind"] == kind for r in lines)]
    colour = {"domain": shown, "range": [COLOURS[k] for k in shown]}
    words = {"title": None, "orient": "top", "symbolType": "stroke", "symbolStrokeWidth": 4, "symbolSize": 300}
    largest = max((abs(e.effect) for e in kept), default=1.0) or 1.0
    wide = {"domain": [0, largest], "range": [0.7, 9]}
    line = {
        "data": {"values": lines},
        "mark": {"type": "line", "opacity": 0.72, "strokeCap": "butt", "interpolate": "linear"},
        "encoding": {
            "x": x, "y": y, "order": {"field": "t", "type": "quantitative"}, "detail": {"field": "edge"},
            "color": {"field": "kind", "type": "nominal", "scale": colour, "legend": words},
            "strokeWidth": {"field": "size", "type": "quantitative", "scale": wide, "legend": None},
            "strokeDash": {
                "condition": {"test": f"datum.kind === '{MAYBE}'", "value": [5, 3]}, "value": [1, 0],
            },
            "tooltip": [{"field": "name", "title": "edge"}, {"field": "text", "title": "effect [interval]"}],
        },
    }  # fmt: skip
    box = {
        "data": {"values": boxes},
        "mark": {"type": "rect", "cornerRadius": 5, "strokeWidth": 1.3},
        "encoding": {
            "x": x | {"field": "left"}, "x2": {"field": "right"}, "y": y | {"field": "top"}, "y2": {"field": "bottom"},
            "fill": {"field": "fill", "type": "nominal", "scale": None},
            "stroke": {"value": theme.MUTED}, "tooltip": [{"field": "node"}, {"field": "does"}],
        },
    }  # fmt: skip
    done = [{"x": b["x"], "y": b["bottom"] + 4, "text": b["does"]} for b in boxes if b["does"]]
    layers_ = [
        _text([{"x": at, "y": height - 12, "text": t} for t, at in _heads(nodes, across)], x, y, theme.MUTED, 12),
        line,
        box,
        _text([{"x": b["x"], "y": b["y"], "text": b["label"]} for b in boxes], x, y, theme.INK, 12),
        *(_text(done, x, y, colour, 10.5, fontStyle="italic", baseline="top", **halo) for colour, halo in HALO),
        _text([{"x": r["x"], "y": r["y"], "text": r["into"]} for r in ends], x, y, theme.MUTED, 10),
    ]
    spec = {
        "config": theme.CONFIG, "layer": layers_, "width": round(width + BOX), "height": round(height - top),
        "resolve": {"scale": {"color": "independent"}},
    }  # fmt: skip
    how = "Boxes: heads (h) and MLPs; small letters: the input an edge enters by (query, key, value). Width: what "
    how += "patching the edge alone costs. Blue edges help the answer, orange ones hurt it, dashed grey ones come and "
    how += "go with the prompts resampled. Operations stand under the heads that do them most, past what untrained "
    how += "copies reach; their scores are in the table"
    some = f". The {len(kept)} largest of {number(len(edges))} edges" * (len(kept) < len(edges))
    alt = f"{title}. Largest: " + "; ".join(f"{_name(e)} {e.text}" for e in kept[:5]) + "."
    return Figure(name, title, f"{about}. {how}{some}.", spec, alt)


def _name(e: Drawn) -> str:
    return f"{e.source}→{e.target}{'.' * bool(e.into)}{e.into}"


def _order(node: str) -> Place:
    """Where in the order of computation a component stands.

    >>> sorted(["logits", "L1.mlp", "L1.attn.h2", "embed"], key=_order)
    ['embed', 'L1.attn.h2', 'L1.mlp', 'logits']
    """
    if node in ("embed", "logits"):
        return (-1 if node == "embed" else 10**6, 0, 0)
    layer, kind, *unit = node[1:].split(".")
    return int(layer), int(kind == "mlp"), int(unit[0][1:]) if unit else -1


def _columns(nodes: Sequence[str]) -> dict[str, float]:
    """The x of every component: a column for the heads and one for the MLP of each layer that has any; layers without
    any are a little room."""
    at, last = 0.0, (-1, 0)
    found = {}
    for node in nodes:
        layer, kind, _ = _order(node)
        if (layer, kind) != last:
            skipped = 0 if node == "logits" else max(layer - last[0] - 1, 0)
            at += PITCH * (1.15 if layer == last[0] else 1.3) + 7 * min(skipped, 6)
            last = (layer, kind)
        found[node] = at
    return found


def _lanes(
    nodes: Sequence[str], edges: Sequence[Drawn], across: Mapping[str, float], below: Mapping[str, float]
) -> dict[str, float]:
    """The y of every component: near the mean of those it is joined to, so that few edges cross; `below` says how many
    lanes the next in its column stands lower at least."""
    columns: dict[float, list[str]] = {}
    for node in nodes:
        columns.setdefault(across[node], []).append(node)
    lane = {node: i - (len(own) - 1) / 2 for own in columns.values() for i, node in enumerate(own)}
    joined: dict[str, list[tuple[str, float]]] = {node: [] for node in nodes}
    for e in edges:
        joined[e.source].append((e.target, abs(e.effect)))
        joined[e.target].append((e.source, abs(e.effect)))
    for _ in range(12):
        for own in columns.values():
            wish = {}
            for node in own:
                weight = sum(w for _, w in joined[node])
                mean = sum(lane[other] * w for other, w in joined[node]) / weight if weight else 0.0
                wish[node] = 0.75 * mean + 0.25 * lane[node]
            order = sorted(own, key=lambda n: (wish[n], n))
            placed: list[float] = []
            for i, node in enumerate(order):
                placed.append(max(wish[node], placed[-1] + below[order[i - 1]] if i else -99.0))
            shift = sum(wish[n] - p for n, p in zip(order, placed, strict=True)) / len(order)
            lane |= {node: p + shift for node, p in zip(order, placed, strict=True)}
    low = min(lane.values())
    return {node: (at - low) * LANE for node, at in lane.items()}


def _ports(edges: Sequence[Drawn], down: Mapping[str, float]) -> dict[str, float]:
    """The y at which edges enter: one place for each input of a component."""
    into: dict[str, list[str]] = {}
    for e in edges:
        into.setdefault(e.target, [])
        if e.into not in into[e.target]:
            into[e.target].append(e.into)
    return {
        f"{node}.{port}": down[node] + (i - (len(own) - 1) / 2) * 11
        for node, own in into.items()
        for i, port in enumerate(sorted(own, key="qkv".find))
    }


def _bend(
    number_: int, e: Drawn, across: Mapping[str, float], down: Mapping[str, float], ports: Mapping[str, float]
) -> list[Row]:
    """An edge as points of a cubic with level ends, bowed as little as keeps it off the boxes between."""
    x0, y0 = across[e.source] + BOX / 2, down[e.source]
    x1, y1 = across[e.target] - BOX / 2 - 9 * bool(e.into), ports[f"{e.target}.{e.into}"]
    between = [(across[n], down[n]) for n in across if across[e.source] < across[n] < across[e.target]]
    bent = (_cubic(x0, y0, x1, y1, bow) for bow in BOWS)
    points = min(bent, key=lambda curve: sum(_hit(point, between) for point in curve))
    kind = MAYBE if not e.stable else HELPS if e.effect >= 0 else HURTS
    common = {"edge": number_, "kind": kind, "size": round(abs(e.effect), 5), "name": _name(e), "text": e.text}
    return [common | {"t": t, "x": round(x, 1), "y": round(y, 1)} for t, (x, y) in enumerate(points)]


def _cubic(x0: float, y0: float, x1: float, y1: float, bow: float) -> list[tuple[float, float]]:
    reach = max((x1 - x0) * 0.42, 12)
    points = []
    for t in (i / BENT for i in range(BENT + 1)):
        a, b, c, d = (1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t * t, t**3
        across = a * x0 + b * (x0 + reach) + c * (x1 - reach) + d * x1
        points.append((across, a * y0 + b * (y0 + bow) + c * (y1 + bow) + d * y1))
    return points


def _hit(point: tuple[float, float], boxes: Sequence[tuple[float, float]]) -> bool:
    """Whether a point lies on a box, or too near."""
    x, y = point
    return any(abs(x - across) < BOX / 2 + 3 and abs(y - down) < TALL / 2 + 4 for across, down in boxes)


def _end(e: Drawn, across: Mapping[str, float], ports: Mapping) -> Row:
    return {"x": across[e.target] - BOX / 2 - 5, "y": ports[f"{e.target}.{e.into}"], "into": e.into}


def _box(node: str, x: float, y: float, does: Sequence[str]) -> Row:
    _, kind, unit = _order(node)
    label = node if node in ("embed", "logits") else f"n{unit}" if kind and unit >= 0 else "MLP" if kind else f"h{unit}"
    fill = "#eef3f8" if does else "#ffffff" if node not in ("embed", "logits") else theme.HAIRLINE
    words = [SHORT.get(each, each) for each in does]
    edge = {"left": x - BOX / 2, "right": x + BOX / 2, "top": y - TALL / 2, "bottom": y + TALL / 2}
    return {"node": node, "label": label, "does": words, "fill": fill, "x": x, "y": y, **edge}


def _heads(nodes: Sequence[str], across: Mapping[str, float]) -> list[tuple[str, float]]:
    """The layers' names and where they stand: in the middle of their columns."""
    found: dict[int, set[float]] = {}
    for node in nodes:
        if node not in ("embed", "logits"):
            found.setdefault(_order(node)[0], set()).add(across[node])
    return [(f"L{layer}", sum(own) / len(own)) for layer, own in found.items()]


def _text(rows: list[Row], x: Row, y: Row, colour: str, size: float, **look: Any) -> Row:
    mark = {"type": "text", "fontSize": size, "color": colour} | look
    return {"data": {"values": rows}, "mark": mark, "encoding": {"x": x, "y": y, "text": {"field": "text"}}}
