"""What is asked about a circuit: which prompts are for discovery, what is screened on them, what the screen chose, and
what follows from the answers (`rounds`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from lashley.core.anatomy import Anatomy
from lashley.core.case import Case, Estimated, Material
from lashley.core.edit import Patch
from lashley.core.errors import BadCircuit, BadSite
from lashley.core.experiment import Answers, Arrays, Door, Gathered
from lashley.core.graph import Edges, Graph
from lashley.core.question import Question
from lashley.core.site import Site, Sites
from lashley.core.trial import Sweep
from lashley.experiments import pairs
from lashley.experiments.circuit import pruning, rounds
from lashley.experiments.circuit.params import Params
from lashley.experiments.circuit.subgraphs import pruned


def gather(params: Params, question: Question, door: Door) -> Gathered[Material]:
    """The pairs, and perhaps what heads do, kept. Raises `BadSite` or `BadCircuit` for what the model lacks."""
    if params.neurons:
        door.anatomy.check(Site(0, "neuron"))
    if params.circuit:
        loaded(door.anatomy, params.circuit)
    found = pairs(params, question, door, screen=screen)
    if not params.operations:
        return found
    return replace(found, arrays={"operations": door.operations(found.cases, question.seed)})


def screen(params: Params, material: Material) -> Iterable[Sweep]:
    """Every edge on the prompts for discovery, where edges are chosen by gradients."""
    if params.method != "exact" and not params.circuit:
        yield from screened(material, params.method, params.steps, params.neurons)


def plan(params: Params, material: Material) -> Iterable[Sweep | Estimated]:
    """The circuits of the ten sizes with random ones beside them, and the strongest edges one by one; the rest follows
    from the answers, see `further`."""
    if params.circuit:
        graph, marks = loaded(material.anatomy, params.circuit)
        own = bases(material.cases, sought=False)
        yield from rounds.circuits(own, graph, [marks], params.seed)
        edges = np.flatnonzero(marks)[: params.exact]
        yield from rounds.ask(own, graph, [rounds.only(graph, [e]) for e in edges], rounds.EDGE)
    elif params.method == "exact":
        for untrained in (False, True):
            yield from _pruning(params, material.anatomy, bases(material.cases, untrained=untrained), ())
    else:
        yield from by_gradient(material, params.exact, params.neurons, params.seed)


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
    return by_pruning(own, Graph.of(anatomy), answers, params.least, params.exact, params.seed)


def loaded(anatomy: Anatomy, names: Sequence[str]) -> tuple[Graph, np.ndarray]:
    """The graph that a circuit made before is in, and its marks. Raises `BadCircuit`."""
    senders = {name.partition("->")[0] for name in names}
    try:
        graph = Graph.of(anatomy, sorted(s for s in senders if ".mlp.n" in s))
        return graph, rounds.only(graph, [graph.index(name) for name in names])
    except BadSite as e:
        raise BadCircuit(f"the circuit is another model's: {e}") from e


def parts(cases: Sequence[Case], sought: bool = True) -> list[str]:
    """Which prompts are for discovery, and which confirm: every second subject, or template of one subject.

    A single prompt is for both; of a circuit made before, every prompt is.
    """
    if not sought or len(cases) == 1:
        return [rounds.BOTH] * len(cases)
    one = len({c.fact.subject for c in cases}) == 1
    names = [c.template.fill("{}") if one else c.fact.subject for c in cases]
    several = list(dict.fromkeys(names))
    turns = [several.index(name) for name in names] if len(several) > 1 else range(len(cases))
    return [rounds.DISCOVERY if turn % 2 else rounds.CONFIRM for turn in turns]


def bases(cases: Sequence[Case], sought: bool = True, untrained: bool = False) -> list[Sweep]:
    """What is asked of every prompt, but for the edges."""
    none = Sites.of([])
    return [
        Sweep(
            clean=case.clean,
            corrupt=case.corrupt,
            effect="damage",
            edits=(Patch(case.corrupt),),
            sites=none,
            readout=case.readout,
            labels=case.labels(group=group),
            copy="untrained" if untrained else msgspec.UNSET,
        )
        for case, group in zip(cases, parts(cases, sought), strict=True)
    ]


def discovery(some: Sequence[Sweep]) -> list[Sweep]:
    return [sweep for sweep in some if rounds.DISCOVERY in sweep.labels["group"]]


def shuffled(cases: Sequence[Case]) -> list[Sweep]:
    """The prompts for discovery with the answers of another of them, none of which is their own; [] where one has no
    such other."""
    own = [c for c, group in zip(cases, parts(cases), strict=True) if rounds.DISCOVERY in group]
    found = []
    for i, (sweep, case) in enumerate(zip(discovery(bases(cases)), own, strict=True)):
        answers = {case.target, case.foil_tokens}
        others = (c for c in own[i + 1 :] + own[:i])
        other = next((c for c in others if answers.isdisjoint({c.target, c.foil_tokens})), None)
        if other is None:
            return []
        found.append(msgspec.structs.replace(sweep, readout=other.readout))
    return found


def screened(material: Material, method: str, steps: int, neurons: int) -> Iterator[Sweep]:
    """What is estimated: neurons, where some are to be drawn out; then, on the prompts for discovery, every edge in the
    model, with another prompt's answers, and in an untrained copy."""
    cases = material.cases
    if neurons:
        every = material.anatomy.every("neuron")
        for base in discovery(bases(cases)):
            yield msgspec.structs.replace(base, sites=every)
        if not material.estimates:
            return
    each = Edges.each(Graph.of(material.anatomy, drawn_out(material, neurons)))
    words = {"attribution": method, "steps": str(steps)}
    for sweep in (*discovery(bases(cases)), *shuffled(cases), *discovery(bases(cases, untrained=True))):
        yield msgspec.structs.replace(sweep, edges=each, labels=sweep.labels | words)


