"""A circuit in words: the one sentence, its controls, and what it leaves open."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from lashley.core.figure import Control, Estimate, Finding, number, plural
from lashley.core.outcome import Outcome
from lashley.experiments.circuit import rounds
from lashley.experiments.circuit.measuring import NAMES, Result, guessed
from lashley.experiments.circuit.params import Params
from lashley.experiments.circuit.reading import MATTERS, STABLE
from lashley.stats.summary import share


def tell(params: Params, result: Result) -> Outcome:
    """The circuit in one sentence, or why there is none; how complete and how minimal it is, and what stays opaque."""
    basis = f"All other edges take the corrupt run's contribution, over {result.basis.resting}"
    reading = "the numerical noise floor, a share: smaller effects say nothing"
    controls = [Control("identity edit", Estimate(result.noise_floor), reading)]
    first = Finding(sentence(params, result), _bare(result.faithfulness), basis)
    if result.reported is None:
        return Outcome((first,), tuple(controls))
    controls += _controls(result)
    also = [remainder(result), *filter(None, (cut(result), areas(result), stable(result)))]
    caveats = [
        "Edges are patched with a matched prompt's contributions: what both prompts share is in no circuit.",
        "Scores choose edges one by one: of two that stand in for each other neither may be seen.",
    ]
    if result.same_prompts:
        caveats.insert(0, "The circuit was sought and measured on the same prompt: its faithfulness is too high.")
    not_tested = (
        "Other readouts than the logit difference, prompts that the model answers wrongly, and other corruptions.",
        "Circuits finer than heads and MLPs" + (", but for the neurons drawn out." if params.neurons else "."),
    )
    return Outcome((first, *also), tuple(controls), tuple(caveats), not_tested)


def _bare(e: Estimate) -> Estimate:
    """Beside a sentence that says of what it is a share."""
    return msgspec.structs.replace(e, unit="")


def sentence(params: Params, result: Result) -> str:
    """The circuit in one sentence, or why there is none."""
    what, existence, total = result.facts, result.existence, result.total
    if result.reported is None:
        return f"Which edges {what} needs is not measured yet."
    size = result.reported.edges
    edges = f"{number(size)} of {plural(total, 'edge')} ({share(Estimate(size / total))})"
    keep = f"{share(result.faithfulness)} of the logit difference of {what}"
    chance = ""
    if result.rivals is not None:
        mean = round(result.rivals.value or 0.0, 3)
        chance = f"random connected circuits of that size {share(Estimate(mean))}"
    if params.circuit:
        return f"The circuit of {edges} that was given keeps {keep}" + (f"; {chance} (mean)." if chance else ".")
    if size >= total:
        return (
            f"No circuit is reported for {what}: none of up to half of all edges keeps {share(Estimate(params.least))}."
        )
    if existence is None:
        return f"{edges.capitalize()} keep {keep}; random circuits of that size are not measured yet."
    method = NAMES[params.method]
    if guessed(result) or not existence.there:
        why = _guessed(result) if guessed(result) else existence.why
        return f"No circuit is reported for {what}: {why}; the {edges} that {method} chose keep {keep}."
    return f"A circuit of {edges}, found by {method}, keeps {keep} on other prompts; {chance} (mean)."


def _guessed(result: Result) -> str:
    """That the model may have answered the items of a task by chance."""
    assert result.items is not None
    asked, answered, p = result.items.asked, result.items.answered, result.items.p
    return f"the model answers {answered} of {asked} items, and chance would half (p = {p:.3f})"


def _controls(result: Result) -> Iterator[Control]:
    existence, copy = result.existence, result.untrained
    if result.rivals is not None:
        p = f"; p = {existence.p:.3f}" if existence and existence.p is not None else ""
        reading = f"faithfulness of random connected circuits, mean and 95% range{p}"
        yield Control(rounds.RIVALS, _bare(result.rivals), reading)
    if result.reported is not None and result.reported.shuffled is not None:
        reading = "faithfulness of the circuit of that size sought with other prompts' answers: what serves any answer"
        yield Control(rounds.SHUFFLED, Estimate(result.reported.shuffled), reading)
    if copy is not None:
        there = "a circuit was found: do not trust this one" if copy.there else "no circuit is reported"
        why = f" ({copy.why})" if copy.why else ""
        yield Control("untrained copy", Estimate(copy.p), f"p of the same search there; {there}{why}")


def remainder(result: Result) -> Finding:
    """What the circuit does not explain."""
    f, nodes, named = result.faithfulness, result.nodes, result.named
    value, low, high = (None if x is None else 1 - x for x in (f.value, f.high, f.low))
    left = Estimate(value, low, high)
    words = f"Opaque remainder: {share(left)} of the logit difference does not pass through it"
    if value is not None and value < 0:
        words = f"Opaque remainder: none; the circuit alone keeps {share(f)}, more than the whole model"
    if result.operations is None or not nodes:
        return Finding(f"{words}; what its heads do was not measured.", left)
    opaque = [node for node in nodes if node not in named]
    n, examined = len(nodes), len(result.edges)
    whose = "its" if examined == result.size else f"the {number(examined)} examined edges'"
    none = "has no operation that sets it apart" if len(opaque) == 1 else "have no operation that sets them apart"
    words += f", and {number(len(opaque))} of {whose} {number(n)} heads and MLPs {none}."
    heads = number(sum(".attn.h" in node for node in nodes))
    for name, passing in common(result).items():
        words += f" “{name}” is passed by {number(passing)} of its {heads} heads, and says nothing of any one."
    return Finding(words, left)


def common(result: Result) -> dict[str, int]:
    """Operations that so many heads of the circuit do that they set none apart, and how many do."""
    operations = result.operations or ()
    named = {o.operation for o in operations if o.named}
    return {o.operation: o.passing for o in operations if o.operation not in named}


def cut(result: Result) -> Finding | None:
    """Completeness and minimality."""
    whole, losses = result.completeness, [e.loss for e in result.edges if e.loss is not None]
    if whole is None or not losses:
        return None
    needed, subsets = sum(abs(loss) >= MATTERS for loss in losses), len(whole.subsets)
    words = (
        f"Completeness: without a subset K, circuit and model differ by {share(whole.mean)} of the logit difference in "
        f"the mean and by {share(Estimate(whole.worst.apart))} at worst (K: "
        f"{whole.worst.components.replace('+', ' + ')}); minimality: {number(needed)} of "
        f"{plural(len(result.edges), 'edge')} taken out alone{_of(result)} change{'s' * (needed == 1)} its "
        f"faithfulness by 1% or more."
    )
    basis = f"{plural(subsets, 'subset')}: components, random halves, and the worst components together"
    return Finding(words, _bare(whole.mean), f"{basis} (Wang et al. 2211.00593).")


def _of(result: Result) -> str:
    """How many edges there are besides those that were examined."""
    return f" (the strongest of {number(result.size)})" if len(result.edges) < result.size else ""


def areas(result: Result) -> Finding | None:
    found = result.areas
    if found is None:
        return None
    words = (
        f"CPR, linear k {number(found.cpr)}, CPR, log k {number(found.cpr_log)}, CMD, linear k {number(found.cmd)}, "
        f"CMD, log k {number(found.cmd_log)}"
    )
    basis = (
        "Trapezoids over the ten sizes as in MIB (2504.13151); f = 1 everywhere has CPR 0.999 and 6.91 (natural log)."
    )
    return Finding(f"Over all ten sizes: {words}.", Estimate(found.cpr), basis)


def stable(result: Result) -> Finding | None:
    stability = [e.stability for e in result.edges if e.stability is not None]
    if not stability:
        return None
    some = sum(share_ < STABLE for share_ in stability)
    verb, them = ("comes and goes", "it") if some == 1 else ("come and go", "them")
    words = f"{number(some)} of its {plural(len(stability), 'edge')} {verb}: resampled prompts leave {them} out in "
    words += "more than one of twenty draws."
    basis = "Whole clusters of discovery prompts resampled 400 times; among the edges patched one by one."
    return Finding(words, Estimate(1 - some / len(stability), n=len(stability)), basis)
