"""Pictures and tables of a spread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lashley.core.figure import Column, Figure, Table, number
from lashley.core.outcome import Drawing
from lashley.experiments.spread.measuring import Rows
from lashley.experiments.spread.planning import MATCHED, RANDOM, UNITS, Params, name
from lashley.experiments.spread.result import Result
from lashley.experiments.spread.search import TAUS
from lashley.experiments.spread.telling import where
from lashley.report.charts import DAMAGE, curves, heat, ranks
from lashley.stats.summary import CAP, cells, floor, readings

if TYPE_CHECKING:
    import pandas as pd


def draw(params: Params, result: Result, table: pd.DataFrame) -> Drawing:
    """Damage against the number of units, single effects by rank, and the interference of facts."""
    rows, units = Rows(table), UNITS[params.units]
    about = f"{params.edit} knockout at all positions"
    tables = (*_readings(params, result, rows), *_smallest(result), _strongest(result))
    if result.screening is not None and result.screening.table:
        tables += (result.screening.table,)
    return Drawing(tuple(_figures(result, rows, units, about)), tables)


def _figures(result: Result, rows: Rows, units: str, about: str) -> Iterator[Figure]:
    if result.curve:
        yield curves(
            _curves(rows), name="curve", measure=DAMAGE, x="size", by="which", log=True,
            title=f"How the recall of {result.facts} goes as more {units} are silenced together",
            x_title=f"{units} silenced together, of {number(result.population)} (log scale)",
            muted=(RANDOM, MATCHED),
            about=f"{about}, {where(result)}; strongest first, and last those that hinder. {CAP}",
        )  # fmt: skip
    yield ranks(
        rows.alone, name="ranks", measure=DAMAGE, floor=floor(rows.main),
        about=f"{about}, on the search prompts. {CAP}",
        title=f"What each of {number(result.among)} {units} costs the recall of {result.facts} alone",
    )  # fmt: skip
    if result.interference:
        yield heat(
            rows.interference, name="interference", measure=DAMAGE, x="recalled", y="silenced", panel=None,
            title=f"What silencing the {units} of {result.facts}, or of a fact beside it, does to the recall of each",
            about=f"{about}: each fact's smallest set that was found to cost half of its recall, here on each "
            f"fact's confirming prompts. {CAP}",
        )  # fmt: skip


def _curves(rows: Rows) -> pd.DataFrame:
    """Damage by the number of units: the strongest first, and random sets."""
    import pandas as pd

    series = {"strongest first": rows.of("curve"), **{c: rows.of("curve", c) for c in (RANDOM, MATCHED)}}
    return pd.concat([cells(r, ["size"]).assign(which=words) for words, r in series.items() if len(r)])


def _readings(params: Params, result: Result, rows: Rows) -> tuple[Table, ...]:
    """What effects are shares of, and what silencing the smallest set makes of the readout."""
    half = name("damage", TAUS[0])
    found, smallest = result.k_n.get(f"{TAUS[0]:g}"), rows.of("smallest")
    size = f"{number(found.units)} of {number(result.population)} {UNITS[params.units]}" if found else ""
    edited = smallest[smallest["set"] == half]
    return readings(rows.confirm, edited, f"{params.edit} knockout of {half}, {size}")


def _smallest(result: Result) -> Iterator[Table]:
    """The smallest sets; nothing where none was found."""
    found = [(name("damage", float(tau)), one) for tau, one in result.k_n.items()]
    found += [(name("restoration", float(tau)), one) for tau, one in result.k_s.items()]
    columns = (
        Column("set"),
        Column("units"),
        Column("at least", "units"),
        Column("confirmed effect", "share"),
        Column("random sets", "share"),
        Column("matched sets", "share"),
        Column("which"),
    )
    note = (
        "k_n: the smallest set whose knockout costs that share on the search prompts; k_s: whose restoration "
        f"brings it back there. The confirmed effect is {where(result)}; random and matched sets: mean, 95% range. "
        f"“At least” is what exhaustion proves among the units searched. {CAP}"
    )
    lines = tuple(
        (what, s.units, s.least, s.effect, s.random and s.random.effect, s.matched and s.matched.effect, s.sites)
        for what, s in found
    )
    if lines:
        yield Table("The smallest sets that were found", columns, lines, note)


def _strongest(result: Result) -> Table:
    columns = (Column("site"), Column("damage", "share"), Column("restoration", "share"))
    lines = tuple((unit.site, unit.damage, unit.restoration) for unit in result.top)
    return Table("The strongest single units, on the search prompts", columns, lines)