def _gaps(material: Material) -> list[float]:
    groups = parts(material.cases)
    return [gap for gap, group in zip(material.gaps, groups, strict=True) if rounds.DISCOVERY in group]


def drawn_out(material: Material, count: int) -> list[str]:
    """The neurons of largest mean estimated damage over the prompts for discovery."""
    if not count:
        return []
    gaps = _gaps(material)
    shares = [change / gap for change, gap in zip(material.estimates, gaps, strict=False)]
    order = np.argsort(-np.abs(np.mean(shares, axis=0)), kind="stable")[:count]
    wide = material.anatomy.neurons
    return [str(Site(int(i) // wide, "neuron", int(i) % wide)) for i in order]


def by_gradient(material: Material, exact: int, neurons: int, seed: int) -> Iterator[Sweep | Estimated]:
    """The circuits of the ten sizes by mean estimated damage, the strongest edges one by one, and the same circuits
    sought with other prompts' answers and in an untrained copy."""
    cases, gaps = material.cases, _gaps(material)
    n = len(gaps)
    graph = Graph.of(material.anatomy, drawn_out(material, neurons))
    found = material.estimates[n if neurons else 0 :]
    scores = np.mean([-change / gap for change, gap in zip(found[:n], gaps, strict=True)], axis=0)
    own = bases(cases)
    yield from rounds.circuits(own, graph, rounds.nested(graph, scores), seed)
    order = np.argsort(-np.abs(scores), kind="stable")[:exact]
    changes = iter(found[:n])
    for sweep in rounds.ask(own, graph, [rounds.only(graph, [e]) for e in order], rounds.EDGE):
        yield Estimated(sweep, next(changes)[order]) if rounds.DISCOVERY in sweep.labels["group"] else sweep
    if len(found) == 3 * n:
        others = rounds.nested(graph, np.mean(found[n : 2 * n], axis=0))
        yield from rounds.ask(own, graph, [~each for each in others], rounds.SHUFFLED)
    copies = bases(cases, untrained=True)
    yield from rounds.circuits(copies, graph, rounds.nested(graph, np.mean(found[-n:], axis=0)), seed)


def by_pruning(
    own: Sequence[Sweep], graph: Graph, answers: Answers, least: float, exact: int, seed: int
) -> Iterator[Sweep]:
    """The next round of pruning, the first on every prompt and later ones on those for discovery; after the last the
    circuits of the ten sizes (what went later counts as stronger), what is left, and the edges one by one."""
    turns: dict[int, list[tuple[Sweep, np.ndarray]]] = {}
    for sweep, effects in answers:
        turns.setdefault(int(sweep.labels["keys"]), []).append((sweep, effects))
    state = pruning.prune(len(graph), [rounds.faithful(turns[t]) for t in sorted(turns)], least)
    if state.following is not None:
        asked = discovery(own) if turns else own
        yield from rounds.ask(asked, graph, list(state.following), rounds.PRUNING, keys=str(len(turns)))
        return
    left = pruned(graph, state.kept)
    yield from rounds.circuits(own, graph, [*rounds.nested(graph, state.scores), left], seed)
    order = np.argsort(-state.scores, kind="stable")[:exact]
    yield from rounds.ask(own, graph, [rounds.only(graph, [e]) for e in order], rounds.EDGE)
