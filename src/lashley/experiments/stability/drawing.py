"""Pictures and tables of a stability study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from lashley.core.figure import Column, Estimate, Figure, Table, number
from lashley.core.outcome import Drawing
from lashley.experiments.stability.measuring import Result
from lashley.experiments.stability.planning import Params
from lashley.experiments.stability.telling import bare, changed, component, drawn, method, plural_of
from lashley.facts.contexts import KINDS as CONTEXTS
from lashley.report.charts import DAMAGE, bars, heat
from lashley.stats.summary import cells, measured, readings

if TYPE_CHECKING:
    import pandas as pd

LABEL = 42  # characters of a prompt beside a map
LISTED = 12  # units in the table of the strongest, at least


def draw(params: Params, result: Result, table: pd.DataFrame) -> Drawing:
    """The strongest units on every prompt, the correlation under every change, and the parts of the variance."""
    rows = measured(table)
    sites = cells(rows, ["site"]).sort_values("effect", ascending=False)
    best = sites["site"].head(result.top).tolist()
    tables = (
        _changes(result),
        _units(result, sites),
        *readings(rows, rows[rows["site"] == best[0]], f"{best[0]} knocked out ({params.edit}) in the clean run"),
    )
    return Drawing((_map(params, result, rows, best), *_bars(params, result)), tables)


def _map(params: Params, result: Result, rows: pd.DataFrame, best: list[str]) -> Figure:
    """Damage of the strongest units on every prompt."""
    return heat(
        _grid(cells(rows[rows["site"].isin(best)], ["context", "template", "site"]), best),
        name="map",
        title=f"How far the {plural_of(params)} that {result.facts} needs most are the same on every prompt",
        measure=DAMAGE,
        x="site",
        y="prompt",
        panel=None,
        floor=result.noise_floor,
        of="prompts",
        about=f"the {len(best)} {plural_of(params)} of the largest mean damage, in that order; {_about(result)}",
    )


def _about(result: Result) -> str:
    return f"recall of {result.facts}, {result.basis}"


def _bars(params: Params, result: Result) -> Iterator[Figure]:
    """The rank correlation under every change, and the components of variance."""
    noun = "facts" if result.several else "prompts"
    ranked = _frame({name: change.ranks for name, change in result.changes.items()})
    if len(ranked):
        yield bars(
            ranked.assign(change=[changed(c) for c in ranked["name"]]),
            name="correlation",
            title=f"How well the ranking of {plural_of(params)} for {result.facts} survives each change",
            measure="Spearman correlation of damage over units (1 = the same ranking)",
            label="change",
            of=noun,
            about=f"means over pairs of prompts that differ in this; {_about(result)}; {method(result)}",
        )
    parts = _frame(result.variance)
    if len(parts) > 1:
        yield bars(
            parts.assign(part=[component(params, c) for c in parts["name"]]),
            name="variance",
            title=f"Whose the differences between {plural_of(params)} in recalling {result.facts} are",
            measure="share of the variance of damage between units",
            label="part",
            of=noun,
            about=f"components of variance by the moments of pairs of prompts; {_about(result)}; {method(result)}",
        )


def _changes(result: Result) -> Table:
    columns = (
        Column("change"),
        Column("changed prompts"),
        Column("ranking", "Spearman correlation"),
        Column(f"strongest {number(result.top)}", "Jaccard overlap"),
        Column("by chance", "Jaccard overlap"),
    )
    lines = tuple((changed(n), c.prompts, c.ranks, c.overlap, bare(result.chance)) for n, c in result.changes.items())
    how = method(result)
    return Table("What stays the same under which change", columns, lines, f"{how[0].upper()}{how[1:]}.")


def _units(result: Result, sites: pd.DataFrame) -> Table:
    often = f"among the strongest {number(result.top)}", "share of prompts" + " and draws" * drawn(result)
    columns = (Column("site"), Column("damage", "share of the logit difference"), Column(*often))
    lines = tuple(
        (r["site"], Estimate(r["effect"], r["low"], r["high"], r["n"]), result.often[r["site"]])
        for r in sites.head(max(LISTED, result.top)).to_dict("records")
    )
    return Table("The strongest units, and how often they are among the strongest", columns, lines)


def _grid(grid: pd.DataFrame, best: list[str]) -> pd.DataFrame:
    """Cells of context, template and site, in reading order: no context first, the strongest site first; with a short
    name of the prompt."""
    order = ("", *CONTEXTS)
    context = grid["context"].astype(object).fillna("").astype(str).tolist()
    prompt = [" · ".join(filter(None, pair)) for pair in zip(context, grid["template"].astype(str), strict=True)]
    short = {p: p if len(p) <= LABEL else p[: LABEL - 1].rstrip() + "…" for p in prompt}
    clear = len(set(short.values())) == len(short)
    grid = grid.assign(
        prompt=[short[p] if clear else p for p in prompt],
        kind=[order.index(c) if c in order else len(order) for c in context],
        rank=[best.index(s) for s in grid["site"]],
    )
    return grid.sort_values(["kind", "template", "rank"])


def _frame(estimates: Mapping[str, Estimate]) -> pd.DataFrame:
    import pandas as pd

    rows = [(c, e.value, e.low, e.high, e.n) for c, e in estimates.items() if e.value is not None]
    names = ["name", "effect", "low", "high", "n"]
    return pd.DataFrame(rows, columns=names).astype({"effect": float, "low": float, "high": float})
