"""Where does recall pass through? Causal tracing over layers, positions and sub-layers.

One activation of the clean run is restored into the corrupted run, and the logit difference read
(Meng et al. 2022, section 2; symmetric token replacement as in Zhang & Nanda 2309.16042).
"""

from lashley.core.experiment import Experiment
from lashley.experiments import pairs
from lashley.experiments.locate.drawing import draw
from lashley.experiments.locate.measuring import Carrier, Handover, Restored, Result, measure
from lashley.experiments.locate.planning import Params, plan
from lashley.experiments.locate.telling import tell

__all__ = ["EXPERIMENT", "Carrier", "Handover", "Params", "Restored", "Result", "plan"]

EXPERIMENT = Experiment(
    name="locate",
    about=__doc__,
    question="Through which layers and positions does the recall of {facts} pass in {model}?",
    Params=Params,
    gather=pairs,
    plan=plan,
    measure=measure,
    tell=tell,
    draw=draw,
)
