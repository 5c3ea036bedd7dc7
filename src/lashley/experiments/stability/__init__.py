"""Is a fact's map the same under another paraphrase, in another context, under another corruption?

Every unit is knocked out alone on every prompt: template x context x corruption draw. The maps of damage are then
compared prompt by prompt: by rank, by their strongest units, and by where their variance is.
"""

from lashley.core.experiment import Experiment
from lashley.experiments.stability.drawing import draw
from lashley.experiments.stability.measuring import Result, measure
from lashley.experiments.stability.planning import Params, gather, plan
from lashley.experiments.stability.telling import tell

__all__ = ["EXPERIMENT", "Params", "Result"]

EXPERIMENT = Experiment(
    name="stability",
    about=__doc__,
    question="Is the map of what {model} needs to recall {facts} the same on every prompt?",
    Params=Params,
    gather=gather,
    plan=plan,
    measure=measure,
    tell=tell,
    draw=draw,
)
