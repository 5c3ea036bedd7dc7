"""Through which attention does the answer get what it needs? Attention is knocked out edge by edge, or by windows.

The logits from one position to the keys in one role become -inf, in one layer (or head) or a window of layers, and
the damage is read (Geva et al. 2304.14767, section 4). The other attention of that position takes up the weight.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from lashley.core.anatomy import Anatomy
from lashley.core.case import Material
from lashley.core.edit import Block
from lashley.core.errors import BadSite
from lashley.core.experiment import Arrays, Experiment
from lashley.core.figure import Column, Control, Estimate, Finding
from lashley.core.outcome import Drawing, Outcome
from lashley.core.site import KINDS, ROLES, Site, Sites
from lashley.core.trial import Sweep
from lashley.experiments import at_least, pairs, unsplit
from lashley.report.charts import DAMAGE, bars, curves, heat, table_of
from lashley.stats.summary import (
    against,
    cells,
    estimate,
    facts,
    floor,
    measured,
    percent,
    readings,
    resting,
    share,
    width,
    windows,
)

if TYPE_CHECKING:
    import pandas as pd

QUESTION = "Through which attention does {model} fetch what it needs to recall {facts}?"


@dataclass(frozen=True)
class Params:
    """Which attention is knocked out.

    Parameters
    ----------
    at
        The role of the position that may no longer attend: "final", or another such as "subject_last".
    units
        "layers": all heads of a layer at once; "heads": each head alone.
    window
        Knock out this many layers at once; 1 is a single layer. Windows make peaks.
    corruption
        How the corrupted run, which is damage 1, is made: "replace" the subject, or "noise" on its embeddings.
    draws
        Corruptions of each prompt: other foils, or other noise.
    """

    at: str = "final"
    units: Literal["layers", "heads"] = "layers"
    window: int = 1
    corruption: Literal["replace", "noise"] = "replace"
    draws: int = 1

    def __post_init__(self) -> None:
        at_least(1, window=self.window, draws=self.draws)
        if self.at not in (*ROLES, "subject"):
            raise BadSite(f"--at {self.at!r}: write {', '.join(ROLES)} or subject")
        if self.units == "heads" and self.window > 1:
            raise BadSite("a window is of whole layers; write --units layers, or --window 1")


def plan(params: Params, material: Material) -> Iterable[Sweep]:
    """One sweep a case and role of keys, each position under its one role: every layer, or every head."""
    for case in material.cases:
        queries = [int(s.position) for s in case.clean.resolve(Site(0, "attn", None, params.at))]  # pyright: ignore[reportArgumentType]
        for role in ROLES:
            keys = tuple(k for k in range(max(queries) + 1) if case.clean.role(k) == role)
            if keys:
                yield Sweep(
                    clean=case.clean,
                    corrupt=case.corrupt,
                    effect="damage",
                    edits=(Block(keys),),
                    sites=_sites(params, material.anatomy, queries),
                    readout=case.readout,
                    labels=case.labels(keys=role, window=str(params.window)),
                )


def _sites(params: Params, anatomy: Anatomy, queries: list[int]) -> Sites:
    """Windows about every layer, fewer layers at the ends; or every head; at all the query positions."""
    if params.units == "heads":
        sets = [([layer], unit) for layer in range(anatomy.layers) for unit in range(anatomy.heads)]
    else:
        sets = []
        for layer in range(anatomy.layers):
            first = layer - (params.window - 1) // 2
            sets.append(([la for la in range(first, first + params.window) if 0 <= la < anatomy.layers], -1))
    flat = [(la, unit, at) for layers, unit in sets for la in layers for at in queries]
    layer, unit, position = np.array(flat).T
    kind = KINDS.index("head" if params.units == "heads" else "attn")
    return Sites.pack(layer, kind, unit, position, sizes=[len(layers) * len(queries) for layers, _ in sets])


def judge(params: Params, table: pd.DataFrame, arrays: Arrays) -> Outcome:
    """The attention whose loss costs most, and what the attention to each role costs at its worst."""
    rows = measured(table)
    cell = _cells(params, rows)
    what, least = facts(rows), floor(rows)
    basis = f"Attention logits set to -inf, over {resting(rows)}"
    strongest = cell.sort_values("effect").iloc[-1]
    found = estimate(strongest)
    sentence = (
        f"The recall of {what} loses most, {percent(found)}, when the {_words(params.at)} may not attend to the "
        f"{_words(strongest['keys'])} in {_where(params, strongest)}"
    )
    if found.value is not None and found.value <= 0:
        sentence = f"No attention of the {_words(params.at)} that was knocked out costs the recall of {what} anything"
    if (other := against(cell, strongest)) is not None:
        sentence += (
            f"; not to attend to the {_words(other['keys'])} in {_where(params, other)} does more, the other way: a "
            f"damage of {share(estimate(other))}, so recall gains"
        )
    chosen = f"{basis} It is the largest of {len(cell)} cells, chosen on the same prompts."
    controls = (Control("identity edit", Estimate(least), "the numerical noise floor; smaller effects say nothing"),)
    caveats = [
        "What is cut off may reach the position by other layers, heads or positions: no damage is not proof of no use.",
        "The weights that remain are renormalised, so the position also attends more to everything else.",
    ]
    if wide := width(cell):
        caveats.append(
            f"Windows of {wide} layers were cut together; windows alone can make a peak. Those that the first "
            "or the last layer cuts off have fewer layers, and are cells of their own."
        )
    not_tested = ("What the attended values carry (see locate), and damage to other facts and to unrelated text.",)
    return Outcome((Finding(f"{sentence}.", found, chosen),), controls, tuple(caveats), not_tested)


def draw(params: Params, table: pd.DataFrame, arrays: Arrays) -> Drawing:
    """The map of roles by layers, or of heads by layers for each role, and the strongest."""
    rows = measured(table)
    cell = _cells(params, rows)
    what = facts(rows)
    window = f" in windows of {wide} layers, fewer at the ends" if (wide := width(cell)) else ""
    about = f"attention from the {_words(params.at)} knocked out{window}; recall of {what}; over {resting(rows)}"
    layer = "layer in the middle of the window" if window else "layer"
    common = {"of": "prompts", "measure": DAMAGE, "floor": floor(rows), "about": about}
    cell["role"] = cell["keys"]
    if params.units == "heads":
        title = f"Which heads fetch {what}, and from where"
        figures = [heat(cell.assign(head=cell["unit"]), name="heads", title=title, y="head", panel="keys", **common)]
        figures.append(bars(cell, name="bars", title=f"What each head's attention is worth to {what}", **common))
    else:
        title = f"What {what} loses without the attention to each role"
        figures = [heat(cell, name="map", title=title, panel=None, x_title=layer, **common)]
        lines = f"In which layers {what} needs the attention to each role"
        figures.append(curves(cell, name="curves", title=lines, x_title=layer, **common))
    columns = {
        "site": "attention",
        "effect": Column("damage", "share of the logit difference"),
        "n": Column("n", "prompts"),
    }
    top = cell.sort_values("effect", ascending=False, key=abs)
    best = cell.sort_values("effect").iloc[[-1]]
    edited = _named(params, rows).merge(best[["site"]].rename(columns={"site": "cell"}), on="cell")
    beside = readings(rows, edited, f"{best['site'].iloc[0]} knocked out in the clean run")
    return Drawing(tuple(figures), (table_of(top, "The attention that matters most", columns, limit=12), *beside))


def _named(params: Params, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the layer that each is about, and the address of its `cell`; windows of the same layers are one."""
    rows = windows(rows, about=rows["trial"])
    head = [f".h{u}" for u in rows["unit"]] if params.units == "heads" else [""] * len(rows)
    named = zip(rows["layers"], head, rows["keys"], strict=True)
    rows = rows.assign(cell=[f"{layers}.attn{h}@{params.at} to {keys}" for layers, h, keys in named])
    return rows.assign(layer=rows.groupby("cell", observed=True)["layer"].transform("min"))


def _cells(params: Params, rows: pd.DataFrame) -> pd.DataFrame:
    """Mean damage for every role of keys and layer, window or head, with its address."""
    by = ["cell", "keys", "layer", "layers", *(["unit"] if params.units == "heads" else [])]
    return cells(_named(params, rows), by).rename(columns={"cell": "site"})


def _where(params: Params, row: pd.Series) -> str:
    if params.units == "heads":
        return f"head {row['unit']} of layer {row['layer']}"
    first, *last = str(row["layers"])[1:].split("-")
    return f"layers {first} to {last[0]}" if last else f"layer {first}"


def _words(role: str) -> str:
    """A role as a noun.

    >>> _words("final"), _words("subject_last"), _words("relation")
    ('final token', 'last subject token', 'relation tokens')
    """
    known = {"subject_first": "first subject token", "subject_last": "last subject token", "final": "final token"}
    return known.get(role, {"begin": "beginning of the text"}.get(role, f"{role.replace('_', ' ')} tokens"))


EXPERIMENT = Experiment(
    name="attention",
    about=__doc__,
    question=QUESTION,
    Params=Params,
    gather=pairs,
    plan=plan,
    **unsplit(judge, draw),
    topic=lambda params, rows: facts(rows),
)
