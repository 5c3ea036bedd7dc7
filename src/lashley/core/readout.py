"""Named scalars of a model's output, each with its unit."""

from __future__ import annotations

from itertools import takewhile

import msgspec


def shared(answer: tuple[int, ...], other: tuple[int, ...]) -> int:
    """How many first tokens two answers have in common.

    >>> shared((5, 1, 7), (5, 1, 9)), shared((5,), (5, 1)), shared((5,), (6,))
    (2, 1, 0)
    """
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(answer, other, strict=False)))


class LogitDifference(msgspec.Struct, frozen=True, tag="logit_difference"):
    """logit(target) - logit(foil) at the final position (Zhang & Nanda 2309.16042).

    For answers of several tokens: the difference of the teacher-forced sums of log-probabilities,
    which for single tokens is the same number. First tokens that both share cancel. Neither answer may begin with all
    of the other: the difference would then be what the longer one's rest costs, whatever is recalled.
    """

    target: tuple[int, ...]
    foil: tuple[int, ...]
    unit = "logits"


class LogProbability(msgspec.Struct, frozen=True, tag="log_probability"):
    """Teacher-forced sum of the log-probabilities of the target's tokens."""

    target: tuple[int, ...]
    unit = "nats"


class Probability(msgspec.Struct, frozen=True, tag="probability"):
    """Probability of the whole target, teacher-forced."""

    target: tuple[int, ...]
    unit = "probability"


class Rank(msgspec.Struct, frozen=True, tag="rank"):
    """Rank (1 = first) of the target's first token among `candidates`' first tokens, or in the vocabulary."""

    target: tuple[int, ...]
    candidates: tuple[int, ...] = ()
    unit = "rank"


class KL(msgspec.Struct, frozen=True, tag="kl"):
    """Kullback-Leibler divergence of the edited from the unedited next-token distribution, final position."""

    unit = "nats"


class Loss(msgspec.Struct, frozen=True, tag="loss"):
    """Mean next-token loss over the run's own tokens: what an edit costs on unrelated text."""

    unit = "nats a token"


Readout = LogitDifference | LogProbability | Probability | Rank | KL | Loss


def name(readout: Readout) -> str:
    """The readout's name as it stands in tables: `logit_difference`, ..."""
    return str(readout.__struct_config__.tag)
