"""The smallest sets of units that carry a fact: an adaptive search, written as a coroutine.

What it yields is asked, what it is sent are mean effects over the search prompts. It knows neither model nor prompts,
so a study replays it from the ledger, and goes on where answers are missing. Joint effects are always measured, never
added up.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Generator, Sequence
from typing import Literal, NamedTuple

import numpy as np

Effect = Literal["damage", "restoration"]
Units = tuple[int, ...]

TAUS = (0.5, 0.9)  # joint effects that a set must reach
ENUMERABLE = 20  # units of which sets of every size may be tried
STRONGEST = 12  # units of which all pairs are tried, where there are more
DENSE = 16  # sizes up to here are tried one by one; then each a quarter larger
REFINED = 24  # sizes tried between one that does not suffice and the next that does
GROUPS = 64  # parts of a set, at most, that are left out in turn: single units of a set of so many
RIVALS = 16  # disjoint sufficient sets, at most


class Ask(NamedTuple):
    """Sets of units (numbers from 0) whose mean joint effects are wanted."""

    effect: Effect
    sets: tuple[Units, ...]


Asking = Generator[Ask, np.ndarray, "Smallest"]


class Smallest(NamedTuple):
    """The smallest set found whose joint effect reaches `tau`; `units` is None where all together do not.

    `least`: no set of fewer units reaches it, shown by exhaustion among the units searched.
    """

    effect: Effect
    tau: float
    units: Units | None
    value: float
    least: int


class Searched(NamedTuple):
    """What a search came to: smallest sets, the ranking along which damage grows fastest, and disjoint sets, at most
    twice as large as the smallest, each of which restores as much as the first tau asks."""

    smallest: tuple[Smallest, ...]
    ranking: Units
    disjoint: tuple[Units, ...]

    def of(self, effect: Effect, tau: float) -> Smallest:
        return next(s for s in self.smallest if (s.effect, s.tau) == (effect, tau))


class Curve(NamedTuple):
    """Joint effects of a ranking's first units, [sizes]."""

    ranking: Units
    sizes: tuple[int, ...]
    values: np.ndarray


def search(
    damage: np.ndarray,
    restoration: np.ndarray,
    budget: int = 1_000,
    taus: Sequence[float] = TAUS,
    wanted: Sequence[Effect] = ("damage", "restoration"),
) -> Generator[Ask, np.ndarray, Searched]:
    """From the effects of every unit alone, [units] each: `Searched`, of the effects that are `wanted`.

    The prefixes of a few rankings find a set that suffices; then the sizes below it are tried, and units that can be
    spared are left out. `budget` bounds the joint trials that each exhaustion may take.
    """
    best = np.maximum(damage, restoration)
    rankings = list(dict.fromkeys(_ranked(x) for x in (damage, restoration, best)))
    found: list[Smallest] = []
    fastest: dict[Effect, Units] = {}
    effects: dict[Effect, np.ndarray] = {"damage": damage, "restoration": restoration}
    for effect in wanted:
        alone, curves = effects[effect], []
        for ranking in rankings:
            sizes = grid(len(ranking))
            curves.append(Curve(ranking, sizes, (yield Ask(effect, tuple(ranking[:k] for k in sizes)))))
        fastest[effect] = max(curves, key=lambda c: float(np.clip(c.values, 0.0, 1.0).mean())).ranking
        for tau in taus:
            found.append((yield from _smallest(effect, tau, alone, curves, _ranked(best), budget)))
    first = next((s for s in found if s.effect == "restoration"), None)
    disjoint = (yield from _disjoint(first, restoration)) if first and first.units else ()
    return Searched(tuple(found), fastest["damage"], disjoint)


def grid(units: int) -> tuple[int, ...]:
    """Sizes of sets: dense at first, then geometric, the last being all.

    >>> grid(24)
    (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 20, 24)
    """
    sizes = list(range(1, min(units, DENSE) + 1))
    while sizes[-1] < units:
        sizes.append(min(units, math.ceil(1.25 * sizes[-1])))
    return tuple(sizes)


def doubling(units: int) -> tuple[int, ...]:
    """Sizes along a curve.

    >>> doubling(20)
    (1, 2, 4, 8, 16, 20)
    """
    return tuple(dict.fromkeys([2**i for i in range(units.bit_length()) if 2**i <= units] + [units]))


