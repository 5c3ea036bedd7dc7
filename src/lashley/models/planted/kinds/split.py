"""Several neurons, all needed: each writes its part of the value and a disturbance, and only all cancel them."""

import torch

from lashley.core.errors import BadPlant
from lashley.core.fact import Fact
from lashley.engine.bench import Bench
from lashley.models.planted.plot import Bystanders, Plot
from lashley.models.planted.truth import ENOUGH, LITTLE, STANDARD, Truth, alone, measured, names, needs, said, spared

LOUD = 6.0  # norm of a disturbance, in norms of the value


def plant(bench: Bench, fact: Fact, *, strength: float = STANDARD, seed: int = 0, r: int = 2) -> Truth:
    """True: each is necessary, together they store the fact. False (of several): one suffices, or stores it."""
    if not 2 <= r <= 16:
        raise BadPlant(f"r = {r}: split over 2 to 16 neurons")
    plot = Plot(bench, fact, seed)
    key = plot.key()
    fired = plot.heard(key) | plot.quiet(key)
    others = Bystanders(plot)
    value = plot.value([*plot.goals(key, strength / (1 + strength)), *plot.keeps(key)])
    draw = torch.randn(r, len(value), generator=torch.Generator().manual_seed(seed))
    basis = torch.linalg.qr(torch.cat([value[None], draw]).T)[0].T[1:]  # orthonormal, and to the value
    loud = LOUD * value.norm() * (basis - basis.mean(0))
    units = plot.ground.idle(r, plot.rng)
    sites = [plot.put(unit, key, value / r + n) for unit, n in zip(units, loud, strict=True)]
    bench.changed()
    numbers = (
        spared(others)
        | measured(plot, {"one": sites[:1], "all but one": sites[1:], "all": sites})
        | fired
        | alone(plot, sites)
    )
    needs(numbers, damage_one=ENOUGH, damage_all=ENOUGH, damage_after_texts_all=ENOUGH)
    needs(numbers, restored_all=ENOUGH, restored_all_but_one=-LITTLE)
    joint = "+".join(names(*sites))
    return Truth(
        "split",
        (str(plot.fact),),
        {"unit": names(*sites)},
        (f"{joint} stores {said(plot)}",),
        tuple(f"{s} {verb} {said(plot)}" for s in sites[:2] for verb in ("stores", "is sufficient for")),
        numbers,
        strength,
        seed,
        bench.model.name,
        r,
    )
