"""What is asked of a circuit, round after round: each later question is a function of the answers before it.

The circuits of the ten sizes are asked first; the smallest that keeps enough of the readout on the prompts for
discovery is the one reported; then its random rivals, its edges one by one, and subsets of it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence

import msgspec
import numpy as np

from lashley.core.experiment import Answers
from lashley.core.graph import Edges, Graph
from lashley.core.trial import Sweep
from lashley.experiments.circuit.subgraphs import SIZES, by_sender, count, drawn, pruned, strongest

EDGE, CURVE, CHANCE, SHUFFLED, PRUNING = "edge", "circuit", "random circuit", "shuffled labels", "pruning"
RIVALS, MINIMAL = "random circuit of the reported size", "circuit without one edge"
WITHOUT, REMOVED = "circuit without K", "model without K"
DISCOVERY, CONFIRM, BOTH = "discovery", "confirm", "discovery and confirm"
DRAWS = 3  # random circuits at each size of the curve
SUBSETS = 8  # random halves of a circuit, to see whether it is complete
NODES, GREEDY = 24, 6  # components taken out alone, and at most together


def ask(bases: Iterable[Sweep], graph: Graph, sets: Sequence[np.ndarray], measure: str, **labels: str) -> list[Sweep]:
    """The same edge sets patched on every prompt."""
    edges = Edges.of(graph, sets)
    return [
        msgspec.structs.replace(base, edges=edges, labels={**base.labels, "measure": measure, **labels})
        for base in bases
    ]


def nested(graph: Graph, scores: np.ndarray) -> list[np.ndarray]:
    """The circuits of the ten sizes, cut down to their paths."""
    return [pruned(graph, strongest(scores, count(graph, share))) for share in SIZES]


def circuits(bases: Sequence[Sweep], graph: Graph, chosen: Sequence[np.ndarray], seed: int) -> Iterator[Sweep]:
    """These circuits, all other edges patched, and `DRAWS` random ones for each that is not the whole graph."""
    sizes = [int(each.sum()) for each in chosen]
    words = " ".join(map(str, sizes))
    yield from ask(bases, graph, [~each for each in chosen], CURVE, set=words, population=str(len(graph)))
    some = [size for size in sizes if 0 < size < len(graph)]
    rivals = [~drawn(graph, size, f"{seed} {size} {draw}") for size in some for draw in range(DRAWS)]
    if rivals:
        yield from ask(bases, graph, rivals, CHANCE, set=" ".join(str(size) for size in some for _ in range(DRAWS)))


def by_measure(answers: Answers) -> dict[str, list[tuple[Sweep, np.ndarray]]]:
    found: dict[str, list[tuple[Sweep, np.ndarray]]] = {}
    for sweep, effects in answers:
        found.setdefault(sweep.labels.get("measure", ""), []).append((sweep, effects))
    return found


def faithful(answers: Answers, group: str = DISCOVERY) -> np.ndarray:
    """Mean faithfulness of every trial over the prompts of a group, [trials]."""
    return 1 - np.mean([effects for sweep, effects in answers if group in sweep.labels["group"]], axis=0)


def chosen(answers: Answers, least: float) -> np.ndarray:
    """The smallest circuit of the curve that keeps at least so much on the discovery prompts, bool [edges]."""
    table = ~answers[0][0].edges.table  # pyright: ignore[reportAttributeAccessIssue]
    return table[smallest(table.sum(1), faithful(answers), least)]


def smallest(sizes: Sequence[int] | np.ndarray, faithfulness: np.ndarray, least: float) -> int:
    """Which circuit it is: of those that are faithful enough the smallest, else the largest.

    >>> smallest([3, 9, 30, 100], np.array([0.1, 0.85, 0.7, 1.0]), 0.8)
    1
    """
    good = [i for i, f in enumerate(faithfulness) if f >= least]
    return min(good, key=lambda i: sizes[i]) if good else int(np.argmax(sizes))


def ranked(circuit: np.ndarray, singles: Answers) -> list[int]:
    """The circuit's edges, those first that were found strongest (the order in which single edges are asked)."""
    order = [int(edges[0]) for edges in singles[0][0].edges] if singles else []  # pyright: ignore[reportGeneralTypeIssues]
    own = set(np.flatnonzero(circuit).tolist())
    first = [edge for edge in order if edge in own]
    return first + sorted(own - set(first))


def examined(answers: Answers, least: float, rivals: int, most: int, seed: int) -> Iterator[Sweep]:
    """What the reported circuit is compared with and cut into, as far as the answers allow."""
    have = by_measure(answers)
    bases = [sweep for sweep, _ in have[CURVE]]
    graph = bases[0].edges.graph  # pyright: ignore[reportAttributeAccessIssue]
    circuit = chosen(have[CURVE], least)
    size = int(circuit.sum())
    if not 0 < size < len(graph):
        return
    draws = [~drawn(graph, size, f"{seed} {size} {draw}") for draw in range(rivals)]
    yield from ask(bases, graph, draws, RIVALS, set=str(size))
    if bases[0].copy:
        return
    edges = ranked(circuit, have.get(EDGE, ()))[:most]
    names = " ".join(graph.name(edge) for edge in edges)
    yield from ask(bases, graph, [~circuit | only(graph, [e]) for e in edges], MINIMAL, set=names)
    subsets = _subsets(graph, circuit, seed)
    yield from _completeness(bases, graph, circuit, subsets, "first")
    if any(sweep.labels["keys"] == "first" for sweep, _ in have.get(WITHOUT, ())):
        one, other = ([a for a in have[m] if a[0].labels["keys"] == "first"] for m in (WITHOUT, REMOVED))
        apart = np.abs(faithful(one) - faithful(other))
        worst = sorted(range(len(subsets)), key=lambda i: -apart[i])
        names, marks = list(subsets), list(subsets.values())
        nodes = [i for i in worst if not names[i].startswith("random")][:GREEDY]
        unions = {
            f"greedy:{'+'.join(names[i] for i in nodes[:n])}": np.any([marks[i] for i in nodes[:n]], axis=0)
            for n in range(2, len(nodes) + 1)
        }
        if unions:
            yield from _completeness(bases, graph, circuit, unions, "greedy")


def _subsets(graph: Graph, circuit: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Parts of a circuit: of each of its components with most edges all of them, and random halves."""
    nodes = sorted(by_sender(graph, circuit).items(), key=lambda item: -item[1].sum())[:NODES]
    rng = random.Random(f"subsets {seed}")
    own = np.flatnonzero(circuit).tolist()
    halves = {f"random{i + 1}": only(graph, rng.sample(own, max(len(own) // 2, 1))) for i in range(SUBSETS)}
    return dict(nodes) | halves


def _completeness(
    bases: Sequence[Sweep], graph: Graph, circuit: np.ndarray, subsets: dict[str, np.ndarray], turn: str
) -> Iterator[Sweep]:
    """m(C \\ K) and m(M \\ K) for every subset K (Wang et al. 2211.00593, section 4.2)."""
    names = " ".join(subsets)
    yield from ask(bases, graph, [~circuit | k for k in subsets.values()], WITHOUT, set=names, keys=turn)
    yield from ask(bases, graph, list(subsets.values()), REMOVED, set=names, keys=turn)


def only(graph: Graph, edges: Iterable[int]) -> np.ndarray:
    """Marks of some edges, bool [edges]."""
    marks = np.zeros(len(graph), bool)
    marks[list(edges)] = True
    return marks
