"""From the result of a knockout to its sentences. Pure."""

from __future__ import annotations

from lashley.core.figure import Control, Estimate, Finding, number, plural
from lashley.core.outcome import Outcome
from lashley.experiments.knockout.measuring import Beside, Result, Unit
from lashley.experiments.knockout.planning import KIND_OF, RANDOM, Params, joined, where, word
from lashley.stats.summary import percent, share

DECIDE = 19  # random sets without which no p is 0.05 or less


def tell(params: Params, result: Result) -> Outcome:
    """How much the strongest unit, or the named set, costs, beside its controls."""
    floor = Estimate(result.noise_floor)
    controls = [Control("identity edit", floor, "the numerical noise floor; smaller effects say nothing")]
    basis = f"{params.edit.capitalize()} knockout at {where(params)}, over {result.basis.resting}"
    whole = params.units in KIND_OF
    if whole and result.strongest is not None:
        damage, sentence = result.strongest.damage, _one_by_one(params, result, result.strongest)
        basis += f" It is the largest of {number(result.units)}, chosen on the same prompts."
    elif not whole and result.joint is not None:
        damage, sentence = result.joint, _together(params, result, result.joint)
    else:
        what = f"the {word(params)}" if whole else joined(params)
        sentence = f"What knocking out {what} costs the recall of {result.facts} is not measured yet."
        return Outcome((Finding(sentence, None, basis),), tuple(controls))
    findings = [Finding(sentence, damage, basis)]
    if result.chance is not None:
        controls.append(Control(RANDOM, result.chance.damage, _reading(params, result.chance)))
    if result.screening is not None:
        findings.append(result.screening.finding)
        controls += result.screening.controls
    not_tested = (
        "Damage to other facts and to unrelated text, joint sets beyond the named one, editing.",
        "An untrained copy of the model and label-shuffled facts: these controls come with claims.",
    )
    return Outcome(tuple(findings), tuple(controls), tuple(_caveats(params, result)), not_tested)


def _caveats(params: Params, result: Result) -> list[str]:
    caveats = [
        "Damage by one kind of knockout is not yet necessity: a claim needs zero, mean, resample and noise to agree.",
        "Knockouts one by one are blind to redundancy and self-repair: a unit with a backup costs nothing alone.",
    ]
    if params.screen:
        caveats.insert(
            0,
            "The screen is a first-order estimate (attribution patching), exact for small changes only. Its blind spot "
            "is saturation: where the response levels off (attention's softmax, norms, gates, a backup that takes "
            "over), a strong unit may be estimated weak. Of what it left out only the random sample is measured.",
        )
    if params.edit == "zero":
        caveats.insert(0, "Zero ablation takes the model off its data, and alone is never evidence.")
    chance = result.chance
    if params.units not in KIND_OF and chance is None:
        caveats.append("No matched random control: too few other units of the kind in a layer, or none were asked for.")
    if chance is not None and chance.sets < DECIDE:
        caveats.append(
            f"Only {number(chance.sets)} different matched random {'set was' if chance.sets == 1 else 'sets were'} "
            f"measured, so p cannot be below {number(1 / (chance.sets + 1))}: whether the named set costs more than "
            "chance cannot be decided."
        )
    return caveats


def _together(params: Params, result: Result, damage: Estimate) -> str:
    """The headline of a named set: what it costs, and what matched random sets cost."""
    sentence = f"Knocking out {joined(params)} costs the recall of {result.facts} "
    if damage.value is not None and damage.value >= 0:
        sentence += percent(damage)
    else:
        apart = "so recall gains" if damage.clear(result.noise_floor) else "not told apart from 0"
        sentence += f"nothing: a damage of {percent(damage)}, {apart}"
    if (chance := result.chance) is not None:
        n = chance.sets
        different = "different " * (n < params.controls)
        range_ = " (mean and 95% range)" * (n > 1)
        sentence += (
            f"; {number(n)} {different}matched random set{'s' * (n != 1)} {'has' if n == 1 else 'have'} a damage of "
            f"{share(chance.damage)}{range_}"
        )
    return f"{sentence}."


def _reading(params: Params, chance: Beside) -> str:
    n = chance.sets
    reading = f"{number(n)} random set{'s' * (n != 1)} of the same layers, kinds and mean activation"
    reading += f" (of {number(params.controls)} asked for, no more are different)" * (n < params.controls)
    return f"{reading}; p = {chance.p:.3f} (one-sided, +1)" + "; with so few it cannot be 0.05 or less" * (n < DECIDE)


def _one_by_one(params: Params, result: Result, best: Unit) -> str:
    """The headline of a whole kind: the unit that costs most, the one that helps more than that, and how spread out."""
    big, what = result.above_tenth, result.facts
    many = "none costs" if not big else f"{number(big)} cost{'s' * (big == 1)}"
    unit = word(params)
    among = f"Of {plural(result.units, unit)}"
    if (screened := result.screening) is not None:
        all_ = number(screened.confirmed + screened.left)
        among = f"Of the {plural(result.units, unit)} that gradients rank highest among {all_}"
    if best.damage.value is not None and best.damage.value <= 0:
        sentence = f"{among}, knocked out one by one, none costs the recall of {what} anything"
    else:
        sentence = (
            f"{among}, knocked out one by one, {best.site} costs the recall of {what} most, {percent(best.damage)}; "
            f"{many} 10% or more, and the positive damage is spread as over {number(result.participation)} equal "
            f"{unit} (participation ratio)"
        )
    if (other := result.opposite) is not None:
        sentence += f"; {other.site} does more, the other way: a damage of {share(other.damage)}, so recall gains"
    return f"{sentence}."
