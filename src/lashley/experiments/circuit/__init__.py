"""Through which heads and MLPs, and along which edges between them, does the answer come?

Edges are scored on prompts for discovery, by gradients (EAP: Syed et al. 2310.10348; EAP-IG: Hanna et al. 2403.17806)
or by exact greedy pruning. A circuit is a set of edges; all others take the corrupt run's contribution. Its
faithfulness f = 1 - damage is measured exactly, on prompts that nothing was sought on, beside random connected
circuits of its size and the same search in an untrained copy.
"""

from lashley.core.experiment import Experiment
from lashley.experiments.circuit import files
from lashley.experiments.circuit.drawing import draw
from lashley.experiments.circuit.measuring import Result, as_file, measure
from lashley.experiments.circuit.params import Params
from lashley.experiments.circuit.planning import further, gather, plan
from lashley.experiments.circuit.telling import tell

__all__ = ["EXPERIMENT", "Params", "Result"]

EXPERIMENT = Experiment(
    name="circuit",
    about=__doc__,
    question="Through which heads, MLPs and edges between them does {model} come to {facts}?",
    Params=Params,
    gather=gather,
    plan=plan,
    measure=measure,
    tell=tell,
    draw=draw,
    further=further,
    exports={
        "circuit": lambda params, result, model: files.to_json(as_file(params, result, model)),
        "graphml": lambda params, result, model: files.graphml(as_file(params, result, model)),
    },
)
