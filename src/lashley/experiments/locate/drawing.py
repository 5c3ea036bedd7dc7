"""Pictures and tables of a tracing. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lashley.core.figure import Column, plain
from lashley.core.outcome import Drawing
from lashley.experiments.locate.measuring import Result, restored, single
from lashley.experiments.locate.planning import Params
from lashley.report.charts import RESTORATION, curves, heat, table_of
from lashley.stats.summary import cells, measured, readings, windows

if TYPE_CHECKING:
    import pandas as pd


def draw(params: Params, result: Result, table: pd.DataFrame) -> Drawing:
    """The layer x role map, curves by layer, and, for a single prompt, the layer x token map."""
    rows = windows(measured(table))
    cell, what = restored(rows), result.facts
    about = f"recall of {what}; over {result.basis.resting}"
    layer = "layer"
    if result.window:
        about += f" Attention and MLP outputs in windows of {result.window} layers, fewer at the ends"
        layer = "layer, or a window's middle one"
    common = {"of": "prompts", "measure": RESTORATION, "floor": result.noise_floor, "about": about, "x_title": layer}
    if single(rows):
        title = f"What each layer and token restores of {what}"
        figures = [heat(_tokens(rows), name="tokens", title=title, y="token", **common)]
    else:
        figures = [heat(cell, name="map", title=f"What each layer and role restores of {what}", **common)]
    lines = cell[cell["role"].isin(["subject_first", "subject_last", "relation", "final"])]
    title = f"What each layer restores of {what}, by position"
    figures.append(curves(lines, name="curves", title=title, panel="kind", **common))
    top = cell.sort_values("effect", ascending=False, key=abs)
    top = top[top["kind"] != "resid"] if len(params.kinds) > 1 else top
    columns = {
        "site": "site",
        "effect": Column("restored", "share of the logit difference"),
        "n": Column("n", "prompts"),
    }
    title = "The attention and MLP outputs that restore most" if len(params.kinds) > 1 else "What restores most"
    own = [column for column in ("kind", "layers", "role") if len(top)]
    edited = rows.merge(top.sort_values("effect").iloc[[-1]][own], on=own) if len(top) else None
    site = top.sort_values("effect")["site"].iloc[-1] if len(top) else ""
    beside = readings(rows, edited, f"{site} of the clean run restored into the corrupt run")
    return Drawing(tuple(figures), (table_of(top, title, columns, limit=12), *beside))


def _tokens(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean restoration of a single prompt for every kind, layer and position, with its token."""
    cell = cells(rows, ["kind", "layer", "layers", "position", "token"]).sort_values("position", kind="stable")
    named = zip(cell["layers"], cell["kind"], cell["position"], strict=True)
    token = [f"{p} {plain(str(t))}" for p, t in zip(cell["position"], cell["token"], strict=True)]
    return cell.assign(site=[f"{layers}.{kind}@{at}" for layers, kind, at in named], token=token)
