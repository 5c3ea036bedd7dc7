"""Which layer's attention can be left out? It is silenced at all positions, and the damage is read."""

from dataclasses import dataclass

import msgspec

from lashley import Estimate, Sweep, Zero
from lashley.core.experiment import Experiment
from lashley.core.figure import Control, Finding
from lashley.core.outcome import Drawing, Outcome
from lashley.core.site import KINDS, Sites
from lashley.experiments import pairs
from lashley.report.charts import DAMAGE, bars, table_of
from lashley.stats.summary import cells, estimate, facts, floor, measured, percent


@dataclass(frozen=True)
class Params:
    """How recall is destroyed.

    Parameters
    ----------
    corruption
        "replace" the subject by another, or "noise" on its embeddings.
    draws
        Corruptions of each prompt.
    """

    corruption: str = "replace"
    draws: int = 1


class Result(msgspec.Struct, frozen=True):
    """What recall is `about`, the `layer` that costs least, its `damage`, and the `least` that can be told (shares)."""

    about: str
    layer: str
    damage: Estimate
    least: float


def plan(params, material):
    sites = Sites.pack(range(material.anatomy.layers), KINDS.index("attn"))
    return [Sweep(c.clean, c.corrupt, "damage", (Zero(),), sites, c.readout, c.labels()) for c in material.cases]


def measure(params, table, arrays):
    best = cells(measured(table), ["site"]).sort_values("effect").iloc[0]
    return Result(facts(measured(table)), str(best["site"]), estimate(best), floor(measured(table)))


def tell(params, result):
    said = f"Without {result.layer} the recall of {result.about} loses least: {percent(result.damage)}."
    noise = Control("identity edit", Estimate(result.least), "the numerical noise floor")
    return Outcome((Finding(said, result.damage, "Mean over prompts."),), (noise,))


def draw(params, result, table):
    each, title = cells(measured(table), ["site"]), f"What each layer costs the recall of {result.about}"
    shown = table_of(each, title, {"site": "layer", "effect": "damage"})
    return Drawing((bars(each, name="layers", title=title, measure=DAMAGE),), (shown,))


EXPERIMENT = Experiment("skip", __doc__, "What can {model} skip of {facts}?", Params, pairs, plan, measure, tell, draw)
