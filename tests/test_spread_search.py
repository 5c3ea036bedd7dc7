"""Searches are played against models whose truth is a formula."""

from __future__ import annotations

import numpy as np
import pytest

from lashley.experiments.spread.search import TAUS, Ask, Searched, grid, search


def play(units: int, joint, **words) -> tuple[Searched, int]:
    """Run a search on `joint(effect, set) -> float`; what it found, and how many sets it tried."""

    def alone(effect):
        return np.array([joint(effect, (u,)) for u in range(units)])

    running, tried = search(alone("damage"), alone("restoration"), **words), 0
    ask: Ask = next(running)
    while True:
        tried += len(ask.sets)
        assert all(len(set(s)) == len(s) > 0 and max(s) < units for s in ask.sets)
        try:
            ask = running.send(np.array([joint(ask.effect, s) for s in ask.sets]))
        except StopIteration as stop:
            return stop.value, tried


def redundant(r: int):
    """Units 0 .. r - 1 each suffice."""
    return lambda effect, s: (
        float(len({*range(r)} & {*s}) == r) if effect == "damage" else float(bool({*range(r)} & {*s}))
    )


def split(r: int):
    """Units 0 .. r - 1 are all needed."""
    return lambda effect, s: (
        float(bool({*range(r)} & {*s})) if effect == "damage" else float(len({*range(r)} & {*s}) == r)
    )


@pytest.mark.parametrize("r", range(1, 9))
def test_redundant_units_are_counted(r: int) -> None:
    found, _ = play(100, redundant(r))
    assert set(found.of("damage", 0.5).units or ()) == {*range(r)}
    assert len(found.of("restoration", 0.5).units or ()) == 1
    assert sorted(found.disjoint) == [(u,) for u in range(r)]


@pytest.mark.parametrize("r", range(2, 9))
def test_a_fact_split_over_units_is_found_where_single_restorations_show_nothing(r: int) -> None:
    found, _ = play(100, split(r))
    assert set(found.of("restoration", 0.5).units or ()) == {*range(r)}
    assert len(found.of("damage", 0.5).units or ()) == 1
    assert [set(s) for s in found.disjoint] == [{*range(r)}]


def test_additive_effects_give_the_smallest_set() -> None:
    rng = np.random.default_rng(0)
    share = rng.dirichlet(np.full(300, 0.3))
    found, tried = play(300, lambda _, s: float(share[list(s)].sum()))
    for tau in TAUS:
        need = int((np.cumsum(np.sort(share)[::-1]) < tau).sum()) + 1
        assert len(found.of("damage", tau).units or ()) == need
    assert tried < 3_000


def test_few_units_are_enumerated_and_the_bound_says_so() -> None:
    """Three units only count together, and single effects point elsewhere."""

    def joint(effect, s):
        return 1.0 if {3, 5, 7} <= {*s} else 0.02 * len(s) - 0.01 * len({3, 5, 7} & {*s})

    found, _ = play(10, joint)
    of = found.of("damage", 0.5)
    assert set(of.units or ()) == {3, 5, 7} and of.least == 3


def test_a_budget_bounds_exhaustion() -> None:
    _, many = play(12, redundant(6), budget=10_000)
    found, few = play(12, redundant(6), budget=10)
    assert few < many and found.of("damage", 0.5).least == 2


def test_what_all_units_together_do_not_reach_is_not_found() -> None:
    found, _ = play(30, lambda _, s: 0.4 * len(s) / 30)
    assert all(s.units is None for s in found.smallest) and found.disjoint == ()


def test_a_larger_set_is_never_below_its_bound() -> None:
    for units in (1, 2, 17, 400):
        sizes = grid(units)
        assert sizes[-1] == units and list(sizes) == sorted(set(sizes))
