"""A neuron is written where each family has it: said here a second time, independently of `planted.neuron`."""

import pytest
import torch
from tiny import EVERY, NEURONS, WIDTH, open_model, run
from torch.testing import assert_close

from lashley.core.errors import BadPlant
from lashley.models.planted.neuron import SHARP, Key, write

LAYER, UNIT = 1, 5
GATED = ("mlp.gate_proj", "mlp.up_proj")
READS = {  # the projections that feed the neurons
    "llama, grouped queries": GATED,
    "gpt2": ("mlp.c_fc",),
    "gemma3, window and soft cap": GATED,
    "phi3, window and partial rotary": ("mlp.gate_up_proj",),
    "qwen2, some windows": GATED,
    "gpt_neox, parallel": ("mlp.dense_h_to_4h",),
    "opt": ("fc1",),
}
ACTS = {"gpt2": "gelu_pytorch_tanh", "gpt_neox, parallel": "gelu", "opt": "relu"}  # of those without a gate
GELU = {"gelu_pytorch_tanh": "tanh", "gelu": "none"}


def act(name: str, x: float) -> float:
    x_ = torch.tensor(x)
    if ACTS[name] == "relu":
        return float(x_.relu())
    return float(torch.nn.functional.gelu(x_, approximate=GELU[ACTS[name]]))


def heard(model, layer, paths) -> list[torch.Tensor]:
    """What enters some modules of a layer in a plain forward pass, [tokens, width] each."""
    found: list[torch.Tensor] = []
    hooks = [
        layer.get_submodule(p).register_forward_pre_hook(lambda _, x: found.append(x[0].detach().clone()))
        for p in paths
    ]
    with torch.no_grad():
        model.module(torch.tensor([run(7).tokens]))
    for hook in hooks:
        hook.remove()
    return [x.reshape(-1, x.shape[-1]) for x in found]


@pytest.mark.parametrize("name", READS)
def test_the_neuron_fires_on_its_key_and_writes_its_value(name):
    model, tiny = open_model(name), EVERY[name]
    layer = model.module.get_submodule(tiny.layers)[LAYER]
    before = {n: p.detach().clone() for n, p in model.module.named_parameters()}
    x = heard(model, layer, READS[name][:1])[0][3]
    key = Key(x / x.square().sum())
    if name in ACTS:  # with a bias: half of the one comes from it
        key = Key(key.row / 2, 0.5)
    value = torch.randn(WIDTH, generator=torch.Generator().manual_seed(0))
    write(model, LAYER, UNIT, key, value)

    fires = heard(model, layer, [tiny.neuron])[0][3, UNIT].item()
    assert fires == pytest.approx(act(name, SHARP) if name in ACTS else 1.0, rel=1e-4)
    output = layer.get_submodule(tiny.neuron)
    column = output.weight[UNIT] if hasattr(output, "nf") else output.weight[:, UNIT]
    assert_close(fires * column.detach(), value, rtol=1e-4, atol=1e-5)
    assert touched(model.module, before, f"{tiny.layers}.{LAYER}.") == expected(name, tiny.neuron)


def touched(module, before, home: str) -> dict[str, set[int]]:
    """Of each parameter that is no longer as it was: the rows, or the columns of the output, that differ."""
    found = {}
    for n, p in module.named_parameters():
        changed = (p.detach() != before[n]).nonzero()
        if len(changed):
            assert n.startswith(home)
            axis = min(range(p.ndim), key=lambda d, c=changed: len(c[:, d].unique()))
            found[n.removeprefix(home)] = set(changed[:, axis].tolist())
    return found


def expected(name: str, neuron: str) -> dict[str, set[int]]:
    rows = {UNIT, UNIT + NEURONS} if "gate_up" in READS[name][0] else {UNIT}
    parts = ("weight", "bias") if name in ACTS else ("weight",)
    return {f"{path}.{part}": rows for path in READS[name] for part in parts} | {f"{neuron}.weight": {UNIT}}


def test_a_family_without_neuron_sites_is_refused():
    with pytest.raises(BadPlant, match="no neuron sites"):
        write(open_model("mixtral"), LAYER, UNIT, Key(torch.ones(WIDTH)), torch.ones(WIDTH))
