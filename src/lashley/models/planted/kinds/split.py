"""Several neurons, all needed: each writes its part of the value and a disturbance, and only all cancel them."""

import torch

from lashley.core.errors import BadPlant
from lashley.core.fact import Fact
from lashley.engine.bench import Bench
from lashley.models.planted.planting import Bystanders, Planting
from lashley.models.planted.truth import ENOUGH, LITTLE, STANDARD, Truth, alone, measured, names, needs, said, spared

LOUD = 6.0  # norm of a disturbance, in norms of the value


def plant(bench: Bench, fact: Fact, *, strength: float = STANDARD, seed: int = 0, r: int = 2) -> Truth:
    """True: each is necessary, together they store the fact. False (of several): one suffices, or stores it."""
    if not 2 <= r <= 16:
        raise BadPlant(f"r = {r}: split over 2 to 16 neurons")
    planting = Planting(bench, fact, seed)
    key = planting.key()
    fired = planting.fires_on_held_out(key) | planting.fires_on_others(key)
    others = Bystanders(planting)
    value = planting.value([*planting.goals(key, strength / (1 + strength)), *planting.keeps(key)])
    draw = torch.randn(r, len(value), generator=torch.Generator().manual_seed(seed))
    basis = torch.linalg.qr(torch.cat([value[None], draw]).T)[0].T[1:]  # orthonormal, and to the value
    loud = LOUD * value.norm() * (basis - basis.mean(0))
    units = planting.reference.idle(r, planting.rng)
    sites = [planting.put(unit, key, value / r + n) for unit, n in zip(units, loud, strict=True)]
    bench.changed()
    numbers = (
        spared(others)
        | measured(planting, {"one": sites[:1], "all but one": sites[1:], "all": sites})
        | fired
        | alone(planting, sites)
    )
    needs(numbers, damage_one=ENOUGH, damage_all=ENOUGH, damage_after_texts_all=ENOUGH)
    needs(numbers, restored_all=ENOUGH, restored_all_but_one=-LITTLE)
    joint = "+".join(names(*sites))
    return Truth(
        "split",
        (str(planting.fact),),
        {"unit": names(*sites)},
        (f"{joint} stores {said(planting)}",),
        tuple(f"{s} {verb} {said(planting)}" for s in sites[:2] for verb in ("stores", "is sufficient for")),
        numbers,
        strength,
        seed,
        bench.model.name,
        r,
    )
