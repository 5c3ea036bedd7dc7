"""From the rows of a knockout to its numbers. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from lashley.core.experiment import Arrays
from lashley.core.figure import Estimate
from lashley.experiments.knockout.planning import KIND_OF, RANDOM, Params, joined, sites_of, word
from lashley.stats.basis import Basis, basis
from lashley.stats.inference import participation, permutation
from lashley.stats.peers import different
from lashley.stats.screening import BIG, SAMPLE, Screening, screening
from lashley.stats.summary import against, cells, estimate, facts, floor, measured, ranged

if TYPE_CHECKING:
    import pandas as pd


class Unit(msgspec.Struct, frozen=True):
    """One unit, and what its knockout costs.

    Attributes
    ----------
    site
        Its address, as "L4.mlp.n173@subject_last".
    damage
        Mean over prompts, a share of the logit difference; n is prompts.
    """

    site: str
    damage: Estimate


class Beside(msgspec.Struct, frozen=True):
    """Matched random sets, each once, beside a named set.

    Attributes
    ----------
    damage
        Their mean and, of several, between which values 95% of them lie: shares of the logit difference; n is sets.
    sets
        How many different ones were measured.
    p
        One-sided permutation p, with +1, of the named set's damage being one of theirs; 1 / (sets + 1) at least.
    """

    damage: Estimate
    sets: int
    p: float


class Result(msgspec.Struct, frozen=True):
    """What knockouts come to. Damage is (LD_clean - LD_edited) / (LD_clean - LD_corrupt), a share of the logit
    difference: 0 as without the knockout, 1 as in the corrupt run, below 0 where recall gains.

    Attributes
    ----------
    facts
        What is recalled, in words.
    basis
        Which prompts the means and intervals rest on.
    noise_floor
        Largest damage by an edit that changes nothing, a share; smaller ones say nothing.
    units
        How many units were knocked out one by one: of a whole kind, or of a named set.
    strongest
        The one of them of the largest damage, chosen on the same prompts; None while none is measured.
    opposite
        The one whose knockout helps more than the strongest one's costs; None where there is none.
    above_tenth
        How many units have a damage of 0.1 or more.
    participation
        Participation ratio (sum d)^2 / sum d^2 of the units' positive damage: over how many equal ones it is as spread.
    joint
        Damage of a named set knocked out together, a share; n is prompts. None for a whole kind, or while unmeasured.
    chance
        Matched random sets beside the named one; None where there are none.
    screening
        How well gradients ranked, where they chose the units; None without a screen.
    """

    facts: str
    basis: Basis
    noise_floor: float
    units: int
    strongest: Unit | None
    opposite: Unit | None
    above_tenth: int
    participation: float
    joint: Estimate | None = None
    chance: Beside | None = None
    screening: Screening | None = None


def measure(params: Params, table: pd.DataFrame, arrays: Arrays) -> Result:
    """How much each unit, and the named set, costs, beside its controls."""
    rows = measured(table)
    own = rows[rows["control"] == ""]
    cell = damages(params, own)
    together = joint(params, cell)
    alone = cell if together is None or len(sites_of(params)) == 1 else cell.drop(index=together.name)  # pyright: ignore[reportArgumentType]
    best = strongest(alone) if len(alone) else None
    other = None if best is None else against(alone, best)
    return Result(
        facts=facts(own),
        basis=basis(own),
        noise_floor=floor(rows),
        units=len(alone),
        strongest=None if best is None else Unit(best["site"], estimate(best)),
        opposite=None if other is None else Unit(other["site"], estimate(other)),
        above_tenth=int((alone["effect"] >= BIG).sum()),
        participation=participation(alone["effect"].to_numpy()),
        joint=None if together is None else estimate(together),
        chance=None if together is None else _chance(rows, together),
        screening=_screening(params, rows) if params.screen else None,
    )


def damages(params: Params, rows: pd.DataFrame) -> pd.DataFrame:
    """Mean damage of every trial over the prompts, with its address; a named set of one site is there once."""
    first = rows.drop_duplicates("trial")[["trial", "site", "layer", "kind", "unit"]]
    if params.units in KIND_OF:
        at = "" if params.at == "all" else f"@{params.at}"
        names = [f"{str(s).split('+')[0].split('@')[0]}{at}" for s in first["site"]]
    else:
        sites = sites_of(params)
        every = [*map(str, sites), joined(params)]
        names = [every[t] for t in first["trial"]]
        first = first[(first["trial"] > 0) | (len(sites) > 1)]
        names = names[-len(first) :] if len(first) else []
    return cells(rows, ["trial"]).merge(first.assign(site=names), on="trial")


def strongest(cell: pd.DataFrame) -> pd.Series:
    """The cell of the largest damage."""
    return cell.sort_values("effect").iloc[-1]


def joint(params: Params, cell: pd.DataFrame) -> pd.Series | None:
    """The cell of a named set together; the trials before it are its sites one by one. None where it is unmeasured,
    and for a whole kind."""
    if params.units in KIND_OF:
        return None
    together = cell[cell["trial"] == len(sites_of(params))]
    return together.iloc[0] if len(together) else None


def _chance(rows: pd.DataFrame, together: pd.Series) -> Beside | None:
    drawn = different(rows[rows["control"] == RANDOM])
    if not len(drawn):
        return None
    each = cells(drawn, ["trial"])["effect"].to_numpy()
    damage = ranged(each) if len(each) > 1 else Estimate(float(each[0]), n=1)
    return Beside(damage, len(each), permutation([float(together["effect"])], each, side="greater"))


def guessed(params: Params, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`damages` of the units that a screen chose and of those drawn from the others, with the mean `estimate`."""
    top, drawn = (_guessed(params, rows[rows["control"] == control]) for control in ("", SAMPLE))
    return top, drawn


def _guessed(params: Params, rows: pd.DataFrame) -> pd.DataFrame:
    guess = cells(rows.assign(effect=rows["estimate"]), ["trial"])[["trial", "effect"]]
    return damages(params, rows).merge(guess.rename(columns={"effect": "estimate"}), on="trial")


def _screening(params: Params, rows: pd.DataFrame) -> Screening:
    population = int(rows[rows["control"] == ""]["population"].iloc[0])
    return screening(*guessed(params, rows), population, word(params))
