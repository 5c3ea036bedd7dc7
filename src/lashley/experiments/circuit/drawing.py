"""A circuit in pictures: itself, its faithfulness by size, and how well its edges were estimated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lashley.core.figure import Column, Estimate, Figure, Table, number
from lashley.core.outcome import Drawing
from lashley.experiments.circuit import rounds
from lashley.experiments.circuit.measuring import Result
from lashley.experiments.circuit.params import Params
from lashley.experiments.circuit.reading import NAMED, STABLE, Found, confirming, read
from lashley.report.charts import DAMAGE, circuits, curves, scatter, table_of
from lashley.stats.recognised import OPERATIONS
from lashley.stats.summary import measured, prompts, readings

if TYPE_CHECKING:
    import pandas as pd


def draw(params: Params, result: Result, table: pd.DataFrame) -> Drawing:
    """The circuit, its faithfulness by size beside random ones, and how well edges were estimated."""
    rows = measured(table)
    found, what = read(rows, params.least), result.facts
    own = rows[rows["copy"].isna()]
    n, confirmed = prompts(own if len(own) else rows), confirming(own)
    figures = (
        picture(found, result.named, what, n),
        faithfulness(found, what, prompts(confirmed) if len(confirmed) else n),
        estimates(found, what, n),
    )
    tables = (edges(found, what), does(result))
    return Drawing(tuple(f for f in figures if f), (*_readings(confirmed, found), *(t for t in tables if t)))


def _readings(rows: pd.DataFrame, found: Found) -> tuple[Table, ...]:
    """What faithfulness is a share of, and what the circuit alone makes of the readout."""
    own = rows[rows["measure"] == rounds.CURVE]
    if not len(own):
        return ()
    best = own.iloc[:0] if found.best is None else own[own["trial"] == found.best["trial"]]
    return readings(own, best, "every edge outside the circuit patched")


def picture(found: Found, operations: Mapping[str, tuple[str, ...]], what: str, n: str) -> Figure | None:
    """The reported circuit, with what its heads do; `n` says on how many prompts its edges were patched."""
    if found.edges.empty or found.edges["effect"].isna().all():
        return None
    edges = [
        circuits.Drawn(
            e["source"], e["own"], e["target"][len(e["own"]) + 1 :], float(e["effect"]),
            not e["stability"] < STABLE, str(Estimate(e["effect"], e["low"], e["high"])),
        )
        for e in found.edges.dropna(subset=["effect"]).to_dict("records")
    ]  # fmt: skip
    there = found.exists is not None and bool(found.exists.there)
    through = f"Through these heads and MLPs the model comes to {what}"
    title = through if there else f"The strongest edges for {what} are not shown to be a circuit"
    size = int(found.best["size"]) if found.best is not None else found.cut
    about = f"Every edge patched alone, {n}"
    about += f"; the {number(found.cut)} strongest of the circuit's {number(size)}" if found.cut < size else ""
    return circuits.picture(edges, operations, name="circuit", title=title, about=about)


def faithfulness(found: Found, what: str, n: str) -> Figure | None:
    """How much circuits of each size keep, beside random ones and those of other answers."""
    import pandas as pd

    kept = found.curve.dropna(subset=["effect"])
    if len(kept) < 2:
        return None
    kept = kept[kept["size"] > 0].drop_duplicates("size")
    if len(kept) < 2:
        return None
    x = kept["size"].astype(int)
    series = {
        "circuit": ("effect", "low", "high", "n"),
        "random connected circuits": ("chance", "chance_low", "chance_high"),
    }
    series |= {"circuit of other prompts' answers": ("shuffled",)} if kept["shuffled"].notna().any() else {}
    lines = []
    for name, columns in series.items():
        part = pd.DataFrame({"edges": x, "series": name})
        for own, column in zip(("effect", "low", "high", "n"), columns, strict=False):
            part[own] = kept[column]
        lines.append(part.dropna(subset=["effect"]))
    frame = pd.concat(lines, ignore_index=True).sort_values(["series", "edges"])
    return curves(
        frame, name="faithfulness", title=f"How much of {what} circuits of each size keep",
        measure="faithfulness (0 = corrupt run, 1 = the whole model)", x="edges", by="series",
        x_title=f"edges in the circuit, of {number(found.total)} (log scale)", muted=list(series)[1:], log=True,
        about=f"Circuits of the ten sizes, but those of no edge, {n} that nothing was sought on; shaded: of the "
        f"circuit its t interval, of random ones the range of {rounds.DRAWS}",
    )  # fmt: skip


def estimates(found: Found, what: str, n: str) -> Figure | None:
    """What patching an edge does against what gradients said."""
    kept = found.singles.dropna(subset=["estimate", "effect"])
    if len(kept) < 3:
        return None
    return scatter(
        kept, name="estimates", title=f"How well gradients estimated the edges that {what} needs",
        measure=DAMAGE, x_title=f"estimated: {DAMAGE}",
        about=f"The {number(len(kept))} edges of largest estimate, each patched alone, {n}",
    )  # fmt: skip


def does(result: Result) -> Table | None:
    """What the circuit's heads are recognised to do, beside what untrained copies reach by chance."""
    if not result.operations:
        return None
    columns = (Column("head"), Column("operation"), Column("score"), Column("untrained, at most"), Column("written"))
    rows = tuple(
        (d.head, f"{d.operation}: {OPERATIONS[d.operation]}", d.score, d.bound, "yes" if d.named else "")
        for d in result.operations
    )
    note = (
        "Scores: attention (previous token, duplicate token, induction, subject to final), share of tokens (copying), "
        "standard deviations (attribute extraction). “Untrained, at most”: what no head of 19 in 20 untrained models "
        f"exceeds. Written under a head in the picture: the {NAMED} that do it most, unless most of the circuit do."
    )
    return Table("What heads of the circuit do", columns, rows, note)


def edges(found: Found, what: str) -> Table | None:
    """The circuit's edges; without a circuit the strongest ones."""
    site, damage = "edge", Column("damage when patched alone", "share of the logit difference")
    if len(found.edges):
        strongest = found.edges.sort_values("effect", key=abs, ascending=False)
        columns = {
            "site": site,
            "effect": damage,
            "needed": Column("what the circuit loses without it", "share of the logit difference"),
            "stability": Column("in the circuit", "share of resamples"),
        }
        size = int(found.best["size"]) if found.best is not None else found.cut
        some = f"The {number(found.cut)} strongest of {number(size)} edges" if found.cut < size else "The edges"
        return table_of(strongest, f"{some} of the circuit for {what}", columns, limit=20)
    if found.singles.empty:
        return None
    top = found.singles.sort_values("effect", key=abs, ascending=False)
    return table_of(top, f"The strongest edges for {what}", {"site": site, "effect": damage}, limit=20)
