"""Through which attention does the answer get what it needs? Attention is knocked out edge by edge, or by windows.

The logits from one position to the keys in one role become -inf, in one layer (or head) or a window of layers, and
the damage is read (Geva et al. 2304.14767, section 4). The other attention of that position takes up the weight.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec
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
from lashley.experiments import at_least, pairs
from lashley.report.charts import DAMAGE, bars, curves, heat, table_of
from lashley.stats.basis import Basis, basis
from lashley.stats.summary import (
    against,
    cells,
    estimate,
    facts,
    floor,
    measured,
    percent,
    readings,
    share,
    width,
    windows,
)

if TYPE_CHECKING:
    import pandas as pd


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


class Cut(msgspec.Struct, frozen=True):
    """The attention to one role, in one layer, window of layers or head, and what its loss costs.

    Attributes
    ----------
    site
        Its address, as "L3.attn@final to subject_last", "L2-4.attn@..." for a window, or "L3.attn.h1@..." for a head.
    keys
        The role that may not be attended to.
    layers
        The first and the last layer, the same where it is a single one.
    head
        Which head; None for all of a layer.
    damage
        Mean over prompts, a share of the logit difference; n is prompts.
    """

    site: str
    keys: str
    layers: tuple[int, int]
    head: int | None
    damage: Estimate


class Result(msgspec.Struct, frozen=True):
    """What cutting off attention comes to. Damage is (LD_clean - LD_edited) / (LD_clean - LD_corrupt), a share of the
    logit difference: 0 as with all attention, 1 as in the corrupt run, below 0 where recall gains.

    Attributes
    ----------
    facts
        What is recalled, in words.
    basis
        Which prompts the means and intervals rest on.
    noise_floor
        Largest damage by an edit that changes nothing, a share; smaller ones say nothing.
    window
        How many layers were cut together, those at the ends apart; 0 for single ones.
    cells
        How many roles by layers, windows or heads there are.
    strongest
        The one whose loss costs most, chosen on the same prompts.
    opposite
        The one that does more, the other way; None where there is none.
    """

    facts: str
    basis: Basis
    noise_floor: float
    window: int
    cells: int
    strongest: Cut
    opposite: Cut | None


def measure(params: Params, table: pd.DataFrame, arrays: Arrays) -> Result:
    """The attention whose loss costs most."""
    rows = measured(table)
    cell = _cells(params, rows)
    strongest = cell.sort_values("effect").iloc[-1]
    other = against(cell, strongest)
    return Result(
        facts=facts(rows),
        basis=basis(rows),
        noise_floor=floor(rows),
        window=width(cell),
        cells=len(cell),
        strongest=_cut(params, strongest),
        opposite=None if other is None else _cut(params, other),
    )


def _cut(params: Params, row: pd.Series) -> Cut:
    ends = str(row["layers"])[1:].split("-")
    head = int(row["unit"]) if params.units == "heads" else None
    return Cut(row["site"], row["keys"], (int(ends[0]), int(ends[-1])), head, estimate(row))


def tell(params: Params, result: Result) -> Outcome:
    """The attention whose loss costs most, and what the intervention cannot tell."""
    what, strongest = result.facts, result.strongest
    found, at = strongest.damage, _words(params.at)
    sentence = (
        f"The recall of {what} loses most, {percent(found)}, when the {at} may not attend to the "
        f"{_words(strongest.keys)} in {_where(strongest)}"
    )
    if found.value is not None and found.value <= 0:
        sentence = f"No attention of the {at} that was knocked out costs the recall of {what} anything"
    if (other := result.opposite) is not None:
        sentence += (
            f"; not to attend to the {_words(other.keys)} in {_where(other)} does more, the other way: a damage of "
            f"{share(other.damage)}, so recall gains"
        )
    over = (
        f"Attention logits set to -inf, over {result.basis.resting} It is the largest of {result.cells} cells, chosen "
        "on the same prompts."
    )
    least = Estimate(result.noise_floor)
    controls = (Control("identity edit", least, "the numerical noise floor; smaller effects say nothing"),)
    caveats = [
        "What is cut off may reach the position by other layers, heads or positions: no damage is not proof of no use.",
        "The weights that remain are renormalised, so the position also attends more to everything else.",
    ]
    if result.window:
        caveats.append(
            f"Windows of {result.window} layers were cut together; windows alone can make a peak. Those that the first "
            "or the last layer cuts off have fewer layers, and are cells of their own."
        )
    not_tested = ("What the attended values carry (see locate), and damage to other facts and to unrelated text.",)
    return Outcome((Finding(f"{sentence}.", found, over),), controls, tuple(caveats), not_tested)


def draw(params: Params, result: Result, table: pd.DataFrame) -> Drawing:
    """The map of roles by layers, or of heads by layers for each role, and the strongest."""
    rows = measured(table)
    cell = _cells(params, rows)
    what = result.facts
    window = f" in windows of {result.window} layers, fewer at the ends" if result.window else ""
    over = result.basis.resting
    about = f"attention from the {_words(params.at)} knocked out{window}; recall of {what}; over {over}"
    layer = "layer in the middle of the window" if window else "layer"
    common = {"of": "prompts", "measure": DAMAGE, "floor": result.noise_floor, "about": about}
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


def _where(cut: Cut) -> str:
    first, last = cut.layers
    if cut.head is not None:
        return f"head {cut.head} of layer {first}"
    return f"layers {first} to {last}" if first < last else f"layer {first}"


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
    question="Through which attention does {model} fetch what it needs to recall {facts}?",
    Params=Params,
    gather=pairs,
    plan=plan,
    measure=measure,
    tell=tell,
    draw=draw,
)
