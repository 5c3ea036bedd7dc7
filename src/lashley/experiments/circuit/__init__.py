"""Through which heads and MLPs, and along which edges between them, does the answer come?

Edges are scored on prompts for discovery, by gradients (EAP: Syed et al. 2310.10348; EAP-IG: Hanna et al. 2403.17806)
or by exact greedy pruning. A circuit is a set of edges; all others take the corrupt run's contribution. Its
faithfulness f = 1 - damage is measured exactly, on prompts that nothing was sought on, beside random connected
circuits of its size and the same search in an untrained copy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from lashley.core.anatomy import Anatomy
from lashley.core.case import Estimated, Material
from lashley.core.errors import BadCircuit
from lashley.core.experiment import Answers, Arrays, Door, Experiment, Gathered
from lashley.core.figure import Control, Estimate, Finding, Table
from lashley.core.graph import Graph
from lashley.core.outcome import Drawing, Outcome
from lashley.core.question import Question
from lashley.core.site import Site
from lashley.core.trial import Sweep
from lashley.experiments import at_least, pairs, unsplit
from lashley.experiments.circuit import drawing, files, planning, rounds, telling
from lashley.experiments.circuit.reading import Found, confirming, read, seeking
from lashley.stats.summary import facts, floor, measured, prompts, readings, resting

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
    operations
        Score what heads do (previous token, induction, copying, ...) against untrained copies.
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
    operations: bool = True
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


def gather(params: Params, question: Question, door: Door) -> Gathered[Material]:
    """The pairs, and perhaps what heads do, kept. Raises `BadSite` or `BadCircuit` for what the model lacks."""
    if params.neurons:
        door.anatomy.check(Site(0, "neuron"))
    if params.circuit:
        planning.loaded(door.anatomy, params.circuit)
    found = pairs(params, question, door, screen=screen)
    if not params.operations:
        return found
    return replace(found, arrays={"operations": door.operations(found.cases, question.seed)})


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


def further(params: Params, anatomy: Anatomy, answers: Answers, arrays: Arrays) -> Iterator[Sweep]:
    """What follows from the answers: rounds of pruning, and what the reported circuit is compared with and cut into."""
    for copy in (msgspec.UNSET, "untrained"):
        own = [(sweep, effects) for sweep, effects in answers if sweep.copy == copy]
        have = rounds.by_measure(own)
        if rounds.CURVE in have:
            yield from rounds.examined(own, params.least, params.rivals, params.exact, params.seed)
        elif rounds.PRUNING in have:
            every = [sweep for sweep, _ in have[rounds.PRUNING] if sweep.labels["keys"] == "0"]
            yield from _pruning(params, anatomy, every, have[rounds.PRUNING])


def _pruning(params: Params, anatomy: Anatomy, own: Sequence[Sweep], answers: Answers) -> Iterator[Sweep]:
    return planning.by_pruning(own, Graph.of(anatomy), answers, params.least, params.exact, params.seed)


def judge(params: Params, table: pd.DataFrame, arrays: Arrays) -> Outcome:
    """The circuit in one sentence, or why there is none; how complete and how minimal it is, and what stays opaque."""
    rows = measured(table)
    found = read(rows, params.least, arrays)
    what, own = facts(rows), rows[rows["copy"].isna()]
    seek, confirm = seeking(own), confirming(own)
    basis = f"All other edges take the corrupt run's contribution, over {resting(confirm if len(confirm) else own)}"
    reading = "the numerical noise floor, a share: smaller effects say nothing"
    controls = [Control("identity edit", Estimate(floor(own if len(own) else rows)), reading)]
    first = Finding(
        telling.sentence(found, what, telling.known(table), _method(params), params.least), found.faithfulness, basis
    )
    if found.best is None:
        return Outcome((first,), tuple(controls))
    controls += telling.controls(found, read(rows, params.least, arrays, "untrained"))
    also = [telling.remainder(found), *filter(None, (telling.cut(found), telling.areas(found), telling.stable(found)))]
    caveats = [
        "Edges are patched with a matched prompt's contributions: what both prompts share is in no circuit.",
        "Scores choose edges one by one: of two that stand in for each other neither may be seen.",
    ]
    if set(seek["prompt"]) & set(confirm["prompt"]) and not params.circuit:
        caveats.insert(0, "The circuit was sought and measured on the same prompt: its faithfulness is too high.")
    not_tested = (
        "Other readouts than the logit difference, prompts that the model answers wrongly, and other corruptions.",
        "Circuits finer than heads and MLPs" + (", but for the neurons drawn out." if params.neurons else "."),
    )
    return Outcome((first, *also), tuple(controls), tuple(caveats), not_tested)


def _method(params: Params) -> str:
    return "" if params.circuit else params.method


def draw(params: Params, table: pd.DataFrame, arrays: Arrays) -> Drawing:
    """The circuit, its faithfulness by size beside random ones, and how well edges were estimated."""
    rows = measured(table)
    found = read(rows, params.least, arrays)
    what, own = facts(rows), rows[rows["copy"].isna()]
    n, confirmed = prompts(own if len(own) else rows), confirming(own)
    figures = (
        drawing.picture(found, what, n),
        drawing.faithfulness(found, what, prompts(confirmed) if len(confirmed) else n),
        drawing.estimates(found, what, n),
    )
    tables = (drawing.edges(found, what), drawing.does(found))
    return Drawing(tuple(f for f in figures if f), (*_readings(confirmed, found), *(t for t in tables if t)))


def _readings(rows: pd.DataFrame, found: Found) -> tuple[Table, ...]:
    """What faithfulness is a share of, and what the circuit alone makes of the readout."""
    own = rows[rows["measure"] == rounds.CURVE]
    if not len(own):
        return ()
    best = own.iloc[:0] if found.best is None else own[own["trial"] == found.best["trial"]]
    return readings(own, best, "every edge outside the circuit patched")


def circuit(params: Params, table: pd.DataFrame, arrays: Arrays, model: str) -> files.Circuit:
    """The reported circuit with its numbers, to be loaded again. Raises `BadCircuit` where none is measured."""
    rows = measured(table)
    found = read(rows, params.least, arrays)
    if found.edges.empty or found.best is None:
        raise BadCircuit("no circuit of this study is measured yet; `lashley resume` it")
    if found.cut < int(found.best["size"]):
        raise BadCircuit(
            f"the circuit has {found.best['size']} edges, and {found.cut} of them are examined; ask for --exact more"
        )
    edges = tuple(
        files.Edge(
            e["source"], e["target"],
            *(_known(e[k]) for k in ("effect", "low", "high", "stability", "needed")),
        )
        for e in found.edges.to_dict("records")
    )  # fmt: skip
    f = found.faithfulness
    there = bool(found.exists and found.exists.there) and not telling.known(table)
    operations = found.operations or {}
    nodes = {node: operations[node] for node in found.nodes if node in operations}
    return files.Circuit(
        model, facts(rows), telling.NAMES.get(_method(params), "given"), edges, (f.value, f.low, f.high), there, nodes
    )


def _known(x: float | None) -> float | None:
    return None if x is None or math.isnan(x) else float(x)


EXPERIMENT = Experiment(
    name="circuit",
    about=__doc__,
    question=QUESTION,
    Params=Params,
    gather=gather,
    plan=plan,
    **unsplit(judge, draw),
    topic=lambda params, rows: facts(rows),
    further=further,
    exports={
        "circuit": lambda params, held, model: files.to_json(circuit(params, held[0], held[1], model)),
        "graphml": lambda params, held, model: files.graphml(circuit(params, held[0], held[1], model)),
    },
)
