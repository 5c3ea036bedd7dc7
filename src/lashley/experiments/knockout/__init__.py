"""What does recall need? Units are knocked out one at a time, or as a named set, and the damage is read.

D = (LD_clean - LD_edited) / (LD_clean - LD_corrupt). Zero ablation alone is never evidence: it takes the model
off its data and makes decoys look necessary (Li & Janson 2409.09951); compare with mean and resample.

Many units can be screened: gradients estimate every one's damage, the highest are measured exactly, and a random
sample of the others tells what the screen may have missed.
"""

from lashley.core.experiment import Experiment
from lashley.experiments.knockout.drawing import draw
from lashley.experiments.knockout.measuring import Beside, Result, Unit, measure
from lashley.experiments.knockout.planning import RANDOM, Params, gather, plan, screen, settled
from lashley.experiments.knockout.telling import tell

__all__ = ["EXPERIMENT", "RANDOM", "Beside", "Params", "Result", "Unit", "plan", "screen"]

EXPERIMENT = Experiment(
    name="knockout",
    about=__doc__,
    question="What does {model} need in order to recall {facts}?",
    Params=Params,
    gather=gather,
    plan=plan,
    measure=measure,
    tell=tell,
    draw=draw,
    settled=settled,
)
