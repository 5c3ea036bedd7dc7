"""One MLP neuron as weights: the rows that read, the column that writes; in every family that has neuron sites.

Gated: act(g . x) * (u . x). Ungated: act(g . x + b). x is what enters the MLP's input projections.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lashley.core.errors import BadPlant
from lashley.engine.linear import bias, outputs_first
from lashley.engine.model import Model

SHARP = 8.0  # how far into its linear range the key drives the activation function


@dataclass(frozen=True)
class Mlp:
    """What feeds the neurons of one layer. `inputs`: gate and up, or both in one (fused), or the only one."""

    inputs: tuple[nn.Module, ...]
    gated: bool
    act: Callable[[Tensor], Tensor]

    @property
    def biased(self) -> bool:
        return bias(self.inputs[0]) is not None


def mlp(model: Model, layer: int) -> Mlp:
    """The MLP around the neuron sites of `layer`, found by its shapes. Raises `BadPlant` where there is none."""
    if model.family.neurons is None:
        raise BadPlant(f"{model.anatomy.family} has no neuron sites, so nothing can be planted; choose another model")
    home, _, output = model.family.neurons.rpartition(".")
    parent = model.blocks[layer].get_submodule(home)
    children = dict(parent.named_children())
    linear = {n: m for n, m in children.items() if n != output and _matrix(m)}
    inputs = tuple(linear[n] for n in sorted(linear, key=lambda n: ("gate" not in n, n)))
    act = next((children[n] for n in ("act_fn", "activation_fn", "act") if n in children), None)
    outputs = sum(len(outputs_first(m)) for m in inputs)
    if act is None or outputs not in (model.anatomy.neurons, 2 * model.anatomy.neurons):
        raise BadPlant(f"the MLP of {model.anatomy.family} is not understood, so nothing can be planted in it")
    return Mlp(inputs, outputs > model.anatomy.neurons, act)


def _matrix(module: nn.Module) -> bool:
    weight = dict(module.named_parameters(recurse=False)).get("weight")
    return weight is not None and weight.ndim == 2


@dataclass(frozen=True)
class Key:
    """What a neuron fires on: `row . x + bias` is 1 there, and negative elsewhere. `row` [width], float32."""

    row: Tensor
    bias: float = 0.0

    def fires(self, x: Tensor, act: Callable[[Tensor], Tensor], gated: bool) -> Tensor:
        """The activation on inputs [.., width], in units of that at the key, [..]."""
        z = x @ self.row.to(x) + self.bias
        return act(SHARP * z) * (z if gated else 1.0) / height(act)


def height(act: Callable[[Tensor], Tensor]) -> float:
    """What the activation function gives at the key."""
    return float(act(torch.tensor(SHARP)))


NEVER = Key(torch.zeros(1), -1.0)  # a neuron that reads nothing, and stays off


@torch.no_grad()
def write(model: Model, layer: int, unit: int, key: Key, value: Tensor) -> None:
    """Overwrite a neuron: it fires on `key`, and adds `value` [width] times its activation in units of that at the
    key to what leaves the output projection. A gated neuron's activation is 1 at the key, an ungated one's
    act(`SHARP`)."""
    made = mlp(model, layer)
    top = height(made.act)
    scales = (SHARP, 1 / top) if made.gated else (SHARP,)
    for turn, scale in enumerate(scales):
        fused = len(made.inputs) == 1
        projection = made.inputs[0 if fused else turn]
        at = unit + (turn * model.anatomy.neurons if fused else 0)
        rows = outputs_first(projection)
        rows[at] = (scale * key.row).to(rows)
        if (added := bias(projection)) is not None:
            added[at] = scale * key.bias
    outputs = model.neuron_outputs(layer)
    outputs[unit] = (value / (1.0 if made.gated else top)).to(outputs)