def _ranked(effect: np.ndarray) -> Units:
    return tuple(np.argsort(-effect, kind="stable").tolist())


def _smallest(
    effect: Effect, tau: float, alone: np.ndarray, curves: Sequence[Curve], strongest: Units, budget: int
) -> Asking:
    sets: list[tuple[Units, float]] = []
    if alone.max() >= tau:
        return Smallest(effect, tau, (int(alone.argmax()),), float(alone.max()), 1)
    for curve in curves:
        reached = np.flatnonzero(curve.values >= tau)
        if not len(reached):
            continue
        sets.append((yield from _between(effect, tau, curve, int(reached[0]))))
    units, value = min(sets, key=lambda s: len(s[0]), default=(None, float("nan")))
    if units:
        units, value = yield from _spared(effect, tau, units, value)
    least = 2
    largest = len(units) - 1 if units else len(alone)
    pool = strongest if len(alone) <= ENUMERABLE else strongest[:STRONGEST]
    for size in range(2, min(largest, len(pool) if len(alone) <= ENUMERABLE else 2) + 1):
        if math.comb(len(pool), size) > budget:
            break
        tried = tuple(itertools.combinations(sorted(pool), size))
        values = yield Ask(effect, tried)
        if values.max() >= tau:
            return Smallest(effect, tau, tried[int(values.argmax())], float(values.max()), least)
        if len(alone) <= ENUMERABLE:
            least = size + 1
    return Smallest(effect, tau, units, value, least)


def _between(effect: Effect, tau: float, curve: Curve, at: int) -> Generator[Ask, np.ndarray, tuple[Units, float]]:
    """The shortest prefix that suffices, of those between two sizes of the grid."""
    high, value = curve.sizes[at], float(curve.values[at])
    low = curve.sizes[at - 1] if at else 0
    if high - low > 1:
        sizes = np.unique(np.linspace(low + 1, high - 1, REFINED).astype(int)).tolist()
        values = yield Ask(effect, tuple(curve.ranking[:k] for k in sizes))
        if (values >= tau).any():
            first = int((values >= tau).argmax())
            high, value = sizes[first], float(values[first])
    return curve.ranking[:high], value


def _spared(effect: Effect, tau: float, units: Units, value: float) -> Generator[Ask, np.ndarray, tuple[Units, float]]:
    """The set without what can be spared: groups of units (single ones, where there are at most `GROUPS`) are left out
    in turn, then the most dispensable together."""
    while len(units) > 1:
        size = math.ceil(len(units) / GROUPS)
        groups = [units[i : i + size] for i in range(0, len(units), size)]
        without = yield Ask(effect, tuple(_but(units, g) for g in groups))
        spare = [groups[i] for i in np.argsort(-without, kind="stable") if without[i] >= tau]
        if not spare:
            return units, value
        left = [_but(units, set(itertools.chain(*spare[: j + 1]))) for j in range(min(len(spare), len(groups) - 1))]
        together = yield Ask(effect, tuple(left))
        enough = int(np.flatnonzero(together >= tau)[-1])
        units, value = left[enough], float(together[enough])
    return units, value


def _but(units: Units, out: Collection[int]) -> Units:
    return tuple(u for u in units if u not in out)


def _disjoint(first: Smallest, alone: np.ndarray) -> Generator[Ask, np.ndarray, tuple[Units, ...]]:
    """Sets that suffice, no two sharing a unit, the first being the smallest."""
    assert first.units
    sets = [first.units]
    ranking = _ranked(alone)
    if len(first.units) == 1:
        sets += [(u,) for u in ranking if alone[u] >= first.tau and (u,) != first.units]
    while len(sets) < RIVALS:
        taken = {u for s in sets for u in s}
        free = [u for u in ranking if u not in taken][: 2 * len(first.units)]
        if not free:
            break
        values = yield Ask("restoration", tuple(tuple(free[: k + 1]) for k in range(len(free))))
        if not (values >= first.tau).any():
            break
        size = int((values >= first.tau).argmax())
        units, _ = yield from _spared("restoration", first.tau, tuple(free[: size + 1]), float(values[size]))
        sets.append(units)
    return tuple(sets)
