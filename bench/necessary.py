"""How many operations exact interventions cannot avoid: the measure of what a tool makes of its machine.

>>> tiny = Shape(layers=2, width=2, heads=1, kv_heads=1, head_width=2, neurons=3)
>>> necessary(tiny, 3, "mlp", 1, 0), necessary(tiny, 3, "mlp", 1, 2), necessary(tiny, 3, "resid", 1, 0)
(0, 0, 84)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple


class Shape(NamedTuple):
    """What a decoder layer with a gated MLP is made of."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    neurons: int


GEMMA = Shape(layers=18, width=640, heads=4, kv_heads=1, head_width=256, neurons=2048)


def necessary(shape: Shape, tokens: int, kind: str, layer: int, position: int | None) -> int:
    """Floating-point operations that one edit of a run of `tokens` tokens, read at the last one, makes necessary.

    Everything below the edit and before its position is as in the unedited run, and is not counted. From the edit
    up, a linear layer costs 2 operations a weight at every position whose input changed, and attention 4 a query,
    head, width and key seen. In detail:

    - in the edit's own layer, the edit of an attention output (or a head) costs the MLP (and the head's share of
      the output projection) at the edited positions only; that of an MLP output or a neuron costs nothing;
    - in the first layer entered after the edit, queries, keys and values change at the edited positions only;
    - in the last layer, keys and values count at all changed positions, all else at the last token only.

    Norms, rotations, the softmax and the two rows of the unembedding that are read are left out. A trial counts
    although its edit may turn out to write what was there.
    """
    query = 2 * shape.width * shape.heads * shape.head_width
    keys = 2 * 2 * shape.width * shape.kv_heads * shape.head_width
    mlp = 2 * 3 * shape.width * shape.neurons
    score = 4 * shape.heads * shape.head_width
    first, last = position or 0, shape.layers - 1
    ahead = tokens - first
    edited = tokens if position is None else 1
    read = position is None or position == tokens - 1  # whether the last token itself is edited

    total = 0
    if kind in ("attn", "head"):
        own = mlp + (2 * shape.head_width * shape.width if kind == "head" else 0)
        total += own * (edited if layer < last else read)
    enter = layer if kind == "resid" else layer + 1
    for here in range(enter, shape.layers):
        changed = edited if here == enter else ahead
        total += keys * changed
        if here < last:
            total += query * changed + (query + mlp) * ahead  # the output projection has as many weights as the query's
            total += score * sum(range(first + 1, tokens + 1))
        else:
            total += query * (read or here > enter) + query + mlp + score * tokens
    return total


def all_of(shape: Shape, tokens: int, trials: Iterable[tuple[str, int, int | None]]) -> int:
    """The same for many trials (kind, layer, position)."""
    return sum(times * necessary(shape, tokens, *trial) for trial, times in Counter(trials).items())
