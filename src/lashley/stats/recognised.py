"""Operations that a head may carry out, and which heads do so more strongly than untrained weights explain."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

OPERATIONS: dict[str, str] = {
    "previous token": "attends to the token before, on random tokens",
    "duplicate token": "attends to an earlier occurrence of the same token",
    "induction": "attends to what followed an earlier occurrence of the same token",
    "copying": "what it writes about a token raises the logit of that token",
    "subject to final": "attends from the last token to the end of the subject",
    "attribute extraction": "what it writes at the last token raises the object over the foil",
}
LEAST: dict[str, float] = {  # scores below which an operation is too weak for its name, whatever untrained copies do
    "previous token": 0.3,
    "duplicate token": 0.3,
    "induction": 0.3,
    "copying": 0.5,
    "subject to final": 0.3,
    "attribute extraction": 2.0,
}
UNTRAINED = ", untrained"  # what follows an operation's name where the scores of the untrained copies are
DRAWS = 200_000


def recognised(scores: Mapping[str, np.ndarray], alpha: float = 0.05) -> dict[str, np.ndarray]:
    """Which heads carry out each operation: bool [layers, heads], True where the score exceeds its threshold.

    `scores` holds of each operation NAME the model's own [layers, heads], and as "NAME, untrained" those of untrained
    copies [copies, layers, heads]. Raises ValueError for fewer than two copies.
    """
    return {name: scores[name] > bound for name, bound in thresholds(scores, alpha).items()}


def thresholds(scores: Mapping[str, np.ndarray], alpha: float = 0.05) -> dict[str, float]:
    """What a head's score has to exceed, by operation, so that of `alpha` of untrained models any head does in any.

    One number a copy, its best head's score, has in it whatever heads have in common and however many there are. An
    untrained model's best head would be one more such number, and lies below mean + q sd of the copies' with
    probability 1 - alpha / operations (Bonferroni). Largest of many, they are taken to have a Gumbel distribution of
    any place and width, on which q does not depend. The largest of all copies' heads is no bound: one untrained model
    in copies + 1 exceeds it. `LEAST` holds beside it. What was measured on untrained models is in
    `tests/operations/test_recognised.py`.

    Sources: the largest of all tests, Westfall & Young 1993, Resampling-Based Multiple Testing; Gumbel 1958,
    Statistics of Extremes.
    """
    names = [name for name in scores if not name.endswith(UNTRAINED)]
    found: dict[str, float] = {}
    for name in names:
        best = scores[name + UNTRAINED].max((1, 2))
        if len(best) < 2:
            raise ValueError(f"{len(best)} untrained copies: a threshold needs two or more")
        bound = best.mean() + _beyond(len(best), alpha / len(names)) * best.std(ddof=1)
        found[name] = max(LEAST[name], float(bound))
    return found


@cache
def _beyond(copies: int, alpha: float) -> float:
    """How many standard deviations of `copies` Gumbel numbers one more lies above their mean with probability `alpha`;
    by simulation, the same each time.

    >>> round(_beyond(5, 0.05), 1) < round(_beyond(5, 0.01), 1) < round(_beyond(3, 0.01), 1)
    True
    """
    drawn = np.random.default_rng(0).gumbel(size=(DRAWS, copies + 1))
    ours, one = drawn[:, :-1], drawn[:, -1]
    return float(np.quantile((one - ours.mean(1)) / ours.std(1, ddof=1), 1 - alpha))
