"""Edges of the embedded GPT-2 beside AutoCircuit: EAP of every edge, and random edge sets exactly patched."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import torch
from scipy.stats import spearmanr
from work import CAPITALS

import lashley
from lashley.core.edit import Patch
from lashley.core.graph import Edges, Graph
from lashley.core.readout import LogitDifference
from lashley.core.site import Sites
from lashley.core.trial import Sweep
from lashley.engine.attribution import estimates
from lashley.engine.bench import Bench

MODEL = "embedded-gpt2"
SETS = 64
SHARES = (0.02, 0.1, 0.5, 0.9)  # of the edges, in turn


class Work:
    """The model, pairs of capitals of one length and one token, and edge sets: the same for both tools."""

    def __init__(self) -> None:
        self.bench = lashley.open_model(MODEL)
        self.graph = Graph.of(self.bench.anatomy)
        runs = {city: self.bench.tokens.run(f"The capital of {country} is") for country, city in CAPITALS}
        answers = {city: self.bench.tokens.answer(run, city) for city, run in runs.items()}
        cities = [c for c in runs if len(answers[c]) == 1 and len(runs[c]) == len(runs["Paris"])]
        self.pairs = [
            (runs[a], runs[b], answers[a], answers[b]) for a, b in zip(cities[::2], cities[1::2], strict=False)
        ]
        draw = np.random.default_rng(0)
        self.sets = [draw.random(len(self.graph)) < SHARES[i % len(SHARES)] for i in range(SETS)]

    @property
    def folder(self) -> str:
        return self.bench.model.module.name_or_path

    def asked(self) -> dict[str, list]:
        """The pairs as token ids, for the peer."""
        clean, corrupt, target, foil = zip(*self.pairs, strict=True)
        return {
            "clean": [run.tokens for run in clean],
            "corrupt": [run.tokens for run in corrupt],
            "target": [answer[0] for answer in target],
            "foil": [answer[0] for answer in foil],
        }

    def names(self) -> list[list[str]]:
        return [[self.graph.name(i) for i in np.flatnonzero(marks)] for marks in self.sets]

    def screen(self) -> tuple[float, dict[str, float]]:
        """Seconds, and the mean estimate of every edge."""
        bench = self._fresh()
        start = perf_counter()
        found = np.mean(list(estimates(bench, self._sweeps(Edges.each(self.graph)))), axis=0)
        return perf_counter() - start, {self.graph.name(i): float(x) for i, x in enumerate(found)}

    def patch(self) -> tuple[float, np.ndarray]:
        """Seconds, and the logit differences, [sets, pairs]."""
        bench = self._fresh()
        start = perf_counter()
        sweeps = self._sweeps(Edges.of(self.graph, self.sets))
        values = np.empty((len(self.sets), len(sweeps)))
        column = {sweep.key: i for i, sweep in enumerate(sweeps)}
        for chunks in bench.run(sweeps):
            for c in chunks:
                values[c.start : c.start + len(c.values), column[c.sweep]] = c.values
        return perf_counter() - start, values

    def _sweeps(self, edges: Edges) -> list[Sweep]:
        return [
            Sweep(clean, corrupt, "damage", (Patch(corrupt),), Sites.of([]), LogitDifference(*answers), edges=edges)
            for clean, corrupt, *answers in self.pairs
        ]

    def _fresh(self) -> Bench:
        """Nothing is remembered from an earlier round."""
        return Bench(self.bench.model, self.bench.path)


def compare(peer, threads: int, rounds: int) -> dict:
    """Both tools in turn; `peer.ask(door, ...)` is AutoCircuit's worker."""
    torch.set_num_threads(threads)
    work = Work()
    opened = peer.ask("load", folder=work.folder)
    asked, names = work.asked(), work.names()
    times: dict[str, list[float]] = {"screen": [], "screen of the peer": [], "patch": [], "patch of the peer": []}
    for number in range(rounds + 1):
        seconds, scores = work.screen()
        theirs = peer.ask("screen", **asked)
        if number == 0:  # warm now
            continue
        times["screen"].append(seconds)
        times["screen of the peer"].append(theirs["seconds"])
        seconds, values = work.patch()
        patched = peer.ask("patch", sets=names, **asked)
        times["patch"].append(seconds)
        times["patch of the peer"].append(patched["seconds"])
    assert scores.keys() == theirs["scores"].keys(), "the tools do not have the same edges"
    ours, other = (np.array([found[name] for name in scores]) for found in (scores, theirs["scores"]))
    return {
        "model": MODEL,
        "pairs": len(work.pairs),
        "edges": len(scores),
        "sets": len(work.sets),
        "versions": opened["versions"],
        "logits": opened["logits"],
        "spearman": float(spearmanr(ours, other).statistic),
        "scores": float(np.abs(ours - other).max()),
        "values": float(np.abs(values - np.array(patched["values"])).max()),
        "seconds": times,
    }
