"""Scores of a compiled program's heads and MLPs by exact effects, and how well they tell the circuit from decoys."""

from __future__ import annotations

import random

import numpy as np
from model import Program
from scipy.stats import mannwhitneyu

from lashley.core.edit import Edit, Patch, Resample, Zero
from lashley.core.graph import Edges, Graph
from lashley.core.readout import LogitDifference
from lashley.core.run import Run
from lashley.core.site import Site, Sites
from lashley.core.trial import Sweep
from lashley.engine.attribution import estimates

PAIRS = 24


def pairs(program: Program, seed: int = 0, n: int = PAIRS) -> list[tuple[Run, Run, LogitDifference]]:
    """Random inputs, two of one length, whose answers at the final position differ, and the difference of their logits.

    Beginning-of-text, which no program answers, is the foil of a numerical answer: its logit is 0.
    """
    rng = random.Random(f"{program.name} {seed}")
    found = []
    while len(found) < n:
        length = rng.randint(2, program.longest)
        one, two = (program.run(rng.choices(program.inputs, k=length)) for _ in range(2))
        target, foil = (program.answers(run)[-1] for run in (one, two))
        if program.numerical and abs(float(target) - float(foil)) > 1e-3:
            found.append((one, two, LogitDifference(program.outputs, (program.words.index("bos"),))))
        elif not program.numerical and target != foil:
            answers = (program.words.index(str(target)),), (program.words.index(str(foil)),)
            found.append((one, two, LogitDifference(*answers)))
    return found


def exact(program: Program, asked: list[tuple[Run, Run, LogitDifference]], edit: str) -> dict[str, float]:
    """Node -> mean absolute change of the readout when it is knocked out: "resample" by the pair's other input, or
    "zero". What is the same for every input (the length of inputs of equal length) only the second can show."""
    nodes = list(program.used)
    sites = Sites.of([[Site.parse(node)] for node in nodes])

    def knockout(other: Run) -> Edit:
        return Resample(other) if edit == "resample" else Zero()

    sweeps = [Sweep(one, None, "damage", (knockout(other),), sites, readout) for one, other, readout in asked]
    change = np.zeros(len(nodes))
    clean = {s.key: program.bench.value(s.clean, s.readout) for s in sweeps}
    for chunks in program.bench.run(sweeps):
        for chunk in chunks:
            change[chunk.start : chunk.start + len(chunk.values)] += np.abs(chunk.values - clean[chunk.sweep])
    return dict(zip(nodes, (change / len(sweeps)).tolist(), strict=True))


def auroc(scores: dict[str, float], used: dict[str, bool]) -> float:
    """The chance that a node of the circuit scores above one that is not; a tie counts half."""
    inside = [scores[node] for node, true in used.items() if true]
    outside = [scores[node] for node, true in used.items() if not true]
    return float(mannwhitneyu(inside, outside).statistic) / (len(inside) * len(outside))


def attributed(program: Program, asked: list[tuple[Run, Run, LogitDifference]], method: str) -> dict[str, float]:
    """Node -> sum over its outgoing edges of the mean absolute score by "eap" or "eap-ig" (five steps)."""
    graph = Graph.of(program.bench.anatomy)
    sweeps = [
        Sweep(
            one, other, "damage", (Patch(other),), Sites.of([]), readout,
            {"attribution": method, "steps": "5"}, edges=Edges.each(graph),
        )
        for one, other, readout in asked
    ]  # fmt: skip
    mean = np.mean([np.abs(found) for found in estimates(program.bench, sweeps)], 0)
    senders = np.asarray(graph.edges)[:, 0]
    return {node: float(mean[senders == graph.senders.index(node)].sum()) for node in program.used}
