"""How well a screen ranked: estimates beside exact effects, and what it may have missed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lashley.core.figure import Column, Control, Estimate, Finding, Table, number, plural
from lashley.stats.inference import clopper_pearson
from lashley.stats.summary import ranged, share

if TYPE_CHECKING:
    import pandas as pd

SAMPLE = "random sample outside the screen"  # the label of its trials
BIG = 0.1  # of the logit difference


class Screening(NamedTuple):
    """How well a screen ranked: of all measured units the mean damage and its estimate, and whether they were
    chosen or drawn; in words; beside the sample; and how many units of what strength it may have missed."""

    units: pd.DataFrame
    finding: Finding
    controls: list[Control]
    table: Table | None


def screening(top: pd.DataFrame, drawn: pd.DataFrame, population: int, unit: str) -> Screening:
    """From units with their mean `effect` and `estimate`: those that the screen chose, and a sample drawn from all
    that it left out, so that the sample's shares are theirs. Effects are compared by size; `unit` is a plural."""
    import pandas as pd

    units = pd.concat([top.assign(chosen="confirmed"), drawn.assign(chosen="random sample of the others")])
    left = population - len(top)
    basis = "Effects by size; bounds by Clopper and Pearson, one-sided 95%; intervals of Spearman after Fieller."
    sentence = (
        f"Gradients ranked the {plural(len(top), f'confirmed {unit}')} with a Spearman correlation of {_rho(top)}"
    )
    if not len(drawn):
        missed = "none was left out" if not left else "none of the others is measured, so what it missed is not known"
        return Screening(units, Finding(f"{sentence}; {missed}.", None, basis), [], None)
    rho = _rho(drawn)
    sizes: list[float] = top["effect"].abs().sort_values(ascending=False).tolist()
    tenth = min(10, len(sizes))
    limits = [
        ("a damage of 10%", BIG),
        (f"the {tenth}th strongest confirmed" if tenth > 3 else "the weakest confirmed of few", sizes[tenth - 1]),
        ("the median confirmed", float(np.median(sizes))),
        ("the weakest confirmed", sizes[-1]),
    ]
    lines = [(words, limit, *_missed(drawn, limit, left)) for words, limit in limits]
    table = Table(
        "What the screen may have missed",
        (
            Column("as strong as"),
            Column("damage, by size", "share"),
            Column("in the sample", "units"),
            Column("left out, at most", "share"),
            Column("left out, at most", "units"),
        ),
        tuple((words, limit, k, high, most) for words, limit, k, high, most in lines),
        f"A random sample of {number(len(drawn))} of the {plural(left, unit)} that the screen left out; exact "
        "binomial bounds, one-sided 95%.",
    )
    words, limit, k, _, most = lines[1]
    sentence += (
        f", and a random sample of {number(len(drawn))} of the {plural(left, 'other')} with {rho}; {number(k)} of the "
        f"sample {'has' if k == 1 else 'have'} an effect as large as {words} "
        f"({share(Estimate(float(limit)))}), so at most {number(most)} of those left out "
        f"{'does' if most == 1 else 'do'}."
    )
    reading = f"Spearman correlation of estimated and measured damage over {plural(len(drawn), unit)}"
    controls = [
        Control("screen, on a random sample of what it left out", rho, reading),
        Control(SAMPLE, ranged(drawn["effect"]), "damage by its units, mean and 95% range"),
    ]
    return Screening(units, Finding(sentence, rho, basis), controls, table)


def _rho(units: pd.DataFrame) -> Estimate:
    """Spearman correlation of estimate and effect; 95% interval after Fieller et al. 1957 (Biometrika 44)."""
    n = len(units)
    rho = float(units["estimate"].rank().corr(units["effect"].rank())) if n > 2 else math.nan
    if n < 6 or not math.isfinite(rho):
        return Estimate(rho, n=n)
    middle, half = math.atanh(max(min(rho, 1 - 1e-12), 1e-12 - 1)), 1.96 * math.sqrt(1.06 / (n - 3))
    return Estimate(rho, math.tanh(middle - half), math.tanh(middle + half), n)


def _missed(drawn: pd.DataFrame, limit: float, left: int) -> tuple[int, float, int]:
    """How many of the sample are as strong as `limit`; at most which share, and how many, of all that were left."""
    k, n = int((drawn["effect"].abs() >= limit).sum()), len(drawn)
    if n == left:
        return k, k / n, k
    high = clopper_pearson(k, n, 0.9)[1]
    return k, high, math.floor(high * left)
