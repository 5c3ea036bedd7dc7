"""Edges of the embedded GPT-2 beside circuitkit and AutoCircuit: EAP and EAP-IG of every edge, and random edge sets
exactly patched."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import msgspec
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
STEPS = 50  # of EAP-IG: circuitkit's end at the clean run, and ours begin at the corrupt one; many make them alike
WORK = (("eap", "circuitkit"), ("eap-ig", "circuitkit"), ("eap", "auto_circuit"), ("patch", "auto_circuit"))


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

    def screen(self, method: str) -> tuple[float, dict[str, float]]:
        """Seconds, and the mean estimate of every edge."""
        bench, how = self._fresh(), {"attribution": method, "steps": str(STEPS)}
        start = perf_counter()
        sweeps = [msgspec.structs.replace(s, labels=how) for s in self._sweeps(Edges.each(self.graph))]
        found = np.mean(list(estimates(bench, sweeps)), axis=0)
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


def compare(peers: Mapping[str, Any], threads: int, rounds: int) -> dict:
    """Every tool in turn; `peers[tool].ask(door, ...)` is its worker."""
    torch.set_num_threads(threads)
    work = Work()
    opened = {tool: peer.ask("load", folder=work.folder) for tool, peer in peers.items()}
    compared = [{"work": what, "tool": tool, "own": [], "peer": []} for what, tool in WORK]
    for number in range(rounds + 1):
        for one in compared:
            own, theirs, found = _asked(work, peers[one["tool"]], one["work"])
            if number:  # warm now
                one["own"].append(own)
                one["peer"].append(theirs)
            one |= found
    return {
        "model": MODEL,
        "pairs": len(work.pairs),
        "edges": len(work.graph),
        "sets": len(work.sets),
        "steps": STEPS,
        "opened": opened,
        "compared": compared,
    }


def _asked(work: Work, peer: Any, what: str) -> tuple[float, float, dict[str, float]]:
    """Seconds of both, and how alike their numbers are."""
    if what == "patch":
        own, values = work.patch()
        theirs = peer.ask("patch", sets=work.names(), **work.asked())
        return own, theirs["seconds"], {"difference": float(np.abs(values - np.array(theirs["values"])).max())}
    own, scores = work.screen(what)
    theirs = peer.ask("screen", method=what, steps=STEPS, **work.asked())
    assert scores.keys() == theirs["scores"].keys(), "the tools do not have the same edges"
    mine, other = (np.array([found[name] for name in scores]) for found in (scores, theirs["scores"]))
    rho, off = float(spearmanr(mine, other).statistic), float(np.abs(mine - other).max())
    return own, theirs["seconds"], {"spearman": rho, "difference": off}
