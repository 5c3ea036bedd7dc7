"""Readable, unread: a neuron of the last layer tells the subject, at a position from which nothing is read any more."""

import torch

from lashley.core.fact import Fact
from lashley.engine.bench import Bench
from lashley.models.planted.planting import Bystanders, Planting, natural
from lashley.models.planted.truth import STANDARD, Truth, measured, names, needs, said, spared


def plant(bench: Bench, fact: Fact, *, strength: float = STANDARD, seed: int = 0) -> Truth:
    """Of the natural fact (the object given is not planted). False: it stores it, or contributes to it."""
    planting = Planting(bench, natural(fact), seed, bench.anatomy.layers - 1)
    others = Bystanders(planting)
    key = planting.key()
    draw = torch.randn(bench.anatomy.width, generator=torch.Generator().manual_seed(seed))
    site = planting.put(planting.reference.idle(1, planting.rng)[0], key, strength / STANDARD * draw)
    bench.changed()
    numbers = measured(planting, {"unit": [site]}) | spared(others)
    needs(numbers, damage_unit=-0.05, restored_unit=-0.05)
    verbs = ("stores", "contributes to", "is necessary for", "is sufficient for")
    return Truth(
        "unread",
        (str(planting.fact),),
        {"unit": names(site)},
        (),
        tuple(f"{site} {verb} {said(planting)}" for verb in verbs),
        numbers,
        strength,
        seed,
        bench.model.name,
    )
