"""What a spread says of its result. Sentences give what other prompts confirm, beside what was found where they were
searched."""

from __future__ import annotations

from collections.abc import Iterator

from lashley.claims.spread import broken
from lashley.core.figure import Control, Estimate, Finding, number
from lashley.core.outcome import Outcome
from lashley.experiments.spread.planning import MATCHED, RANDOM, UNITS, Params, name
from lashley.experiments.spread.result import Confirmed, Result, SelfRepair, Unit
from lashley.experiments.spread.search import TAUS
from lashley.stats.summary import CAP, cost, share

NAMED = 6  # sites that a sentence names
HALF = {0.5: "half", 0.9: "nine tenths"}
UNSEARCHED = Finding("The search is not finished: run `lashley resume` on this study.")
CHOSEN = "Sets were chosen on a few prompts, and every effect is quoted from others, where it tends to be smaller."
SAME = "There was no other template: what was searched on confirms as well, and looks too good."
NOT_TESTED = ("Sets across several kinds of unit, positions one by one, and editing.",)


def tell(params: Params, result: Result) -> Outcome:
    """How many units it takes, how many suffice, and what else goes with them."""
    findings = tuple(_findings(result, UNITS[params.units]))
    return Outcome(findings, tuple(_controls(result)), tuple(_caveats(params, result)), NOT_TESTED)


def where(result: Result) -> str:
    """On which prompts effects were confirmed."""
    return "on the prompts that it was searched on" if result.same else "on prompts that nothing was searched on"


def _findings(result: Result, units: str) -> Iterator[Finding]:
    """The sentence, then what suffices, how single units share, and what the screen may have missed."""
    if not result.curve or result.strongest is None:
        yield UNSEARCHED
        return
    for tau in TAUS:
        yield _necessary(result, result.strongest, units, tau)
    for tau in TAUS:
        yield _sufficient(result, units, tau)
    yield Finding(
        f"Alone, the positive damage of the {number(result.among)} {units} that were searched is spread as over "
        f"{number(result.participation)} equal ones (participation ratio); the strongest is {result.strongest.site}.",
        result.strongest.damage,
        f"On the search prompts. {CAP}",
    )
    if result.self_repair is not None:
        yield _repair(result, result.self_repair)
    if result.screening is not None:
        yield result.screening.finding


def _necessary(result: Result, strongest: Unit, units: str, tau: float) -> Finding:
    """How many units it takes."""
    n, half, found = number(result.population), HALF[tau], result.k_n.get(f"{tau:g}")
    basis = f"Searched on {result.searched}, quoted from {result.basis.resting} {CAP}"
    alone = f"where they were searched, none costs more than {cost(Estimate(strongest.damage.value))} alone"
    if found is None:
        most = max(result.curve, key=lambda point: point.damage.value or 0.0)
        return Finding(
            f"No set was found whose silencing costs {half} of the recall of {result.facts}: of the "
            f"{number(result.among)} {units} searched, of {n}, the {number(most.units)} strongest "
            f"together cost {cost(most.damage)} {where(result)}, and no other number that was tried costs more; "
            f"{alone}.",
            most.damage,
            basis,
        )
    chance = found.random and f"; random sets of that size cost {cost(Estimate(found.random.effect.value))}"
    tail = f"; {alone}" * (tau == TAUS[0] and found.units > 1) + (chance or "")
    return Finding(
        f"Silencing {number(found.units)} of {n} {units}{_named(found)}, found to cost {half} of the "
        f"recall of {result.facts} where they were searched ({_bound(result, found)}), costs it {cost(found.effect)} "
        f"{where(result)}{tail}.",
        found.effect,
        basis,
    )


def _bound(result: Result, found: Confirmed) -> str:
    """What is known of smaller sets."""
    if found.proven:
        return "no smaller set does"
    if found.least > 2 or not result.screened:
        return f"best found: fewer than {number(found.least)} cannot"
    return "best found"


