"""How spread out is a fact? The smallest sets of units whose joint knockout destroys its recall, or whose joint
restoration brings it back; beside random sets of the same size, disjoint sets, self-repair, and other facts.

Sets are searched on some prompts and confirmed on others. Joint effects are measured, never added up.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lashley.core.case import Estimated, Material
from lashley.core.experiment import Arrays, Experiment
from lashley.core.outcome import Drawing, Outcome
from lashley.core.trial import Sweep
from lashley.experiments.spread import drawing, measuring, planning, rounds, telling, weights
from lashley.experiments.spread.planning import Params
from lashley.experiments.spread.result import Result
from lashley.experiments.spread.weights import Removal

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EXPERIMENT", "Params", "Removal", "Result"]


def plan(params: Params, material: Material) -> Iterable[Sweep | Estimated]:
    """The first round of a search among units, or copies without single weights."""
    return (weights if params.units == "weights" else planning).plan(params, material)


def measure(params: Params, table: pd.DataFrame, arrays: Arrays) -> Result | Removal:
    """A `Result` of units, or a `Removal` of single weights."""
    return (weights if params.units == "weights" else measuring).measure(params, table, arrays)


def tell(params: Params, result: Result | Removal) -> Outcome:
    """What is said of either."""
    return weights.tell(params, result) if isinstance(result, Removal) else telling.tell(params, result)


def draw(params: Params, result: Result | Removal, table: pd.DataFrame) -> Drawing:
    """Pictures and tables of either."""
    return weights.draw(params, result, table) if isinstance(result, Removal) else drawing.draw(params, result, table)


EXPERIMENT = Experiment(
    name="spread",
    about=__doc__,
    question="How spread out is what {model} needs in order to recall {facts}?",
    Params=Params,
    gather=planning.gather,
    plan=plan,
    measure=measure,
    tell=tell,
    draw=draw,
    topic=lambda params, rows: measuring.asked(rows),
    further=rounds.further,
)
