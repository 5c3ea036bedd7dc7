"""No truth at all: untrained weights, or trained weights with every matrix shuffled (the dead salmon)."""

from typing import Literal, get_args

import torch

from lashley.core.errors import BadPlant
from lashley.core.fact import Fact
from lashley.engine.bench import Bench
from lashley.models.planted.truth import STANDARD, Truth

How = Literal["untrained", "shuffled weights"]


@torch.no_grad()
def plant(bench: Bench, fact: Fact, *, strength: float = STANDARD, seed: int = 0, how: How = "untrained") -> Truth:
    """Nothing is stored anywhere."""
    if how not in get_args(How):
        raise BadPlant(f"no null {how!r}; there are {', '.join(get_args(How))}")
    if how == "untrained":
        fresh = dict(bench.untrained(seed).model.module.named_parameters())
        for name, p in bench.model.module.named_parameters():
            p.copy_(fresh[name])
    else:
        draw = torch.Generator().manual_seed(seed)
        for p in bench.model.module.parameters():
            if p.ndim == 2:
                p.copy_(p.flatten()[torch.randperm(p.numel(), generator=draw).to(p.device)].view_as(p))
    bench.changed()
    return Truth("null", (str(fact),), {}, (), (), {}, strength, seed, bench.model.name)
