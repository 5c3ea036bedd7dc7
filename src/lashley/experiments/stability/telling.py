"""What a stability study says of its result."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from lashley.core.figure import Control, Estimate, Finding, number
from lashley.core.outcome import Outcome
from lashley.experiments.stability.maps import CONTEXT, DRAW, FOREIGN, PARAPHRASE
from lashley.experiments.stability.measuring import Result
from lashley.experiments.stability.planning import Params
from lashley.facts.contexts import KINDS as CONTEXTS
from lashley.stats.summary import share

ONE = {"layers": "sub-layer", "heads": "head", "neurons": "neuron"}
WORDS = {DRAW: "another corruption draw", PARAPHRASE: "another paraphrase", CONTEXT: "another context"}
NOT_TESTED = (
    "Whether the units that stay are enough for recall (see locate), and sets of units (see knockout).",
    "Kinds of context that could not be made, and prompts on which the object does not rank first: see exclusions.",
)


def tell(params: Params, result: Result) -> Outcome:
    """How far the strongest units stay the same, and how much of the map belongs to the units themselves."""
    who = f"The {number(result.top)} strongest of {number(result.units)} {plural_of(params)}"
    basis = (
        f"{params.edit.capitalize()} knockout at all positions, over {result.basis}; overlap is shared units over all "
        f"units of two sets (Jaccard), averaged over pairs of prompts{' of one fact' * result.several}; "
        f"{method(result)}."
    )
    overlap = {n: result.changes[n].overlap for n in (PARAPHRASE, CONTEXT, DRAW) if n in result.changes}
    if not overlap:
        sentence = f"{who} for recalling {result.facts} can be compared with none: only one prompt is measured."
        return Outcome((Finding(sentence, None, basis),), _controls(result))
    same = [f"{'to ' * (not i)}{share(e)} under {WORDS[name]}" for i, (name, e) in enumerate(overlap.items())]
    variance = _variance(params, result)
    sentence = (
        f"{who} for recalling {result.facts} are the same {', '.join(same)} (Jaccard; chance "
        f"{share(bare(result.chance))}){'; ' + variance if variance else ''}."
    )
    main = Finding(sentence, msgspec.structs.replace(next(iter(overlap.values())), n=None), basis)
    also = (_always(params, result), *_ranks(params, result))
    return Outcome((main, *also), _controls(result), tuple(_caveats(params, result)), NOT_TESTED)


def _variance(params: Params, result: Result) -> str:
    """Whose the variance is, as part of a sentence; "" where that is not told apart."""
    if "unit" not in result.variance:
        return ""
    parts = [f"{share(e)} to {component(params, name)}" for name, e in result.variance.items() if name != "unit"]
    own = f"{share(result.variance['unit'])} of the variance of the effects belongs to the {ONE[params.units]} itself"
    return ", ".join([own, *parts])


def _always(params: Params, result: Result) -> Finding:
    """How many of the strongest units are so on every prompt."""
    always, several = sum(result.always) / len(result.always), result.several
    count = (
        f"On average {number(float(always))}" if several else number(result.always[0]) if result.always[0] else "None"
    )
    return Finding(
        f"{count} of the {number(result.top)} strongest {plural_of(params)}{' of a fact' * several} "
        f"{'is' if always == 1 else 'are'} among the strongest on every one of its "
        f"prompts{' and draws' * drawn(result)}."
    )


def _ranks(params: Params, result: Result) -> Iterator[Finding]:
    """How far all units keep their rank, under a paraphrase and under the changes that keep it least and most."""
    ranks = {name: change.ranks for name, change in result.changes.items()}
    if PARAPHRASE not in ranks:
        return
    ordered = sorted(ranks, key=lambda name: ranks[name].value or 0.0)
    ends = {"least": ordered[0], "most": ordered[-1]}
    ends = [f"{end} under {changed(n)} ({ranks[n]})" for end, n in ends.items() if n != PARAPHRASE]
    yield Finding(
        f"All {number(result.units)} {plural_of(params)} keep their rank under {WORDS[PARAPHRASE]} with a Spearman "
        f"correlation of {'; '.join([str(ranks[PARAPHRASE]), ', '.join(ends)]).rstrip('; ')}.",
        msgspec.structs.replace(ranks[PARAPHRASE], n=None),
        "Mean over pairs of prompts.",
    )


def _caveats(params: Params, result: Result) -> Iterator[str]:
    yield f"Few foils were tried, the same on every prompt where they fit: {', '.join(result.foils)}."
    yield "The text before a prompt is knocked out too: a unit may matter for reading the context, not the fact."
    yield (
        "Components of variance are means over pairs of prompts, without bias and so not kept from falling below 0; "
        "their intervals speak about further templates, with the kinds of context that were tried."
    )
    if params.corruption == "noise":
        yield (
            "Noise changes only what damage is divided by: another draw cannot change a ranking, and its part of the "
            "variance is that of the divisor. Ask with --corruption replace for draws that could."
        )
    if params.edit == "zero":
        yield "Zero takes the model off its data and can make decoys look necessary; compare with resample."


def _controls(result: Result) -> tuple[Control, ...]:
    return (
        Control(
            "identity edit", Estimate(result.noise_floor), "the numerical noise floor; smaller effects say nothing"
        ),
        Control(
            "two random sets",
            result.chance,
            f"Jaccard overlap of {number(result.top)} of {number(result.units)} random units, mean and 95% range",
        ),
    )


def drawn(result: Result) -> bool:
    """Whether prompts have several draws."""
    return result.basis.most > 1


def method(result: Result) -> str:
    """How the intervals are made, or why there are none."""
    among = "facts" if result.several else "templates"
    estimates = (*(c.overlap for c in result.changes.values()), *result.variance.values())
    if not any(e.low is not None for e in estimates):
        return f"no interval, for that takes six {among}"
    how = "over facts" if result.several else "by a jackknife over templates"
    return f"95% t interval {how}, none for fewer than six {among}"


def bare(e: Estimate) -> Estimate:
    """Without its interval."""
    return Estimate(e.value)


def plural_of(params: Params) -> str:
    """The units in words."""
    return "sub-layers" if params.units == "layers" else params.units


def changed(name: str) -> str:
    """A change as a noun.

    >>> changed("few-shot"), changed("another language"), changed("paraphrase")
    ('few-shot before it', 'another language', 'another paraphrase')
    """
    return f"{name} before it" if name in CONTEXTS and name != FOREIGN else WORDS.get(name, name)


def component(params: Params, name: str) -> str:
    """A component of variance in words.

    >>> [component(Params(units="heads"), name) for name in ("unit", "unit x template", "rest")]
    ['the head itself', 'head x template', 'the rest']
    """
    one = ONE[params.units]
    return {"unit": f"the {one} itself", "rest": "the rest"}.get(name, name.replace("unit", one))
