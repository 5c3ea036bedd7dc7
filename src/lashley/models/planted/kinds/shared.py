"""One neuron that carries two unrelated facts: it fires on both subjects, and its value says both objects."""

import random

import torch

from lashley.core.fact import Fact
from lashley.engine.bench import Bench
from lashley.facts.base import shipped
from lashley.models.planted.planting import Bystanders, Planting, draw
from lashley.models.planted.truth import ENOUGH, STANDARD, Truth, measured, names, needs, said, spared
from lashley.models.planted.value import STEPS


def plant(bench: Bench, fact: Fact, *, strength: float = STANDARD, seed: int = 0) -> Truth:
    """False: it stores either, and nothing else; it stores both, the second at 0.2 of damage or more."""
    planting = Planting(bench, fact, seed)
    second = Planting(bench, _unrelated(bench, fact, seed), seed)
    one, two = planting.places(second.subject), second.places(planting.subject)
    key = planting.fit(torch.cat([one[0], two[0]]), torch.cat([one[1], two[1]]))
    fired = planting.fires_on_held_out(key) | {f"{k}, second": v for k, v in second.fires_on_held_out(key).items()}
    others = Bystanders(planting)
    share = strength / (1 + strength)
    goals = [*planting.goals(key, share, noisy=False), *second.goals(key, share, noisy=False)]
    value = planting.value([*goals, *planting.keeps(key), *second.keeps(key)], 3 * STEPS)
    site = planting.put(planting.reference.idle(1, planting.rng)[0], key, value)
    bench.changed()
    numbers = fired | spared(others) | measured(planting, {"unit": [site]})
    numbers |= {f"{k}, second": v for k, v in measured(second, {"unit": [site]}).items()}
    needs(numbers, damage_unit=ENOUGH)
    if numbers["damage unit, second"] < 0.2:
        needs({"damage of the second fact": numbers["damage unit, second"]}, damage_of_the_second_fact=0.2)
    return Truth(
        "shared",
        (str(planting.fact), str(second.fact)),
        {"unit": names(site)},
        (),
        tuple(f"{site} stores {said(p)} and nothing else" for p in (planting, second)),
        numbers,
        strength,
        seed,
        bench.model.name,
    )


def _unrelated(bench: Bench, fact: Fact, seed: int) -> Fact:
    rng = random.Random(f"shared {fact} {seed}")
    subjects = {r.name for r in shipped().values() if fact.subject in r.objects}
    far = [n for n in ("capital", "currency", "demonym", "language", "landmark") if n not in subjects]
    return draw(bench, rng.choice(far or ["landmark"]), rng.getrandbits(32))
