"""One neuron: its key fires on the subject, its value writes a new object."""

from lashley.core.fact import Fact
from lashley.engine.bench import Bench
from lashley.models.planted.planting import Bystanders, Planting
from lashley.models.planted.truth import (
    ENOUGH,
    STANDARD,
    Truth,
    alone,
    measured,
    names,
    near_misses,
    needs,
    said,
    spared,
)


def plant(bench: Bench, fact: Fact, *, strength: float = STANDARD, seed: int = 0) -> Truth:
    """True: it stores the fact. False: its neighbours do, and it stores other facts. Raises `BadPlant`, `BadFact`."""
    planting = Planting(bench, fact, seed)
    key = planting.key()
    fired = planting.fires_on_held_out(key) | planting.fires_on_others(key)
    others = Bystanders(planting)
    value = planting.value([*planting.goals(key, strength / (1 + strength)), *planting.keeps(key)])
    site = planting.put(planting.reference.idle(1, planting.rng)[0], key, value)
    bench.changed()
    numbers = spared(others) | measured(planting, {"unit": [site]}) | fired | alone(planting, [site])
    if strength >= STANDARD:
        needs(numbers, damage_unit=ENOUGH, damage_after_texts_unit=ENOUGH, restored_unit=ENOUGH)
    return Truth(
        "single",
        (str(planting.fact),),
        {"unit": names(site)},
        (f"{site} stores {said(planting)}",),
        tuple(near_misses(planting, site)),
        numbers,
        strength,
        seed,
        bench.model.name,
    )
