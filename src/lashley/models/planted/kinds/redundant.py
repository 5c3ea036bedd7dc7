"""Several neurons of one layer, each sufficient: the residual stream saturates, so that the first already fills it."""

from lashley.core.errors import BadPlant
from lashley.core.fact import Fact
from lashley.engine.bench import Bench
from lashley.models.planted.planting import Bystanders, Planting
from lashley.models.planted.truth import ENOUGH, LITTLE, STANDARD, Truth, alone, measured, names, needs, said, spared


def plant(bench: Bench, fact: Fact, *, strength: float = STANDARD, seed: int = 0, r: int = 2) -> Truth:
    """True: each suffices, together they store the fact. False (of several): one is necessary, or stores it."""
    if not 1 <= r <= 16:
        raise BadPlant(f"r = {r}: plant 1 to 16 neurons")
    planting = Planting(bench, fact, seed)
    key, share = planting.key(), strength / (1 + strength)
    fired = planting.fires_on_held_out(key) | planting.fires_on_others(key)
    others = Bystanders(planting)
    goals = planting.goals(key, share) + (planting.goals(key, share, scale=r) if r > 1 else [])
    value = planting.value([*goals, *planting.keeps(key, scale=r)])
    sites = [planting.put(unit, key, value) for unit in planting.reference.idle(r, planting.rng)]
    bench.changed()
    numbers = (
        spared(others)
        | measured(planting, {"one": sites[:1], "all but one": sites[1:] or sites, "all": sites})
        | fired
        | alone(planting, sites)
    )
    needs(numbers, restored_one=ENOUGH, damage_all=ENOUGH)
    if r > 1:
        needs(numbers, damage_one=-LITTLE, damage_all_but_one=-LITTLE)
    joint = "+".join(names(*sites))
    true = [f"{s} is sufficient for {said(planting)}" for s in sites]
    false = (
        [f"{s} {verb} {said(planting)}" for s in sites[:2] for verb in ("stores", "is necessary for")] if r > 1 else []
    )
    return Truth(
        "redundant",
        (str(planting.fact),),
        {"unit": names(*sites)},
        (f"{joint} stores {said(planting)}", *true),
        tuple(false),
        numbers,
        strength,
        seed,
        bench.model.name,
        r,
    )
