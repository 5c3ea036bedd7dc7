"""A plan's cost is what running it turns out to take: packs, layer calls, and operations counted by torch itself."""

import numpy as np
import pytest
import torch
from tiny import HEADS, WIDTH, open_model, run
from torch.utils.flop_counter import FlopCounterMode

from lashley.core.edit import Patch, Zero
from lashley.core.errors import BadSite
from lashley.core.readout import LogitDifference, LogProbability
from lashley.core.site import KINDS, Site, Sites
from lashley.core.trial import Sweep
from lashley.engine.bench import Bench
from lashley.engine.explain import explain

PAIR = LogitDifference((5,), (7,))


def grid(length: int, readout=PAIR) -> Sweep:
    """Every layer, sub-layer and position."""
    layer, kind, position = (x.ravel() for x in np.meshgrid(range(3), range(3), range(length), indexing="ij"))
    clean, corrupt = run(length), run(length, seed=1)
    return Sweep(clean, corrupt, "restoration", (Patch(clean),), Sites.pack(layer, kind, -1, position), readout)


def neurons(length: int) -> Sweep:
    unit = np.arange(72)
    sites = Sites.pack(unit // 24, KINDS.index("neuron"), unit % 24)
    return Sweep(run(length), None, "damage", (Zero(),), sites, PAIR)


ASKED = {
    "a grid": [grid(30)],
    "neurons": [neurons(30)],
    "answers of several tokens": [grid(24, LogitDifference((5, 9, 3), (7,)))],
    "several prompts": [grid(20), grid(33, LogProbability((5,))), neurons(12)],
}


def attention(query, key, *args, out_shape=None, **kwargs) -> int:
    """What torch's counter does not know: a query sees itself and what came before, 4 operations a number."""
    rows, heads, queries, width = query
    folded = HEADS // heads  # queries of several heads side by side
    size, total = queries // folded, key[2]
    return 4 * rows * HEADS * width * (size * (2 * total - size + 1) // 2)


COUNTED = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention}


@pytest.mark.parametrize("name", ["llama, grouped queries", "gemma3, window and soft cap"])
@pytest.mark.parametrize("path", ["packed", "plain"])
@pytest.mark.parametrize("asked", ASKED)
def test_a_plan_costs_what_it_says(name, path, asked, monkeypatch):
    sweeps, model = ASKED[asked], open_model(name)
    cost = explain(Bench(model, path), sweeps)
    bench, calls = Bench(model, path), []
    inside = bench._answer
    monkeypatch.setattr(bench, "_answer", lambda *args: calls.append(0) or inside(*args))
    blocks = [b.register_forward_pre_hook(lambda m, x: calls.append(1)) for b in model.blocks]
    with FlopCounterMode(display=False, custom_mapping=COUNTED) as counted:
        list(bench.run(sweeps))
    for handle in blocks:
        handle.remove()
    assert cost.packs == calls.count(0)
    assert cost.trials == sum(map(len, sweeps)) and cost.trials < cost.rows
    assert cost.operations == pytest.approx(counted.get_total_flops(), rel=0.15)
    if path == "packed":
        assert cost.operations < 0.5 * cost.naive
        unedited = calls.count(1) - cost.layer_calls
        assert unedited % model.anatomy.layers == 0, "the rest are whole passes"
        assert cost.routes in ({"suffix": len(sweeps)}, {"whole": len(sweeps)}, {"suffix": 2, "whole": 1})
    else:
        assert cost.routes == {"plain": len(sweeps)}


def test_a_plan_that_cannot_run_says_so():
    wrong = Sweep(run(6), None, "damage", (Zero(),), Sites.of([[Site(9, "mlp")]]), PAIR)
    with pytest.raises(BadSite, match=r"L9\.mlp lies outside"):
        explain(Bench(open_model("gpt2")), [wrong])


def test_seconds_are_operations_at_the_measured_speed():
    cost = explain(Bench(open_model("gpt2")), [grid(10)])
    assert cost.speed > 0 and cost.seconds == cost.operations / cost.speed
    assert cost.memory > 4 * WIDTH and cost.weights > 0
