"""Of models like their untrained copies at most one in twenty has any operation.

Measured on 24 November 2026: recognised on 0 of 40 untrained copies of the embedded model and 1 of 40 of a tiny Llama
(six operations each), 0 of 40 of a tiny GPT-2 (four, without cases); by the bound alone, no `LEAST`, on 1, 2 and 1.
"""

import numpy as np
import pytest

from lashley.stats.recognised import LEAST, OPERATIONS, UNTRAINED, recognised, thresholds


def gumbel_scores(seed: int, copies: int = 5) -> dict[str, np.ndarray]:
    """A model and copies whose heads' scores are all of one kind, at a place and width of each operation's own."""
    draw = np.random.default_rng(seed)
    scores = {}
    for name in OPERATIONS:
        place, width = LEAST[name] + draw.uniform(1, 5), draw.uniform(0.01, 1)
        every = place + width * draw.standard_exponential((copies + 1, 4, 6))
        scores |= {name: every[0], name + UNTRAINED: every[1:]}
    return scores


def test_of_models_like_their_copies_one_in_twenty_has_any_operation():
    any_of = [any(found.any() for found in recognised(gumbel_scores(seed)).values()) for seed in range(1000)]
    assert 0.025 < np.mean(any_of) < 0.075


def test_a_head_far_above_the_copies_is_recognised_and_no_other():
    scores = gumbel_scores(0)
    scores["copying"][2, 3] += 20
    found = recognised(scores)
    assert [tuple(at) for at in np.argwhere(found["copying"])] == [(2, 3)]
    assert not any(found[name].any() for name in OPERATIONS if name != "copying")


def test_what_is_weak_has_no_name_however_far_above_the_copies():
    scores = {"induction": np.full((2, 2), 0.29), "induction" + UNTRAINED: np.zeros((5, 2, 2))}
    assert not recognised(scores)["induction"].any()
    assert thresholds(scores) == {"induction": LEAST["induction"]}


def test_a_threshold_needs_two_copies():
    with pytest.raises(ValueError, match="two or more"):
        thresholds({"copying": np.zeros((2, 2)), "copying" + UNTRAINED: np.zeros((1, 2, 2))})
