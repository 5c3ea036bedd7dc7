"""Greedy pruning of made-up models: it ends, keeps what is needed, and nothing that is not."""

import numpy as np
import pytest

from lashley.experiments.circuit.pruning import ROUNDS, prune


def run(edges, faithful, least=0.9):
    """All rounds with a function of the kept edges in the place of a model."""
    answered, asked = [], 0
    while (state := prune(edges, answered, least)).following is not None:
        answered.append(np.array([faithful(~patched) for patched in state.following]))
        asked += len(state.following)
        assert len(answered) <= ROUNDS
    return state, asked


@pytest.mark.parametrize("needed", [[3], [0, 7, 100, 499], list(range(40, 60))])
def test_only_what_is_needed_is_left(needed):
    state, asked = run(500, lambda kept: kept[needed].mean(), least=0.999)
    assert np.flatnonzero(state.kept).tolist() == needed
    assert asked < 5000


def test_of_two_that_stand_in_for_each_other_one_is_left():
    state, _ = run(300, lambda kept: float((kept[5] or kept[250]) and kept[100]))
    assert state.kept[100] and state.kept[5] + state.kept[250] == 1 and state.kept.sum() == 2


def test_what_went_later_scores_higher_and_what_is_left_highest():
    state, _ = run(200, lambda kept: 0.5 * kept[1] + 0.4 * kept[2] + 0.1 * kept[3], least=0.85)
    assert set(np.flatnonzero(state.kept)) == {1, 2}
    assert state.scores[[1, 2]].min() > state.scores[3] >= np.delete(state.scores, [1, 2, 3]).max()


def test_too_faithful_is_not_faithful():
    state, _ = run(100, lambda kept: 1 + 0.5 * (not kept[10]))
    assert state.kept[10]


def test_it_goes_on_from_any_round():
    faithful = lambda kept: kept[[3, 9]].mean()  # noqa: E731
    answered: list[np.ndarray] = []
    states = []
    while (state := prune(64, answered, 0.9)).following is not None:
        states.append(state.following)
        answered.append(np.array([faithful(~patched) for patched in state.following]))
    for turn, asked in enumerate(states):
        again = prune(64, answered[:turn], 0.9).following
        assert again is not None and (again == asked).all()
