"""A sweep of any size keeps to its budget; where memory runs out all the same, packs are halved and it goes on."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from tiny import open_model, run

from lashley.core.edit import Zero
from lashley.core.readout import LogitDifference
from lashley.core.site import Sites
from lashley.core.trial import Sweep
from lashley.engine import planner
from lashley.engine.bench import Bench
from lashley.engine.replay import Replay

PEAKS = """
import json, resource
import numpy as np
import lashley
from lashley.core.edit import Zero
from lashley.core.readout import LogitDifference
from lashley.core.site import KINDS, Sites
from lashley.core.trial import Sweep

bench = lashley.open_model(memory="64MiB")
a = bench.anatomy
run = bench.tokens.run("The capital of France, as everyone who went to school there knows very well, is")

def peak(trials):
    unit = np.arange(trials) % (a.layers * a.neurons)
    sites = Sites.pack(unit // a.neurons, KINDS.index("neuron"), unit % a.neurons)
    for chunks in bench.run([Sweep(run, None, "damage", (Zero(),), sites, LogitDifference((5,), (7,)))]):
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

print(json.dumps([peak(500), peak(500), peak(8_000)]))
"""


def test_sixteen_times_the_rows_need_no_more_memory():
    found = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True, timeout=300)
    _, small, large = json.loads(found.stdout)
    assert large - small < 32 * 1024, "KiB: half the budget"


def asked(prompts: int) -> list[Sweep]:
    sites = Sites.pack(np.arange(30) % 2, 0, -1, np.arange(30) % 6)
    return [
        Sweep(run(6, seed), None, "damage", (Zero(),), sites, LogitDifference((5,), (7,))) for seed in range(prompts)
    ]


def answers(bench: Bench, sweeps: list[Sweep]) -> dict[tuple[str, int], float]:
    chunks = [c for pack in bench.run(sweeps) for c in pack]
    return {(c.sweep, c.start + i): v for c in chunks for i, v in enumerate(c.values)}


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_a_pack_too_large_is_halved_until_it_fits(monkeypatch, error):
    model, sweeps = open_model("gpt2"), asked(3)
    whole = answers(Bench(model), sweeps)
    packed = Replay.packed

    def cramped(replay):
        if len(replay.rows) > 25:
            raise error
        return packed(replay)

    monkeypatch.setattr(Replay, "packed", cramped)
    with pytest.warns(UserWarning, match=r"out of memory at .* trials at once: halving them"):
        halved = answers(Bench(model), sweeps)
    assert halved.keys() == whole.keys()
    np.testing.assert_allclose(list(halved.values()), [whole[k] for k in halved], atol=1e-5)


@pytest.mark.filterwarnings("ignore:out of memory")
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("shape mismatch")])
def test_a_single_trial_too_large_and_other_errors_are_raised(monkeypatch, error):
    def fail(replay):
        raise error

    monkeypatch.setattr(Replay, "packed", fail)
    with pytest.raises(type(error)):
        answers(Bench(open_model("gpt2")), asked(1))


def test_halves_hold_every_trial_once():
    pieces = [planner.Piece(0, 3, 10), planner.Piece(1, 0, 2), planner.Piece(2, 5, 6)]
    first, second = planner.halves(pieces)
    assert (first, second) == (
        [planner.Piece(0, 3, 8)],
        [planner.Piece(0, 8, 10), planner.Piece(1, 0, 2), planner.Piece(2, 5, 6)],
    )
    assert len(planner.halves([planner.Piece(0, 4, 5)])) == 1


def test_packs_hold_a_bounded_number_of_unedited_tokens():
    sweeps = asked(10)
    sizes = [len(pack) for pack in planner.packs(sweeps, 10_000, base_tokens=18)]
    assert sizes == [3, 3, 3, 1]
    assert [len(pack) for pack in planner.packs(sweeps, 10_000, base_tokens=1)] == [1] * 10
