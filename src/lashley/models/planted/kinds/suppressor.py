"""A neuron that fires on the subject and works against its own object: knocking it out helps."""

from lashley.core.fact import Fact
from lashley.engine.bench import Bench
from lashley.models.planted.plot import Bystanders, Plot, natural
from lashley.models.planted.truth import STANDARD, Truth, measured, names, needs, said, spared


def plant(bench: Bench, fact: Fact, *, strength: float = STANDARD, seed: int = 0) -> Truth:
    """Of the natural fact. False: it stores it, contributes to it, or is necessary for it."""
    plot = Plot(bench, natural(fact), seed)
    others = Bystanders(plot)
    key = plot.key()
    value = plot.value([*plot.goals(key, -0.1 * strength), *plot.keeps(key)])
    site = plot.put(plot.ground.idle(1, plot.rng)[0], key, value)
    bench.changed()
    numbers = measured(plot, {"unit": [site]}) | spared(others)
    needs(numbers, damage_unit=-0.02)
    return Truth(
        "suppressor",
        (str(plot.fact),),
        {"unit": names(site)},
        (),
        tuple(f"{site} {verb} {said(plot)}" for verb in ("stores", "contributes to", "is necessary for")),
        numbers,
        strength,
        seed,
        bench.model.name,
    )
