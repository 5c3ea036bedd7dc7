"""How well a screen ranked: estimates beside exact effects, and what it may have missed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from lashley.core.figure import Column, Control, Estimate, Finding, Table, number, plural
from lashley.stats.inference import clopper_pearson
from lashley.stats.summary import ranged, share

if TYPE_CHECKING:
    import pandas as pd

SAMPLE = "random sample outside the screen"  # the label of its trials
BIG = 0.1  # of the logit difference


class Missed(msgspec.Struct, frozen=True):
    """How many units as strong as some confirmed one a screen may have missed.

    Attributes
    ----------
    like
        Which one: one of a damage of a "tenth", the "last of the ten strongest", the "median" or the "weakest".
    strength
        Its damage by size, a share of the logit difference.
    found
        Units of the sample that are as strong.
    share, most
        At most which share, and how many, of the units left out are: exact binomial bounds, one-sided 95%.
    """

    like: Literal["tenth", "last of the ten strongest", "median", "weakest"]
    strength: float
    found: int
    share: float
    most: int


class Screening(msgspec.Struct, frozen=True):
    """How well a screen ranked, by the units that it chose and a random sample of those that it left out.

    Attributes
    ----------
    unit
        The plural of what was screened.
    confirmed, left, sample
        How many units were chosen and measured, how many left out, and how many of these measured.
    ranked, ranked_sample
        Spearman correlation of estimated and measured damage over the chosen, and over the sample (None without one).
    damage
        Of the sample: mean and between which values 95% of its units lie, a share of the logit difference; n is units.
    missed
        How many units of what strength it may have missed; () without a sample.
    """

    unit: str
    confirmed: int
    left: int
    sample: int
    ranked: Estimate
    ranked_sample: Estimate | None = None
    damage: Estimate | None = None
    missed: tuple[Missed, ...] = ()

    @property
    def finding(self) -> Finding:
        """How well it ranked, and what it may have missed, in a sentence."""
        basis = "Effects by size; bounds by Clopper and Pearson, one-sided 95%; intervals of Spearman after Fieller."
        confirmed = plural(self.confirmed, f"confirmed {self.unit}")
        sentence = f"Gradients ranked the {confirmed} with a Spearman correlation of {self.ranked}"
        if not self.sample:
            missed = "none of the others is measured, so what it missed is not known"
            return Finding(f"{sentence}; {missed if self.left else 'none was left out'}.", None, basis)
        like = self.missed[1]
        return Finding(
            f"{sentence}, and a random sample of {number(self.sample)} of the {plural(self.left, 'other')} with "
            f"{self.ranked_sample}; {number(like.found)} of the sample {'has' if like.found == 1 else 'have'} an "
            f"effect as large as {self._like(like)} ({share(Estimate(like.strength))}), so at most "
            f"{number(like.most)} of those left out {'does' if like.most == 1 else 'do'}.",
            self.ranked_sample,
            basis,
        )

    @property
    def controls(self) -> list[Control]:
        """The sample, beside what was chosen."""
        if self.ranked_sample is None or self.damage is None:
            return []
        reading = f"Spearman correlation of estimated and measured damage over {plural(self.sample, self.unit)}"
        return [
            Control("screen, on a random sample of what it left out", self.ranked_sample, reading),
            Control(SAMPLE, self.damage, "damage by its units, mean and 95% range"),
        ]

    @property
    def table(self) -> Table | None:
        """What it may have missed; None where nothing was sampled."""
        if not self.missed:
            return None
        return Table(
            "What the screen may have missed",
            (
                Column("as strong as"),
                Column("damage, by size", "share"),
                Column("in the sample", "units"),
                Column("left out, at most", "share"),
                Column("left out, at most", "units"),
            ),
            tuple((self._like(m), m.strength, m.found, m.share, m.most) for m in self.missed),
            f"A random sample of {number(self.sample)} of the {plural(self.left, self.unit)} that the screen left out; "
            "exact binomial bounds, one-sided 95%.",
        )

    def _like(self, missed: Missed) -> str:
        last = min(10, self.confirmed)
        return {
            "tenth": "a damage of 10%",
            "last of the ten strongest": (
                f"the {last}th strongest confirmed" if last > 3 else "the weakest confirmed of few"
            ),
            "median": "the median confirmed",
            "weakest": "the weakest confirmed",
        }[missed.like]


def screening(top: pd.DataFrame, drawn: pd.DataFrame, population: int, unit: str) -> Screening:
    """From units with their mean `effect` and `estimate`: those that the screen chose, and a sample drawn from all
    that it left out, so that the sample's shares are theirs. Effects are compared by size; `unit` is a plural."""
    left = population - len(top)
    if not len(drawn):
        return Screening(unit, len(top), left, 0, _rho(top))
    sizes: list[float] = top["effect"].abs().sort_values(ascending=False).tolist()
    missed = (
        Missed("tenth", BIG, *_missed(drawn, BIG, left)),
        Missed("last of the ten strongest", last := sizes[min(10, len(sizes)) - 1], *_missed(drawn, last, left)),
        Missed("median", median := float(np.median(sizes)), *_missed(drawn, median, left)),
        Missed("weakest", sizes[-1], *_missed(drawn, sizes[-1], left)),
    )
    return Screening(unit, len(top), left, len(drawn), _rho(top), _rho(drawn), ranged(drawn["effect"]), missed)


def compared(top: pd.DataFrame, drawn: pd.DataFrame) -> pd.DataFrame:
    """The units that a screen chose and those that were drawn, as one frame; `chosen` says which."""
    import pandas as pd

    return pd.concat([top.assign(chosen="confirmed"), drawn.assign(chosen="random sample of the others")])


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
