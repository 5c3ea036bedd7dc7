"""A neuron that fires on the subject and works against its own object: knocking it out helps."""

from lashley.core.fact import Fact
from lashley.engine.bench import Bench
from lashley.models.planted.planting import Bystanders, Planting, natural
from lashley.models.planted.truth import STANDARD, Truth, measured, names, needs, said, spared


def plant(bench: Bench, fact: Fact, *, strength: float = STANDARD, seed: int = 0) -> Truth:
    """Of the natural fact. False: it stores it, contributes to it, or is necessary for it."""
    planting = Planting(bench, natural(fact), seed)
    others = Bystanders(planting)
    key = planting.key()
    value = planting.value([*planting.goals(key, -0.1 * strength), *planting.keeps(key)])
    site = planting.put(planting.reference.idle(1, planting.rng)[0], key, value)
    bench.changed()
    numbers = measured(planting, {"unit": [site]}) | spared(others)
    needs(numbers, damage_unit=-0.02)
    return Truth(
        "suppressor",
        (str(planting.fact),),
        {"unit": names(site)},
        (),
        tuple(f"{site} {verb} {said(planting)}" for verb in ("stores", "contributes to", "is necessary for")),
        numbers,
        strength,
        seed,
        bench.model.name,
    )
