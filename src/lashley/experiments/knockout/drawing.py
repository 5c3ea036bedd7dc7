"""Pictures and tables of a knockout. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from lashley.core.figure import Column, Figure
from lashley.core.outcome import Drawing
from lashley.experiments.knockout.measuring import Result, damages, guessed, joint, strongest
from lashley.experiments.knockout.planning import KIND_OF, Params, joined, where, word
from lashley.report.charts import DAMAGE, bars, heat, ranks, scatter, table_of
from lashley.stats.screening import compared
from lashley.stats.summary import measured, readings

if TYPE_CHECKING:
    import pandas as pd


def draw(params: Params, result: Result, table: pd.DataFrame) -> Drawing:
    """Bars of the strongest units, the named set before its controls, and the map or the ranking of all of them."""
    rows = measured(table)
    own = rows[rows["control"] == ""]
    cell = damages(params, own)
    whole = params.units in KIND_OF
    best = strongest(cell) if whole else joint(params, cell)
    columns = {
        "site": "site",
        "effect": Column("damage", "share of the logit difference"),
        "n": Column("n", "prompts"),
    }
    top = cell.sort_values("effect", ascending=False, key=abs)
    tables = [table_of(top, "The strongest effects", columns, limit=12)]
    if result.screening is not None and result.screening.table:
        tables.append(result.screening.table)
    if best is not None:
        done = f"{best['site'] if whole else joined(params)} knocked out ({params.edit}) in the clean run"
        tables += readings(rows, own[own["trial"] == best["trial"]], done)
    else:
        tables += readings(rows)
    return Drawing(tuple(_figures(params, result, rows, cell, best)), tuple(tables))


def _figures(
    params: Params, result: Result, rows: pd.DataFrame, cell: pd.DataFrame, best: pd.Series | None
) -> list[Figure]:
    what = result.facts
    common = {
        "of": "prompts",
        "measure": DAMAGE,
        "floor": result.noise_floor,
        "about": f"{params.edit} knockout of {what}, at {where(params)}; over {result.basis.resting}",
    }
    shown = cell
    if best is not None and result.chance is not None:
        damage = result.chance.damage
        band = zip(("control", "control_low", "control_high"), msgspec.structs.astuple(damage), strict=False)
        shown = cell.assign(**{name: np.where(cell["trial"] == best["trial"], x, np.nan) for name, x in band})
    figures = [bars(shown, name="bars", title=f"What each knockout costs the recall of {what}", **common)]
    if params.units == "heads":
        heads = f"Which heads the recall of {what} needs"
        figures.append(heat(cell.assign(head=cell["unit"]), name="heads", title=heads, y="head", panel=None, **common))
    elif params.units == "layers":
        layers = f"Which layers' outputs the recall of {what} needs"
        figures.append(heat(cell, name="layers", title=layers, y="kind", panel=None, **common))
    elif len(cell) > 30:
        every = "every confirmed unit's" if params.screen else "every unit's"
        all_units = f"Few or many: {every} damage to the recall of {what}, by rank"
        figures.append(ranks(cell, name="ranks", title=all_units, **common))
    if params.screen:
        guesses = f"How well gradients ranked the {word(params)} that the recall of {what} needs"
        about = {**common, "about": f"{common['about']} Beside its first-order estimate"}
        both = compared(*guessed(params, rows))
        estimated = f"estimated by gradients: {DAMAGE}"
        figures.append(scatter(both, name="screen", title=guesses, x_title=estimated, by="chosen", **about))
    return figures
