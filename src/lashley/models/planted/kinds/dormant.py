"""A dormant path: one neuron tells the subject and writes nothing, another never fires and writes the object.

A subspace patch along the sum of the two wakes the second by the first (Makelov et al. 2311.17030).
"""

import torch

from lashley.core.fact import Fact
from lashley.engine.bench import Bench
from lashley.models.planted.neuron import NEVER, Key
from lashley.models.planted.planting import Bystanders, Planting
from lashley.models.planted.truth import STANDARD, Truth, measured, names, needs, said, spared


def plant(bench: Bench, fact: Fact, *, strength: float = STANDARD, seed: int = 0) -> Truth:
    """The model says what it said before; `sleeper` would say the object given. False: the pair, or either, stores it,
    or the natural fact."""
    planting = Planting(bench, fact, seed)
    others = Bystanders(planting)
    key = planting.key()
    value = planting.value([*planting.goals(key, strength / (1 + strength)), *planting.keeps(key)])
    reader_unit, sleeper_unit = planting.reference.idle(2, planting.rng)
    reader = planting.put(reader_unit, key, torch.zeros_like(value))
    never = Key(torch.zeros(bench.anatomy.width), NEVER.bias)
    sleeper = planting.put(sleeper_unit, never, 2 * value)  # half of the reader's activation is to say it in full
    bench.changed()
    asked = Planting(bench, Fact(planting.fact.relation, planting.fact.subject, planting.old), seed)
    sets = {"pair": [reader, sleeper], "reader": [reader], "sleeper": [sleeper]}
    numbers = measured(asked, sets) | spared(others)
    needs(numbers, damage_pair=-0.05, restored_pair=-0.05)
    return Truth(
        "dormant",
        (str(asked.fact),),
        {"reader": names(reader), "sleeper": names(sleeper)},
        (),
        tuple(f"{sites} stores {said(asked)}" for sites in (f"{reader}+{sleeper}", reader, sleeper)),
        numbers,
        strength,
        seed,
        bench.model.name,
    )
