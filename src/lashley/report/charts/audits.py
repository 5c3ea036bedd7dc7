"""Pictures of verdicts: criteria beside their thresholds, every prompt beside its controls, all claims at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lashley.core.claim import Verdict
from lashley.core.figure import Estimate, Figure, number
from lashley.report.charts import theme

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
SHARE = "share of the logit difference"
COLOURS = {
    "holds": "#0072b2",
    "fails": "#d55e00",
    "undecided": "#8b8f94",
    "supported": "#0072b2",
    "refuted": "#d55e00",
}
WHAT = {
    "necessary": "necessary: damage",
    "sufficient": "sufficient: restoration",
    "contributes": "contributes: damage",
    "specific": "specific: change of other facts",
    "stable under prompt": "stable under prompt: damage",
    "stable under domain": "stable under domain: damage",
    "robust to method": "robust to method: least damage (all have to lie on one side)",
    "not redundant": "not redundant: restoration by a rival",
}
MASKED = "not redundant: damage with later MLPs held"
GROUPS = {
    "confirm": "confirming prompts",
    "paraphrase": "paraphrases",
    "other": "other facts",
    "firing": "facts that fire it most",
}
PEERS = "matched random sites"
CAPPED = "Of each run, at most 100% either way counts."


def pictures(verdict: Verdict, rows: pd.DataFrame, number_: int, alpha: float) -> list[Figure]:
    """Of one claim: its criteria, each tested at `alpha`, and its measurements one by one. `rows` are its own."""
    return [
        f for f in (criteria(verdict, f"criteria-{number_}", alpha), points(verdict, rows, f"prompts-{number_}")) if f
    ]


def criteria(verdict: Verdict, name: str, alpha: float) -> Figure | None:
    """Each criterion that is a share of the logit difference, with its interval and its threshold."""
    rows: list[Row] = []
    for c in verdict.criteria:
        e = c.effect
        if c.criterion in WHAT and e is not None and e.unit == SHARE and e.value is not None:
            masked = "self-repair" in c.note
            side = "at most" if c.criterion in ("specific", "not redundant") else "at least"
            side = "all on one side of" if c.criterion == "robust to method" else side
            rows.append(
                _round({"y": MASKED if masked else WHAT[c.criterion], "effect": e.value, "low": e.low, "high": e.high})
                | {"at": c.threshold, "verdict": c.status, "wanted": f"{side} {number(c.threshold)}"}
            )
    if not rows:
        return None
    y = {"field": "y", "type": "nominal", "sort": None, "axis": {"title": None, "labelLimit": 320}}
    key = {"field": "verdict", "type": "nominal", "scale": _colours(rows), "legend": _legend()}
    low = min(-0.05, *(r["low"] if r["low"] is not None else r["effect"] for r in rows))
    high = max(1.0, *(r["high"] if r["high"] is not None else r["effect"] for r in rows))
    x = {
        "field": "effect",
        "type": "quantitative",
        "scale": {"domain": [max(low, -1.5), min(high, 2.5)], "clamp": True},
    }
    x |= {"axis": {"title": f"{SHARE} (short black line: the threshold)"}}
    layers = [
        {"mark": {"type": "rule", "color": theme.RULE}, "encoding": {"x": {"datum": 0}, "y": None, "color": None}},
        {
            "mark": {"type": "tick", "color": theme.INK, "thickness": 2, "size": 19},
            "encoding": {"x": {"field": "at", "type": "quantitative"}, "color": {"value": theme.INK}},
        },
        {
            "mark": {"type": "rule", "strokeWidth": 2.5},
            "encoding": {"x": x | {"field": "low"}, "x2": {"field": "high"}},
        },
        {"mark": {"type": "point", "filled": True, "size": 90, "opacity": 1}, "encoding": {"x": x}},
    ]
    spec = {
        "data": {"values": rows},
        "width": 470,
        "height": {"step": 30},
        "encoding": {"y": y, "color": key, "tooltip": [{"field": f} for f in ("y", "effect", "wanted", "verdict")]},
        "layer": layers,
    }
    title = f"“{verdict.said}” is {verdict.outcome}: what was measured beside what the claim needs"
    words = "; ".join(f"{r['y']} {number(r['effect'])}, wanted {r['wanted']}, {r['verdict']}" for r in rows)
    caption = f"Points are means, lines {100 * (1 - alpha):.4g}% t intervals on cluster means; each holds at "
    caption += f"{100 * alpha:.4g}%, and fails at {100 * alpha:.4g}% after Holm. {CAPPED}"
    return Figure(name, title, caption, spec, f"{title}. {words}.")


def points(verdict: Verdict, rows: pd.DataFrame, name: str) -> Figure | None:
    """Damage on every prompt, in rows by what kind of prompt it is, above that of matched random sites."""
    own = rows[(rows["measure"] == "damage") & (rows["edit"] == "mean") & rows["effect"].notna()]
    shown: list[Row] = []
    for group, words in GROUPS.items():
        if group == "other":
            shown += _domain(own)
        shown += [_round({"y": words, "effect": float(e)}) for e in _each(own[own["group"] == group])]
    random_ = rows[rows["measure"] == "random damage"]
    if len(random_):
        each = random_.groupby("trial", observed=True)["effect"].mean()
        shown += [_round({"y": PEERS, "effect": float(e)}) for e in each]
    if not shown:
        return None
    order = list(dict.fromkeys(r["y"] for r in shown))
    counts = {y: sum(r["y"] == y for r in shown) for y in order}
    for r in shown:
        r["y"] = f"{r['y']} ({counts[r['y']]})"
    order = [f"{y} ({counts[y]})" for y in order]
    limit = next((c.threshold for c in verdict.criteria if c.criterion == "necessary"), 0.5)
    y = {"field": "y", "type": "nominal", "scale": {"domain": order}, "axis": {"title": None, "labelLimit": 320}}
    axis = {"title": "damage: lost share of the logit difference (dashed: what necessity needs)"}
    grey = {"test": f"indexof(datum.y, '{PEERS}') >= 0", "value": theme.MUTED}
    spec = {
        "data": {"values": shown},
        "width": 470,
        "height": {"step": 24},
        "layer": [
            {"mark": {"type": "rule", "color": theme.RULE}, "encoding": {"x": {"datum": 0}}},
            {"mark": {"type": "rule", "color": theme.INK, "strokeDash": [4, 3]}, "encoding": {"x": {"datum": limit}}},
            {
                "mark": {"type": "point", "filled": True, "size": 42, "opacity": 0.55},
                "encoding": {
                    "x": {"field": "effect", "type": "quantitative", "axis": axis},
                    "y": y,
                    "color": {"condition": grey, "value": theme.BLUE},
                },
            },
        ],
    }
    sites = verdict.said.split(" ")[0]
    title = f"What knocking out {sites if len(sites) < 60 else 'the sites'} costs, prompt by prompt"
    alt = f"{title}. " + "; ".join(
        f"{y}: mean {number(float(np.mean([r['effect'] for r in shown if r['y'] == y])))}" for y in order
    )
    caption = (
        f"Each point is one prompt, the mean of its draws; of {PEERS}, one site's mean. Mean knockout. In brackets how "
        f"many. {CAPPED}"
    )
    return Figure(name, title, caption, spec, f"{alt}.")


def _domain(own: pd.DataFrame) -> list[Row]:
    """Points of the prompts in other contexts, a row a kind."""
    rows = own[own["group"] == "domain"]
    return [
        _round({"y": f"{'in' if 'language' in str(kind) else 'after'} {kind}", "effect": float(e)})
        for kind, part in rows.groupby(rows["context"].astype(str), sort=False)
        for e in _each(part)
    ]


def _each(rows: pd.DataFrame) -> pd.Series:
    """The effect on every prompt, the mean of its draws."""
    prompt = "asked" if "asked" in rows and rows["asked"].notna().all() else "prompt"
    return rows.groupby(rows[prompt].astype(str), sort=False)["effect"].mean()


def overview(verdicts: Sequence[Verdict], most: int = 40) -> Figure:
    """The damage of every claim's site with its interval, coloured by the verdict; the strongest `most`."""
    rows: list[Row] = []
    for verdict in verdicts:
        e = next((c.effect for c in verdict.criteria if c.criterion == "necessary" and c.effect), Estimate(None))
        if e.value is not None:
            named = verdict.said if len(verdict.said) < 70 else f"{verdict.said[:67]}…"
            rows.append(
                _round({"y": named, "effect": e.value, "low": e.low, "high": e.high}) | {"verdict": verdict.outcome}
            )
    measured = len(rows)
    rows = sorted(rows, key=lambda r: -r["effect"])[:most]
    x = {"field": "effect", "type": "quantitative", "axis": {"title": "damage: lost share of the logit difference"}}
    spec = {
        "data": {"values": rows},
        "width": 420,
        "height": {"step": 22},
        "encoding": {
            "y": {"field": "y", "type": "nominal", "sort": None, "axis": {"title": None, "labelLimit": 420}},
            "color": {"field": "verdict", "type": "nominal", "scale": _colours(rows), "legend": _legend()},
        },
        "layer": [
            {"mark": {"type": "rule", "color": theme.RULE}, "encoding": {"x": {"datum": 0}, "y": None, "color": None}},
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {"x": x | {"field": "low"}, "x2": {"field": "high"}},
            },
            {"mark": {"type": "point", "filled": True, "size": 70, "opacity": 1}, "encoding": {"x": x}},
        ],
    }
    title = "What each claimed site costs when it is knocked out, and what became of the claim"
    words = "; ".join(f"{r['y']}: {number(r['effect'])}, {r['verdict']}" for r in rows[:12])
    some = any(r["low"] is not None for r in rows)
    how = "; lines are t intervals on cluster means" if some else ", too few for an interval"
    caption = f"Mean knockout on the confirming prompts{how}. {CAPPED}"
    caption += f" The {most} of largest damage, of {number(measured)}." if measured > most else ""
    caption += f" Of {number(len(verdicts) - measured)} nothing is measured." if measured < len(verdicts) else ""
    return Figure("claims", title, caption, spec, f"{title}. {words}.")


def _colours(rows: Sequence[Row]) -> Row:
    there = [k for k in (*COLOURS, "not tested", "not testable") if any(r["verdict"] == k for r in rows)]
    return {"domain": there, "range": [COLOURS.get(k, theme.MUTED) for k in there]}


def _legend() -> Row:
    return {"title": None, "orient": "top"}


def _round(row: Row) -> Row:
    return {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in row.items()}
