"""Packs: every open trial exactly once, cut the same way whatever was answered before; resume is subtraction."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import open_model, run

from lashley.core.edit import Zero
from lashley.core.readout import LogitDifference
from lashley.core.site import Sites
from lashley.core.trial import Sweep
from lashley.engine import planner
from lashley.engine.bench import Bench

LENGTH = 6
ranges = st.tuples(st.integers(0, 40), st.integers(0, 40)).map(sorted).map(tuple)


def sweep(trials: int, seed: int = 0, answer=(5,)) -> Sweep:
    """Sites at positions 0, 1, .. 5, 0, ..: trials of 6, 5, .. 1 tokens."""
    sites = Sites.pack(np.arange(trials) % 2, 0, -1, np.arange(trials) % LENGTH)
    return Sweep(run(LENGTH, seed), None, "damage", (Zero(),), sites, LogitDifference(answer, (7,)))


def trials(pack: list[planner.Piece]) -> list[tuple[int, int]]:
    return [(piece.sweep, t) for piece in pack for t in range(piece.start, piece.stop)]


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    tokens=st.integers(1, 60),
    answered=st.dictionaries(st.integers(0, 3), st.lists(ranges, max_size=3)),
)
def test_packs_answer_what_is_open_once_and_keep_their_cuts(sizes, tokens, answered):
    sweeps = [sweep(n, seed) for seed, n in enumerate(sizes)]
    done = [answered.get(i, []) for i in range(len(sweeps))]
    closed = {(i, t) for i, spans in answered.items() for a, b in spans for t in range(a, b)}
    whole = [trials(p) for p in planner.packs(sweeps, tokens)]
    assert [t for pack in whole for t in pack] == [(i, t) for i, n in enumerate(sizes) for t in range(n)]
    expected = [[t for t in pack if t not in closed] for pack in whole]
    assert [trials(p) for p in planner.packs(sweeps, tokens, done)] == [p for p in expected if p]


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4), tokens=st.integers(1, 60))
def test_a_pack_keeps_its_budget_unless_it_is_a_single_trial(sizes, tokens):
    sweeps = [sweep(n, seed) for seed, n in enumerate(sizes)]
    cost = [planner.trial_tokens(s) for s in sweeps]
    packs = [trials(p) for p in planner.packs(sweeps, tokens)]
    spent = [sum(int(cost[i][t]) for i, t in pack) for pack in packs]
    assert all(total <= tokens or len(pack) == 1 for pack, total in zip(packs, spent, strict=True))


def test_a_trial_costs_the_tokens_from_its_first_edited_one_on_and_a_quarter_of_those_before():
    assert planner.trial_tokens(sweep(6)).tolist() == [6, 5, 4, 3, 2 + 1, 1 + 1]
    assert planner.trial_tokens(sweep(6), "whole").tolist() == [6] * 6
    assert planner.trial_tokens(sweep(6, answer=(5, 9, 3))).tolist() == [14, 12, 10, 8, 6 + 2, 4 + 2]


def test_a_resumed_sweep_gives_the_same_bits(name):
    model = open_model(name, memory=1)
    sweeps = [sweep(100, seed) for seed in range(3)]
    whole = list(Bench(model).run(sweeps))
    assert len(whole) >= 4
    answered: dict[str, list[tuple[int, int]]] = {}
    for chunk in (c for pack in whole[:2] for c in pack):
        answered.setdefault(chunk.sweep, []).append((chunk.start, chunk.start + len(chunk.values)))
    rest = list(Bench(model).run(sweeps, answered))
    for again, first in zip(rest, whole[2:], strict=True):
        for a, b in zip(again, first, strict=True):
            assert (a.sweep, a.start, a.noise_floor) == (b.sweep, b.start, b.noise_floor)
            np.testing.assert_array_equal(a.values, b.values)


def test_nothing_open_is_no_pack(model):
    asked = sweep(10)
    assert list(Bench(model).run([asked], {asked.key: [(0, 4), (4, 10)]})) == []
    assert list(Bench(model).run([])) == []
