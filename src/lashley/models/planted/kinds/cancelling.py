"""Two neurons that fire on the subject and undo each other: large effects alone, none together."""

from lashley.core.fact import Fact
from lashley.engine.bench import Bench
from lashley.models.planted.plot import Bystanders, Plot, natural
from lashley.models.planted.truth import STANDARD, Truth, measured, names, needs, said, spared


def plant(bench: Bench, fact: Fact, *, strength: float = STANDARD, seed: int = 0) -> Truth:
    """Of the natural fact. False: the pair stores it, contributes to it, or is necessary for it."""
    plot = Plot(bench, natural(fact), seed)
    others = Bystanders(plot)
    key = plot.key()
    value = plot.value([*plot.goals(key, -0.15 * strength), *plot.keeps(key)])
    units = plot.ground.idle(2, plot.rng)
    minus, plus = (plot.put(unit, key, sign * value) for unit, sign in zip(units, (1, -1), strict=True))
    bench.changed()
    numbers = measured(plot, {"pair": [minus, plus], "plus": [plus], "minus": [minus]}) | spared(others)
    needs(numbers, damage_pair=-0.05, damage_plus=0.05)
    pair = f"{minus}+{plus}"
    return Truth(
        "cancelling",
        (str(plot.fact),),
        {"plus": names(plus), "minus": names(minus)},
        (),
        tuple(f"{pair} {verb} {said(plot)}" for verb in ("stores", "contributes to", "is necessary for")),
        numbers,
        strength,
        seed,
        bench.model.name,
    )
