"""What a spread comes to, as numbers.

What was found on the search prompts and what other prompts confirm are two things: effects are those that other prompts
confirm, unless it is said otherwise.
"""

from __future__ import annotations

import msgspec

from lashley.core.figure import Estimate
from lashley.stats.basis import Basis
from lashley.stats.screening import Screening


class Beside(msgspec.Struct, frozen=True):
    """Random sets, each once, beside a set of their size.

    Attributes
    ----------
    effect
        Their mean and between which values 95% of them lie, a share of the logit difference; n is different sets.
    p
        One-sided permutation p, with +1, of the set's effect being one of theirs; 1 / (n + 1) at least.
    """

    effect: Estimate
    p: float


class Confirmed(msgspec.Struct, frozen=True):
    """A smallest set that was found, on prompts that nothing was searched on.

    Attributes
    ----------
    units
        How many units it has.
    least
        No set of fewer units does it, shown by exhaustion among the units searched.
    sites
        Its sites, joined with `+`.
    effect
        Its joint damage (k_n) or restoration (k_s), a share of the logit difference; n is prompts.
    random, matched
        Random sets of its size of any units, and of units of the same layer and kind and of like activation.
    """

    units: int
    least: int
    sites: str
    effect: Estimate
    random: Beside | None
    matched: Beside | None

    @property
    def proven(self) -> bool:
        """Whether it is proven that no smaller set does it; otherwise it is the best that was found."""
        return self.units == self.least


class Point(msgspec.Struct, frozen=True):
    """Joint `damage` of so many of the strongest `units`, a share of the logit difference; n is prompts."""

    units: int
    damage: Estimate


class Unit(msgspec.Struct, frozen=True):
    """One unit alone, on the search prompts: its `site`, the `damage` of its knockout (n is prompts), and what its
    `restoration` brings back, shares of the logit difference."""

    site: str
    damage: Estimate
    restoration: float | None = None


class SelfRepair(msgspec.Struct, frozen=True):
    """What later layers make up for when one of the strongest units is knocked out.

    Attributes
    ----------
    units
        How many were knocked out, one by one.
    total
        Their mean damage, a share of the logit difference.
    direct
        The same with all later sub-layers held as they were: the direct effect on the output.
    between
        Direct less total: above 0 it is made up for (self-repair); n is prompts.
    noise_floor
        The largest damage by an edit that changes nothing, on these prompts.
    """

    units: int
    total: float
    direct: float
    between: Estimate
    noise_floor: Estimate


class Interference(msgspec.Struct, frozen=True):
    """What one fact's smallest set, found to cost half of its recall, does to a fact on that one's confirming prompts.

    Attributes
    ----------
    silenced, recalled
        The facts' subjects; "several": all that are asked about.
    damage
        A share of the logit difference; n is prompts.
    """

    silenced: str
    recalled: str
    damage: Estimate


class Result(msgspec.Struct, frozen=True):
    """How spread out a fact is. Effects are shares of the logit difference, each run's between -1 and 1; where it is
    not said otherwise they are from prompts that nothing was searched on (unless `same`).

    Attributes
    ----------
    facts
        What is recalled, in words.
    searched, basis
        The prompts that were searched on, and those that confirm.
    same
        Whether what was searched on confirms as well, as there was nothing else.
    few
        Whether too few prompts confirm for any interval.
    noise_floor
        The largest damage by an edit that changes nothing; None while nothing confirms.
    population
        How many units there are.
    among
        How many of them were searched, by themselves and in sets.
    screened
        Whether those were chosen by their gradients.
    k_n, k_s
        The smallest sets found whose knockout costs, and whose restoration brings back, so much on the search prompts:
        by "0.5" and "0.9"; without those that were not found.
    curve
        Joint damage of the strongest units, by their number; () while the search is not finished.
    participation
        Participation ratio of the positive damage of single units: over how many equal ones it is as spread.
    strongest
        The unit of the largest damage alone, on the search prompts.
    top
        The units of the largest damage alone, in that order.
    disjoint
        What disjoint sets, at most twice as large as k_s(0.5), restore, each.
    self_repair
        Of the strongest units.
    interference
        Every fact's smallest set on every fact's prompts; () where one fact was asked about.
    text_loss, text_loss_random
        By how much the loss on unrelated text rises without the set k_n(0.5), and without random sets of its size, in
        nats a token; n is texts.
    screening
        How well gradients ranked, and what they may have missed.
    """

    facts: str
    searched: Basis
    basis: Basis
    same: bool
    few: bool
    noise_floor: Estimate
    population: int
    among: int
    screened: bool
    k_n: dict[str, Confirmed]
    k_s: dict[str, Confirmed]
    curve: tuple[Point, ...]
    participation: float
    strongest: Unit | None
    top: tuple[Unit, ...]
    disjoint: tuple[Estimate, ...]
    self_repair: SelfRepair | None
    interference: tuple[Interference, ...]
    text_loss: Estimate | None
    text_loss_random: Estimate | None
    screening: Screening | None
