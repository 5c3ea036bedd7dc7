"""From the rows of a stability study to its numbers: what stays under which change, and whose the variance is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from lashley.core.experiment import Arrays
from lashley.core.figure import Estimate
from lashley.experiments.stability.maps import Map, changes, maps
from lashley.experiments.stability.planning import Params
from lashley.stats.agreement import (
    COMPONENTS,
    by_chance,
    jaccard,
    jackknife,
    rank_correlations,
    strongest,
    variance_components,
)
from lashley.stats.basis import Basis, basis
from lashley.stats.inference import interval
from lashley.stats.summary import facts, floor, measured

if TYPE_CHECKING:
    import pandas as pd

FOILS = 6  # foils that are named, at most


class Change(msgspec.Struct, frozen=True):
    """How much of a map stays where prompts differ in one thing.

    Means over pairs of such prompts of one fact, with 95% intervals by a jackknife over templates; of several facts,
    the mean of their means, with an interval over facts. n counts the changed prompts, or the facts.

    Attributes
    ----------
    prompts
        How many prompts are changed so.
    ranks
        Spearman correlation of damage over all units, -1 to 1.
    overlap
        Units shared by the sets of strongest units over all units of the two (Jaccard), 0 to 1.
    """

    prompts: int
    ranks: Estimate
    overlap: Estimate


class Result(msgspec.Struct, frozen=True):
    """What stays the same of the map of damage under which change, and where its variance is.

    Attributes
    ----------
    facts
        `capital(France) = Paris`, or how many of which relation.
    basis
        The prompts, and how many corruption draws each has.
    noise_floor
        The largest damage by an edit that changes nothing, a share of the logit difference; smaller ones say nothing.
    units
        How many units there are; of several facts' maps the fewest.
    top
        How many of them are compared as the strongest.
    changes
        By what differs between two prompts: "paraphrase", "context" (of any kind), "draw", or one kind of context.
    chance
        Jaccard overlap of two random sets of `top` units: expectation, and the range of 95% of them.
    variance
        Of the variance of damage between units the share of each component that the design tells apart, by
        `COMPONENTS`: "unit", "unit x template", ... They sum to 1; n as in `Change`.
    always
        Of each fact, how many units are among the strongest on every one of its prompts and draws.
    often
        By site: on which share of prompts and draws it is among the strongest, 0 to 1; the mean over facts.
    foils
        The subjects of the foils, those tried most often first.
    """

    facts: str
    basis: Basis
    noise_floor: float
    units: int
    top: int
    changes: dict[str, Change]
    chance: Estimate
    variance: dict[str, Estimate]
    always: tuple[int, ...]
    often: dict[str, float]
    foils: tuple[str, ...]

    @property
    def several(self) -> bool:
        """Whether it is about several facts, each of which is compared with itself."""
        return self.basis.cluster == "subject"


def measure(params: Params, table: pd.DataFrame, arrays: Arrays) -> Result:
    """The maps of every fact, compared prompt by prompt."""
    rows = measured(table)
    found = maps(rows)
    units = min(len(one.units) for one in found)
    top = max(min(params.top, units // 2), 1)
    chosen = [strongest(one.damage, top) for one in found]
    ranks, overlap = [rank_correlations(one.damage) for one in found], [jaccard(c) for c in chosen]
    names = dict.fromkeys(name for one in found for name in changes(one))
    parts = zip(COMPONENTS, _variance(found, params.corruption), strict=True)
    return Result(
        facts=facts(rows),
        basis=basis(rows),
        noise_floor=floor(rows),
        units=units,
        top=top,
        changes={n: Change(_changed(found, n), _mean(found, ranks, n), _mean(found, overlap, n)) for n in names},
        chance=by_chance(units, top),
        variance={name: e for name, e in parts if e.value is not None},
        always=tuple(int(c.all(1).sum()) for c in chosen),
        often=_often(found, chosen),
        foils=tuple(map(str, rows["foil"].value_counts().index[:FOILS])),
    )


def _often(found: Sequence[Map], chosen: Sequence[np.ndarray]) -> dict[str, float]:
    """By site the share of prompts on which it is among the `chosen`, bool [units, prompts]; the mean over facts."""
    import pandas as pd

    each = pd.concat([pd.Series(c.mean(1), one.units) for one, c in zip(found, chosen, strict=True)])
    return {str(site): float(share) for site, share in each.groupby(level=0, sort=False).mean().items()}


def _variance(found: Sequence[Map], corruption: str) -> list[Estimate]:
    """The components of variance as shares of their sum, each with its interval; every prompt has noise of its own."""
    drawn = ("pair",) if corruption == "replace" else ("template", "prompt", "seed")

    def of(one: Map, keep: np.ndarray) -> np.ndarray:
        labels = (one.codes(*columns)[keep] for columns in (("template",), ("context",), drawn))
        return variance_components(one.damage[:, keep], *labels)

    if len(found) == 1:
        one = found[0]
        bounds = zip(*jackknife(lambda keep: of(one, keep), one.codes("template")), strict=True)
        return [Estimate(*each, n=one.count()) for each in bounds]
    each = np.stack([of(one, np.ones(one.damage.shape[1], bool)) for one in found])
    return [_over_facts(column) for column in each.T]


def _mean(found: Sequence[Map], matrices: Sequence[np.ndarray], change: str) -> Estimate:
    """Mean over the pairs of prompts of one change; n counts the changed prompts, or of several facts these."""
    masks = [changes(one).get(change) for one in found]
    if len(found) > 1:
        return _over_facts([m[mask].mean() for m, mask in zip(matrices, masks, strict=True) if mask is not None])
    (matrix,), (mask,), templates = matrices, masks, found[0].codes("template")
    if mask is None:
        return Estimate(None)
    part, changed = mask.any(0) | mask.any(1), mask.any(0)
    matrix, mask = matrix[part][:, part], mask[part][:, part]
    value, low, high = jackknife(
        lambda keep: matrix[mask & keep[:, None] & keep].mean(), templates[part], len(np.unique(templates[changed]))
    )
    return Estimate(*value, *low, *high, n=_changed(found, change))


def _changed(found: Sequence[Map], change: str) -> int:
    """How many prompts are changed so."""
    each = ((one, changes(one).get(change)) for one in found)
    return sum(one.count(np.atleast_1d(mask.any(0))) for one, mask in each if mask is not None)


def _over_facts(values: Sequence[float] | np.ndarray) -> Estimate:
    found = interval(values)
    return Estimate(found.mean, found.low, found.high, found.n)
