"""One neuron that carries two unrelated facts: it fires on both subjects, and its value says both objects."""

import random

import torch

from lashley.core.fact import Fact
from lashley.engine.bench import Bench
from lashley.facts.base import shipped
from lashley.models.planted.plot import Bystanders, Plot, draw
from lashley.models.planted.truth import ENOUGH, STANDARD, Truth, measured, names, needs, said, spared
from lashley.models.planted.value import STEPS


def plant(bench: Bench, fact: Fact, *, strength: float = STANDARD, seed: int = 0) -> Truth:
    """False: it stores either, and nothing else; it stores both, the second at 0.2 of damage or more."""
    plot = Plot(bench, fact, seed)
    second = Plot(bench, _unrelated(bench, fact, seed), seed)
    one, two = plot.places(second.subject), second.places(plot.subject)
    key = plot.fit(torch.cat([one[0], two[0]]), torch.cat([one[1], two[1]]))
    heard = plot.heard(key) | {f"{k}, second": v for k, v in second.heard(key).items()}
    others = Bystanders(plot)
    share = strength / (1 + strength)
    goals = [*plot.goals(key, share, noisy=False), *second.goals(key, share, noisy=False)]
    value = plot.value([*goals, *plot.keeps(key), *second.keeps(key)], 3 * STEPS)
    site = plot.put(plot.ground.idle(1, plot.rng)[0], key, value)
    bench.changed()
    numbers = heard | spared(others) | measured(plot, {"unit": [site]})
    numbers |= {f"{k}, second": v for k, v in measured(second, {"unit": [site]}).items()}
    needs(numbers, damage_unit=ENOUGH)
    if numbers["damage unit, second"] < 0.2:
        needs({"damage of the second fact": numbers["damage unit, second"]}, damage_of_the_second_fact=0.2)
    return Truth(
        "shared",
        (str(plot.fact), str(second.fact)),
        {"unit": names(site)},
        (),
        tuple(f"{site} stores {said(p)} and nothing else" for p in (plot, second)),
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
