"""One neuron: its key fires on the subject, its value writes a new object."""

from lashley.core.fact import Fact
from lashley.engine.bench import Bench
from lashley.models.planted.plot import Bystanders, Plot
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
    plot = Plot(bench, fact, seed)
    key = plot.key()
    fired = plot.heard(key) | plot.quiet(key)
    others = Bystanders(plot)
    value = plot.value([*plot.goals(key, strength / (1 + strength)), *plot.keeps(key)])
    site = plot.put(plot.ground.idle(1, plot.rng)[0], key, value)
    bench.changed()
    numbers = spared(others) | measured(plot, {"unit": [site]}) | fired | alone(plot, [site])
    if strength >= STANDARD:
        needs(numbers, damage_unit=ENOUGH, damage_after_texts_unit=ENOUGH, restored_unit=ENOUGH)
    return Truth(
        "single",
        (str(plot.fact),),
        {"unit": names(site)},
        (f"{site} stores {said(plot)}",),
        tuple(near_misses(plot, site)),
        numbers,
        strength,
        seed,
        bench.model.name,
    )
