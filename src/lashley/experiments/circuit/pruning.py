"""Exact greedy pruning: edges are taken out of the whole graph block by block while the readout stays.

As ACDC (Conmy et al. 2304.14997) in that every removal is measured, never estimated; unlike it in that the removals of
a round are measured together: first each block of edges alone, then the least harmful blocks one upon the other, and
as many of them go as leave enough of the readout. Blocks become smaller until they are single edges. Later rounds
follow from the answers to earlier ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BLOCKS = 32  # at first
MOST = 256  # blocks of a round
ROUNDS = 48


class Pruned(NamedTuple):
    """How far it came: marks of what is left and scores (larger: went later), [edges]; and the sets to patch next,
    bool [trials, edges], or None at the end."""

    kept: np.ndarray
    scores: np.ndarray
    following: np.ndarray | None


def prune(edges: int, answered: Sequence[np.ndarray], least: float) -> Pruned:
    """Where pruning stands after these rounds: the faithfulness of each trial, [trials] a round; a trial patches what
    `following` said. What is left keeps its faithfulness between `least` and 2 - `least`.
    """
    kept, scores = np.ones(edges, bool), np.zeros(edges)
    order, blocks, now = np.arange(edges)[::-1], BLOCKS, 1.0
    for turn in range(0, ROUNDS, 2):
        parts = np.array_split(order, min(blocks, len(order)))
        alone = np.array([~kept | _marks(edges, part) for part in parts])
        if turn >= len(answered):
            return Pruned(kept, scores, alone)
        change = np.abs(answered[turn] - now)
        for part, size in zip(parts, change, strict=True):
            scores[part] = turn + size / (1 + size)
        parts = [parts[i] for i in np.argsort(change, kind="stable")]
        order = np.concatenate(parts)
        if turn + 1 >= len(answered):
            upon = np.cumsum([_marks(edges, part) for part in parts], axis=0).astype(bool)
            return Pruned(kept, scores, ~kept | upon)
        faithful = answered[turn + 1]
        good = np.flatnonzero((faithful >= least) & (faithful <= 2 - least))
        single = len(parts) == len(order)
        if not len(good):
            if single or blocks >= MOST:
                break
            blocks = min(4 * blocks, MOST)
            continue
        gone = np.concatenate(parts[: good[-1] + 1])
        kept[gone], now = False, float(faithful[good[-1]])
        order = order[len(gone) :]
        if not len(order):
            break
    scores[kept] += ROUNDS
    return Pruned(kept, scores, None)


def _marks(edges: int, part: np.ndarray) -> np.ndarray:
    marks = np.zeros(edges, bool)
    marks[part] = True
    return marks
