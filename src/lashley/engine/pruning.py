"""Which single weights a readout hangs on, to first order, and a copy of the model without them.

Setting a weight to 0 changes the readout by -gradient x weight, to first order (Molchanov et al. 2019,
arXiv 1906.10771, with its sign).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from lashley.core.readout import Readout
from lashley.core.run import Run
from lashley.core.trial import Pruned
from lashley.engine.gradients import by_length, summed
from lashley.engine.model import Model
from lashley.engine.passes import forward


def matrices(model: Model, module: nn.Module) -> Iterator[Tensor]:
    """The weights that may go: every matrix in the decoder layers; embeddings, norms and biases stay."""
    prefix = f"{model.family.layers}."
    return (p for name, p in module.named_parameters() if p.ndim == 2 and name.startswith(prefix))


def contributions(model: Model, asked: Sequence[tuple[Run, Readout]]) -> list[Tensor]:
    """gradient x weight of every matrix, summed over the readouts, float32 in their unit."""
    weights = list(matrices(model, model.module))
    for w in weights:
        w.requires_grad_(True)
    try:
        with torch.enable_grad():
            for same in by_length(asked):
                summed(model, same, forward(model, [one.variant.run for one in same], {})).backward()
        return [torch.zeros_like(w) if w.grad is None else (w.grad * w).detach().float() for w in weights]
    finally:
        for w in weights:
            w.requires_grad_(False)
            w.grad = None


@torch.no_grad()
def prune(model: Model, module: nn.Module, what: Pruned) -> None:
    """Set a share of the weights of `module`, a copy of `model`'s, to 0."""
    weights = list(matrices(model, module))
    total = sum(w.numel() for w in weights)
    count = max(1, round(what.share * total))
    if what.seed is not None:
        flat = torch.rand(total, generator=torch.Generator().manual_seed(what.seed)).to(weights[0].device)
    else:
        flat = torch.cat([c.flatten().to(weights[0].device) for c in contributions(model, what.asked)])
    gone = flat.new_zeros(total, dtype=torch.bool)
    gone[flat.topk(count).indices] = True
    for w, here in zip(weights, gone.split([w.numel() for w in weights]), strict=True):
        w.masked_fill_(here.view_as(w).to(w.device), 0.0)
