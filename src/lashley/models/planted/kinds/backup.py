"""A neuron, and a second one in the next layer that fires only when the first is off: self-repair, made."""

import torch

from lashley.core.fact import Fact
from lashley.engine.bench import Bench
from lashley.models.planted.planting import Bystanders, Planting
from lashley.models.planted.truth import ENOUGH, LITTLE, STANDARD, Truth, alone, measured, names, needs, said, spared


def plant(bench: Bench, fact: Fact, *, strength: float = STANDARD, seed: int = 0) -> Truth:
    """True: the first suffices, and both together store the fact. False: either is necessary, or stores it alone."""
    planting = Planting(bench, fact, seed)
    later = Planting(bench, fact, seed, planting.layer + 1)
    key, share = planting.key(), strength / (1 + strength)
    fired = planting.fires_on_held_out(key)
    others = Bystanders(planting)
    first_unit, second_unit = planting.reference.idle(1, planting.rng)[0], later.reference.idle(1, later.rng)[0]
    here, elsewhere = later.places()
    first = planting.put(first_unit, key, planting.value([*planting.goals(key, share), *planting.keeps(key)]))
    bench.changed()
    busy, _ = later.places()  # the same places, the first neuron being on
    second_key = later.fit(here, torch.cat([elsewhere, busy.repeat(max(1, len(elsewhere) // len(busy) // 4), 1)]))
    with torch.no_grad():  # its value is made for the model in which the first is off
        column = bench.model.neuron_outputs(planting.layer)[first_unit].clone()
        bench.model.neuron_outputs(planting.layer)[first_unit] = 0.0
    bench.changed()
    goals = [*later.goals(second_key, share), *later.keeps(second_key)]
    value = later.value(goals)
    second = later.put(second_unit, second_key, value)
    with torch.no_grad():
        bench.model.neuron_outputs(planting.layer)[first_unit] = column
    bench.changed()
    numbers = (
        fired | spared(others) | measured(planting, {"first": [first], "second": [second], "both": [first, second]})
    )
    needs(numbers, damage_first=-LITTLE, damage_second=-0.1, damage_both=ENOUGH, damage_after_texts_both=ENOUGH)
    needs(numbers, restored_first=ENOUGH)
    numbers |= alone(planting, [first, second])
    fact_ = said(planting)
    return Truth(
        "backup",
        (str(planting.fact),),
        {"first": names(first), "second": names(second)},
        (f"{first} is sufficient for {fact_}", f"{first}+{second} stores {fact_}"),
        tuple(f"{s} {verb} {fact_}" for s in (first, second) for verb in ("stores", "is necessary for")),
        numbers,
        strength,
        seed,
        bench.model.name,
    )
