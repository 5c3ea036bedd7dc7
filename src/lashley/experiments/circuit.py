"""Through which heads and MLPs, and along which edges between them, does the answer come?

Edges are scored on prompts for discovery, by gradients (EAP: Syed et al. 2310.10348; EAP-IG: Hanna et al. 2403.17806)
or by exact greedy pruning. A circuit is a set of edges; all others take the corrupt run's contribution. Its
faithfulness f = 1 - damage is measured exactly, on prompts that nothing was sought on, beside random connected
circuits of its size and the same search in an untrained copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from lashley.circuits import files, planning, rounds
from lashley.core.anatomy import Anatomy
from lashley.core.case import Estimated, Material
from lashley.core.errors import BadCircuit
from lashley.core.graph import Graph
from lashley.core.outcome import Drawing, Outcome
from lashley.core.site import Kind, Site
from lashley.core.trial import Sweep
from lashley.experiments import at_least

if TYPE_CHECKING:
    import pandas as pd

QUESTION = "Through which heads, MLPs and edges between them does {model} come to {facts}?"


@dataclass(frozen=True)
class Params:
    """How the circuit is sought and examined.

    Parameters
    ----------
    method
        "eap-ig" or "eap" (gradients), or "exact": greedy pruning, every removal measured.
    steps
        Steps of EAP-IG between the corrupt and the clean embeddings.
    exact
        Patch so many of the strongest edges one by one; of a circuit at most so many edges are taken out one by one.
    neurons
        Draw out so many MLP neurons as nodes, those of largest attribution.
    least
        Faithfulness that the reported circuit has to keep on the prompts for discovery.
    rivals
        Random connected circuits of the reported circuit's size.
    circuit
        A circuit made before, as a file: nothing is sought, it is run on these prompts.
    corruption
        How the corrupted run is made: "replace" the subject, or "noise" on its embeddings.
    draws
        Corruptions of each prompt: other foils, or other noise.
    seed
        Seed of random circuits and subsets, and of noise.
    """

    method: Literal["eap-ig", "eap", "exact"] = "eap-ig"
    steps: int = 5
    exact: int = 200
    neurons: int = 0
    least: float = 0.8
    rivals: int = 39
    circuit: tuple[str, ...] = ()
    corruption: Literal["replace", "noise"] = "replace"
    draws: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, exact=self.exact, draws=self.draws)
        at_least(0, neurons=self.neurons)
        at_least(19, rivals=self.rivals)  # fewer cannot show p <= 0.05
        if not 0 < self.least < 1:
            raise BadCircuit(f"least {self.least}: write a faithfulness between 0 and 1, such as 0.8")
        if self.neurons and self.method == "exact":
            raise BadCircuit("neurons are chosen by gradients; write --method eap-ig, or --neurons 0")
        object.__setattr__(self, "circuit", files.named(tuple(self.circuit)))


def magnitudes(params: Params, anatomy: Anatomy) -> Sequence[tuple[int, Kind]]:
    """No control is matched by activation here. Raises `BadSite` or `BadCircuit` where the model lacks what is named."""
    if params.neurons:
        anatomy.check(Site(0, "neuron"))
    if params.circuit:
        planning.loaded(anatomy, params.circuit)
    return ()


def screen(params: Params, material: Material) -> Iterable[Sweep]:
    """Every edge on the prompts for discovery, where edges are chosen by gradients."""
    if params.method != "exact" and not params.circuit:
        yield from planning.screened(material, params.method, params.steps, params.neurons)


def plan(params: Params, material: Material) -> Iterable[Sweep | Estimated]:
    """The circuits of the ten sizes with random ones beside them, and the strongest edges one by one; the rest follows
    from the answers, see `further`."""
    if params.circuit:
        graph, marks = planning.loaded(material.anatomy, params.circuit)
        own = planning.bases(material.cases, sought=False)
        yield from rounds.circuits(own, graph, [marks], params.seed)
        edges = np.flatnonzero(marks)[: params.exact]
        yield from rounds.ask(own, graph, [rounds.only(graph, [e]) for e in edges], rounds.EDGE)
    elif params.method == "exact":
        for untrained in (False, True):
            yield from _pruning(params, material.anatomy, planning.bases(material.cases, untrained=untrained), ())
    else:
        yield from planning.by_gradient(material, params.exact, params.neurons, params.seed)


def further(
    params: Params, anatomy: Anatomy, answers: rounds.Answers, arrays: Mapping[str, Mapping[str, np.ndarray]]
) -> Iterator[Sweep]:
    """What follows from the answers: rounds of pruning, and what the reported circuit is compared with and cut into."""
    for copy in (msgspec.UNSET, "untrained"):
        own = [(sweep, effects) for sweep, effects in answers if sweep.copy == copy]
        have = rounds.by_measure(own)
        if rounds.CURVE in have:
            yield from rounds.examined(own, params.least, params.rivals, params.exact, params.seed)
        elif rounds.PRUNING in have:
            every = [sweep for sweep, _ in have[rounds.PRUNING] if sweep.labels["keys"] == "0"]
            yield from _pruning(params, anatomy, every, have[rounds.PRUNING])


def _pruning(params: Params, anatomy: Anatomy, own: Sequence[Sweep], answers: rounds.Answers) -> Iterator[Sweep]:
    return planning.by_pruning(own, Graph.of(anatomy), answers, params.least, params.exact, params.seed)
