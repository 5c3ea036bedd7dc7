"""A circuit in words: the one sentence, its controls, and what it leaves open."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import scipy

from lashley.core.figure import Control, Estimate, Finding, number, plural
from lashley.experiments.circuit import rounds
from lashley.experiments.circuit.reading import MATTERS, STABLE, Found
from lashley.facts.tasks import TASKS
from lashley.stats.summary import ranged, share

if TYPE_CHECKING:
    import pandas as pd

NAMES = {"eap": "EAP", "eap-ig": "EAP-IG", "exact": "exact greedy pruning"}


def sentence(found: Found, what: str, known: str, method: str, least: float) -> str:
    """The circuit in one sentence, or why there is none; `method` "" for a circuit that was given."""
    best = found.best
    if best is None:
        return f"Which edges {what} needs is not measured yet."
    size, total = int(best["size"]), found.total
    edges = f"{number(size)} of {plural(total, 'edge')} ({share(Estimate(size / total))})"
    keep = f"{share(found.faithfulness)} of the logit difference of {what}"
    rivals = found.rivals
    chance = ""
    if len(rivals):
        chance = f"random connected circuits of that size {share(Estimate(round(float(rivals.mean()), 3)))}"
    if not method:
        return f"The circuit of {edges} that was given keeps {keep}" + (f"; {chance} (mean)." if chance else ".")
    if size >= total:
        return f"No circuit is reported for {what}: none of up to half of all edges keeps {share(Estimate(least))}."
    if found.exists is None:
        return f"{edges.capitalize()} keep {keep}; random circuits of that size are not measured yet."
    if known or not found.exists.there:
        why = known or found.exists.why
        return f"No circuit is reported for {what}: {why}; the {edges} that {NAMES[method]} chose keep {keep}."
    return f"A circuit of {edges}, found by {NAMES[method]}, keeps {keep} on other prompts; {chance} (mean)."


def known(table: pd.DataFrame) -> str:
    """Why a task is not known, where the model may have answered some of its items by chance; else nothing."""
    relation = str(table["relation"].iloc[0])
    if relation not in TASKS:
        return ""
    items = table[["subject", "object", "template"]].astype(str)
    asked, answered = (len(some.drop_duplicates()) for some in (items, items[~table["excluded"]]))
    p = float(scipy.stats.binom.sf(answered - 1, asked, 0.5))
    return f"the model answers {answered} of {asked} items, and chance would half (p = {p:.3f})" if p > 0.05 else ""


def controls(found: Found, copy: Found) -> list[Control]:
    made = []
    if len(found.rivals):
        p = f"; p = {found.exists.p:.3f}" if found.exists and found.exists.p is not None else ""
        reading = f"faithfulness of random connected circuits, mean and 95% range{p}"
        made.append(Control(rounds.RIVALS, ranged(found.rivals), reading))
    if found.best is not None and not math.isnan(shuffled := found.best["shuffled"]):
        reading = "faithfulness of the circuit of that size sought with other prompts' answers: what serves any answer"
        made.append(Control(rounds.SHUFFLED, Estimate(shuffled), reading))
    if copy.best is not None and copy.exists is not None:
        there = "a circuit was found: do not trust this one" if copy.exists.there else "no circuit is reported"
        why = f" ({copy.exists.why})" if copy.exists.why else ""
        made.append(Control("untrained copy", Estimate(copy.exists.p), f"p of the same search there; {there}{why}"))
    return made


def remainder(found: Found) -> Finding:
    """What the circuit does not explain."""
    f = found.faithfulness
    value, low, high = (None if x is None else 1 - x for x in (f.value, f.high, f.low))
    left = Estimate(value, low, high)
    sentence = f"Opaque remainder: {share(left)} of the logit difference does not pass through it"
    if value is not None and value < 0:
        sentence = f"Opaque remainder: none; the circuit alone keeps {share(f)}, more than the whole model"
    if found.operations is None or not found.nodes:
        return Finding(f"{sentence}; what its heads do was not measured.", left)
    opaque = [node for node in found.nodes if not found.operations.get(node)]
    n, size = len(found.nodes), int(found.best["size"]) if found.best is not None else found.cut
    whose = "its" if found.cut == size else f"the {number(found.cut)} examined edges'"
    none = "has no operation that sets it apart" if len(opaque) == 1 else "have no operation that sets them apart"
    sentence += f", and {number(len(opaque))} of {whose} {number(n)} heads and MLPs {none}."
    for name, passing in common(found).items():
        heads = sum(".attn.h" in node for node in found.nodes)
        sentence += (
            f" “{name}” is passed by {number(passing)} of its {number(heads)} heads, and says nothing of any one."
        )
    return Finding(sentence, left)


def common(found: Found) -> dict[str, int]:
    """Operations that so many heads of the circuit do that they set none apart, and how many do."""
    named = {d.operation for d in found.does if d.named}
    return {d.operation: d.passing for d in found.does if d.operation not in named}


def cut(found: Found) -> Finding | None:
    """Completeness and minimality."""
    if found.subsets.empty or found.edges["needed"].isna().all():
        return None
    worst = found.subsets.sort_values("apart").iloc[-1]
    mean = Estimate(found.subsets["apart"].mean(), n=len(found.subsets))
    needed = int((found.edges["needed"].abs() >= MATTERS).sum())
    sentence = (
        f"Completeness: without a subset K, circuit and model differ by {share(mean)} of the logit difference in the "
        f"mean and by {share(Estimate(worst['apart']))} at worst (K: {str(worst['subset']).replace('+', ' + ')}); "
        f"minimality: {number(needed)} of {plural(len(found.edges), 'edge')} taken out alone{_of(found)} "
        f"change{'s' * (needed == 1)} its faithfulness by 1% or more."
    )
    basis = f"{plural(len(found.subsets), 'subset')}: components, random halves, and the worst components together"
    return Finding(sentence, mean, f"{basis} (Wang et al. 2211.00593).")


def _of(found: Found) -> str:
    """How many edges there are besides those that were examined."""
    size = int(found.best["size"]) if found.best is not None else found.cut
    return f" (the strongest of {number(size)})" if found.cut < size else ""


def areas(found: Found) -> Finding | None:
    areas = found.areas()
    if not areas:
        return None
    words = ", ".join(f"{name} {number(value)}" for name, value in areas.items())
    basis = (
        "Trapezoids over the ten sizes as in MIB (2504.13151); f = 1 everywhere has CPR 0.999 and 6.91 (natural log)."
    )
    return Finding(f"Over all ten sizes: {words}.", Estimate(areas["CPR, linear k"]), basis)


def stable(found: Found) -> Finding | None:
    stability = found.edges["stability"].dropna() if len(found.edges) else found.edges
    if not len(stability):
        return None
    some = int(np.count_nonzero(stability.to_numpy(float) < STABLE))
    verb, them = ("comes and goes", "it") if some == 1 else ("come and go", "them")
    sentence = f"{number(some)} of its {plural(len(stability), 'edge')} {verb}: resampled prompts leave {them} out in "
    sentence += "more than one of twenty draws."
    basis = "Whole clusters of discovery prompts resampled 400 times; among the edges patched one by one."
    return Finding(sentence, Estimate(1 - some / len(stability), n=len(stability)), basis)
