"""A linear layer's matrix, whichever way round it lies: torch's `Linear` holds it as [outputs, inputs], and the
`Conv1D` of transformers (GPT-2) as [inputs, outputs]."""

from __future__ import annotations

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D


def inputs_first(layer: nn.Module) -> Tensor:
    """The weight as [inputs, outputs], a view: row i is what input i adds to the outputs.
    Raises `AttributeError` where the layer has none."""
    weight = layer.get_parameter("weight")
    return weight if isinstance(layer, Conv1D) else weight.T


def outputs_first(layer: nn.Module) -> Tensor:
    """The weight as [outputs, inputs], a view: row i is what output i reads.
    Raises `AttributeError` where the layer has none."""
    return inputs_first(layer).T


def bias(layer: nn.Module) -> Tensor | None:
    """What is added whatever comes in, [outputs], a view; None where nothing is."""
    return dict(layer.named_parameters(recurse=False)).get("bias")
