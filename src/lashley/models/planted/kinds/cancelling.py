"""Two neurons that fire on the subject and undo each other: large effects alone, none together."""

from lashley.core.fact import Fact
from lashley.engine.bench import Bench
from lashley.models.planted.planting import Bystanders, Planting, natural
from lashley.models.planted.truth import STANDARD, Truth, measured, names, needs, said, spared


def plant(bench: Bench, fact: Fact, *, strength: float = STANDARD, seed: int = 0) -> Truth:
    """Of the natural fact. False: the pair stores it, contributes to it, or is necessary for it."""
    planting = Planting(bench, natural(fact), seed)
    others = Bystanders(planting)
    key = planting.key()
    value = planting.value([*planting.goals(key, -0.15 * strength), *planting.keeps(key)])
    units = planting.reference.idle(2, planting.rng)
    minus, plus = (planting.put(unit, key, sign * value) for unit, sign in zip(units, (1, -1), strict=True))
    bench.changed()
    numbers = measured(planting, {"pair": [minus, plus], "plus": [plus], "minus": [minus]}) | spared(others)
    needs(numbers, damage_pair=-0.05, damage_plus=0.05)
    pair = f"{minus}+{plus}"
    return Truth(
        "cancelling",
        (str(planting.fact),),
        {"plus": names(plus), "minus": names(minus)},
        (),
        tuple(f"{pair} {verb} {said(planting)}" for verb in ("stores", "contributes to", "is necessary for")),
        numbers,
        strength,
        seed,
        bench.model.name,
    )
