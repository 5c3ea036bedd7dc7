"""What single heads write: of one token alone, and through the norms to the vocabulary."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from lashley.core.run import Run
from lashley.engine.hooks import final_norm
from lashley.engine.linear import inputs_first
from lashley.engine.model import Model
from lashley.engine.passes import forward


@torch.no_grad()
def alone(model: Model, streams: Tensor) -> Tensor:
    """What every head hands on when a token attends to itself only, [tokens, layers, heads, head width].

    `streams` [layers, tokens, width] is the residual stream that each layer receives there. A sequence of one token
    leaves attention no choice, so that these are the heads' values, with the model's own norms and biases.
    """
    found: dict[int, Tensor] = {}

    def enter(x: Tensor, to: Tensor) -> Tensor:
        return to[:, None].to(x)

    def keep(x: Tensor, layer: int) -> None:
        found[layer] = x[:, 0].to(model.device)

    on = {}
    for layer in range(model.anatomy.layers):
        on[layer, "resid"] = partial(enter, to=streams[layer])
        on[layer, "head"] = partial(keep, layer=layer)
    forward(model, [Run("", (0,))] * streams.shape[1], on)
    return torch.stack([found[layer] for layer in sorted(found)], 1).unflatten(-1, (model.anatomy.heads, -1))


def written(model: Model, heads: Tensor, together: bool) -> Tensor:
    """What each head adds to the residual stream, [.., layers, heads, width], from what enters the output projections,
    [.., layers, heads, head width]; a bias of the projection is no head's.

    A norm after the projection, where there is one, scales by all heads `together`, or as if each were alone.
    """
    layers = []
    for layer, block in enumerate(model.blocks):
        projection = block.get_submodule(model.family.heads)
        rows = inputs_first(projection)
        here = heads[..., layer, :, :].to(rows)
        rows = rows.unflatten(0, here.shape[-2:])
        own = torch.einsum("...hd,hdw->...hw", here, rows)
        if model.family.attn != model.family.heads:
            whole = projection(here.flatten(-2))[..., None, :] if together else own
            own = scaled(block.get_submodule(model.family.attn), own, whole)
        layers.append(own.to(model.device))
    return torch.stack(layers, -3)


def unembedded(model: Model, part: Tensor, whole: Tensor, tokens: Tensor) -> Tensor:
    """What `part` [.., width] of the residual stream `whole`, entering the final norm, adds to the logits of `tokens`,
    before any soft cap: float32 [.., tokens]. The norm's scale is that of the whole."""
    weight: Tensor = model.module.get_output_embeddings().weight
    norm = final_norm(model.module, model.family)
    return scaled(norm, part.to(weight), whole.to(weight)).float() @ weight[tokens.to(weight.device)].float().T


def scaled(norm: nn.Module, part: Tensor, whole: Tensor) -> Tensor:
    """A norm's share of a part [.., width] of its input: linear in the part, by the scale of the whole [.., width];
    the shares of parts that add up to the whole add up to its output without the bias."""
    centred = isinstance(norm, nn.LayerNorm)
    gain = norm.weight if centred else norm(torch.ones_like(whole))
    own, full = (gain * (x - x.mean(-1, keepdim=True) if centred else x) for x in (part, whole))
    out = norm(whole) - norm(torch.zeros_like(whole))
    return own * ((out * full).sum(-1, keepdim=True) / (full * full).sum(-1, keepdim=True).clamp_min(1e-30))