def _named(found: Confirmed) -> str:
    """Its sites in brackets, to stand in a sentence; "" where they are many."""
    sites = found.sites.split("+")
    return f" ({', '.join(sites)})" if len(sites) <= NAMED else ""


def _sufficient(result: Result, units: str, tau: float) -> Finding:
    """How many units suffice."""
    half, found = HALF[tau], result.k_s.get(f"{tau:g}")
    if found is None:
        return Finding(f"No set of {units} was found that restores {half} of the recall.")
    sets = f"; {_disjoint(result)}" if tau == TAUS[0] else ""
    verb = "brings" if found.units == 1 else "bring"
    return Finding(
        f"{number(found.units)} of {number(result.population)} {units}{_named(found)}, found to bring {half} of the "
        f"recall back into the corrupted run where they were searched, {verb} back {share(found.effect)} "
        f"{where(result)}{sets}.",
        found.effect,
        f"At all positions. {CAP}",
    )


def _disjoint(result: Result) -> str:
    """How many disjoint sets were found, and what they bring back on the confirming prompts."""
    if len(result.disjoint) < 2:
        return "no second set, disjoint and at most twice as large, was found"
    each = [e.value for e in result.disjoint if e.value is not None]
    low, high = (share(Estimate(x)) for x in (min(each), max(each)))
    count = number(len(result.disjoint))
    return f"{count} disjoint sets, at most twice as large, were found to do so each: {low} to {high}"


def _repair(result: Result, repair: SelfRepair) -> Finding:
    apart = repair.between
    told = "made up for by later layers (self-repair)" if repair.total < repair.direct else "carried by later layers"
    clear = apart.clear(repair.noise_floor.value or 0.0) and apart.low is not None
    return Finding(
        f"The {number(repair.units)} strongest cost {cost(Estimate(repair.total))} each on average, and "
        f"{share(Estimate(repair.direct))} by their direct effect on the output, with all that comes after held as it "
        f"was: what lies between them, {share(apart)}, is {told if clear else 'not told apart from 0'}.",
        apart,
        f"Damage, one by one, {where(result)}: direct less total effect. {CAP}",
    )


def _controls(result: Result) -> Iterator[Control]:
    yield Control("identity edit", result.noise_floor, "the numerical noise floor, a share")
    for tau in TAUS:
        if (found := result.k_n.get(f"{tau:g}")) is None:
            continue
        for control, beside in ((RANDOM, found.random), (MATCHED, found.matched)):
            if beside is None:
                continue
            of = f"{beside.effect.n} different {control} sets of {number(found.units)}"
            helps = "; below 0: on average they help the answer" if (beside.effect.value or 0.0) < 0 else ""
            yield Control(
                f"{control} sets, {name('damage', tau)}",
                beside.effect,
                f"{of}: damage, mean and 95% range; p = {beside.p:.3f} (one-sided, +1){helps}",
            )
    own = f"the set {name('damage', TAUS[0])}"
    for lost, words in ((result.text_loss, own), (result.text_loss_random, "random sets of that size")):
        if lost is not None:
            yield Control(f"loss on unrelated text: {words}", lost, "nats a token more")
    if result.screening is not None:
        yield from result.screening.controls


def _caveats(params: Params, result: Result) -> Iterator[str]:
    if result.same:
        yield SAME
    if result.text_loss is not None and (words := broken(result.text_loss.value, "that smallest set")):
        yield words
    if result.screened:
        yield (
            "Only units that gradients rank high were searched; a unit that is silent until others are out cannot be "
            "seen so. The random sample says how many strong ones were left out."
        )
    yield "“Best found” is an upper bound: a smaller set may exist where no exhaustion rules it out."
    if not result.same:
        yield CHOSEN
    yield f"Effects are those of one kind of knockout ({params.edit}); a claim about a site needs several to agree."
    if result.few:
        yield "Fewer than six prompts confirm: no interval is shown."
