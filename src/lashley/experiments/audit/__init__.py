"""Does a claim hold? `L4.mlp.n173 stores capital(France)` goes in, a verdict with its evidence comes out.

Claims and thresholds are frozen before anything is measured. Every claim about one topic shares its prompts, and all
claims share one sweep; the verdict is a pure function of the ledger (see `lashley.claims`).
"""

from lashley.core.experiment import Experiment
from lashley.experiments.audit.drawing import draw
from lashley.experiments.audit.measuring import Result, again, evidence, measure, verdicts
from lashley.experiments.audit.params import Params, asks, frozen, settled, title
from lashley.experiments.audit.planning import gather, plan
from lashley.experiments.audit.telling import tell

__all__ = ["EXPERIMENT", "Params", "Result", "again", "asks", "evidence", "frozen", "verdicts"]

EXPERIMENT = Experiment(
    name="audit",
    about=__doc__,
    question="What becomes of {facts} in {model}?",
    Params=Params,
    gather=gather,
    plan=plan,
    measure=measure,
    tell=tell,
    draw=draw,
    topic=title,
    asks="claims",
    settled=settled,
)
