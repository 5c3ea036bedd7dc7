"""Readable, unread: a neuron of the last layer tells the subject, at a position from which nothing is read any more."""

import torch

from lashley.core.fact import Fact
from lashley.engine.bench import Bench
from lashley.models.planted.plot import Bystanders, Plot, natural
from lashley.models.planted.truth import STANDARD, Truth, measured, names, needs, said, spared


def plant(bench: Bench, fact: Fact, *, strength: float = STANDARD, seed: int = 0) -> Truth:
    """Of the natural fact (the object given is not planted). False: it stores it, or contributes to it."""
    plot = Plot(bench, natural(fact), seed, bench.anatomy.layers - 1)
    others = Bystanders(plot)
    key = plot.key()
    draw = torch.randn(bench.anatomy.width, generator=torch.Generator().manual_seed(seed))
    site = plot.put(plot.ground.idle(1, plot.rng)[0], key, strength / STANDARD * draw)
    bench.changed()
    numbers = measured(plot, {"unit": [site]}) | spared(others)
    needs(numbers, damage_unit=-0.05, restored_unit=-0.05)
    verbs = ("stores", "contributes to", "is necessary for", "is sufficient for")
    return Truth(
        "unread",
        (str(plot.fact),),
        {"unit": names(site)},
        (),
        tuple(f"{site} {verb} {said(plot)}" for verb in verbs),
        numbers,
        strength,
        seed,
        bench.model.name,
    )
