"""Where every head looks: attention probabilities of plain passes, worked out beside the attention itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from lashley.core.errors import BadModel
from lashley.core.run import Run
from lashley.engine.attention import Patterns, attending
from lashley.engine.model import Model
from lashley.engine.passes import batches, forward


@torch.no_grad()
def patterns(model: Model, runs: Sequence[Run]) -> list[np.ndarray]:
    """Of each run the attention probabilities, float32 [layers, heads, query, key].

    Soft caps, sliding windows and the model's own scaling are in them; a query's probabilities add up to 1, and are
    0 at keys that it does not see. Raises `BadModel` where attention does not go through `AttentionInterface`.
    """
    if not model.family.packed:
        raise BadModel(f"{model.anatomy.family}'s attention cannot be reached, so there are no patterns to read")
    found = [np.empty(0)] * len(runs)
    for batch in batches([len(run) for run in runs], model.tokens_per_pass):
        store: Patterns = {}
        with attending(store):
            forward(model, [runs[i] for i in batch], {})
        every = torch.stack([store[layer].float().cpu() for layer in range(model.anatomy.layers)], 1)
        for i, one in zip(batch, every.numpy(), strict=True):
            found[i] = one
    return found
