"""lashley as a worker, through its public doors."""

from __future__ import annotations

from importlib.metadata import version
from itertools import groupby
from statistics import median
from time import perf_counter

import numpy as np
import torch
from work import HEADS, ITEMS, LAYERS, MODEL, NEURONS, Item
from worker import THREADS, peak, reset_peak, serve

import lashley
from lashley.core.edit import Patch, Zero
from lashley.core.readout import LogitDifference
from lashley.core.site import KINDS, Sites
from lashley.core.trial import Sweep
from lashley.engine.bench import Bench

torch.set_num_threads(THREADS)

SHAPES = ((8192, 640, 2048), (2048, 2048, 2048))  # [m, k] x [k, n]


def load() -> dict:
    """Open the model; say where its folder is, for the peers, and which versions run it."""
    global bench
    bench = lashley.open_model(MODEL)
    anatomy = bench.anatomy
    assert (anatomy.layers, anatomy.heads, anatomy.neurons) == (LAYERS, HEADS, NEURONS), anatomy
    return {
        "folder": bench.model.module.name_or_path,
        "versions": {n: version(n) for n in ("lashley", "transformers", "torch")},
        "checked": bench.checked,
    }


def measure(item: str, way: str, trials: list[int] | None, warm: int, probe: bool = False) -> dict:
    """Seconds, values and peak resident memory of the trials (None: all), after `warm` untimed ones; with `probe`,
    the machine's speed in GFLOP/s before and after.

    A fresh bench each time, so that nothing is remembered from an earlier round.
    """
    work = ITEMS[item]
    _run(Bench(bench.model, bench.path), work, work.sample(warm))
    fresh, numbers = Bench(bench.model, bench.path), list(range(len(work.trials))) if trials is None else trials
    speed = [gflops()] if probe else []
    reset_peak()
    start = perf_counter()
    values = _run(fresh, work, numbers)
    seconds = perf_counter() - start
    most = peak()
    speed += [gflops()] if probe else []
    return {"seconds": seconds, "values": values.tolist(), "peak": most, "gflops": speed, "path": bench.path}


def _run(bench: Bench, item: Item, numbers: list[int]) -> np.ndarray:
    """The logit difference of every trial, float64 [numbers]: a sweep for each stretch of one pair and kind."""
    sweeps, starts, start = [], {}, 0
    for (pair, kind), same in groupby((item.trials[i] for i in numbers), key=lambda t: t[:2]):
        asked, rows = item.pairs[pair], list(same)
        clean = bench.tokens.run(asked.clean)
        assert len(clean) == item.tokens
        readout = LogitDifference(bench.tokens.answer(clean, asked.target), bench.tokens.answer(clean, asked.foil))
        sites = Sites.pack(
            [t.layer for t in rows],
            KINDS.index(kind),
            [-1 if t.unit is None else t.unit for t in rows],
            [Sites.ALL if t.position is None else t.position for t in rows],
        )
        if item.edit == "patch":
            corrupt = bench.tokens.run(asked.corrupt)
            sweep = Sweep(clean, corrupt, "restoration", (Patch(clean),), sites, readout)
        else:
            sweep = Sweep(clean, None, "damage", (Zero(),), sites, readout)
        sweeps.append(sweep)
        starts[sweep.key] = start
        start += len(rows)
    values = np.empty(start)
    for chunks in bench.run(sweeps):
        for chunk in chunks:
            at = starts[chunk.sweep] + chunk.start
            values[at : at + len(chunk.values)] = chunk.values
    return values


def gflops() -> float:
    """The machine's speed in large float32 matrix products, 10⁹ operations a second: the best shape's median of 7."""
    best = 0.0
    for m, k, n in SHAPES:
        a, b = torch.randn(m, k), torch.randn(k, n)
        took = []
        for _ in range(8):
            start = perf_counter()
            a @ b
            took.append(perf_counter() - start)
        best = max(best, 2e-9 * m * k * n / median(took[1:]))
    return best


if __name__ == "__main__":
    bench: Bench
    serve(load=load, measure=measure)
