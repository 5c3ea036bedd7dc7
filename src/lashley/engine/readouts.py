"""From hidden states to the readout: which tokens to append, where to read, what to unembed."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import torch
from torch import Tensor

from lashley.core.readout import KL, LogitDifference, LogProbability, Loss, Probability, Rank, Readout
from lashley.core.run import Run
from lashley.engine.model import Model


@dataclass(frozen=True)
class Variant:
    """A run with (part of) an answer appended, the positions to read, and the tokens scored there."""

    run: Run
    reads: range
    scored: tuple[int, ...] = ()


def extend(run: Run, continuation: tuple[int, ...]) -> Run:
    """`run` followed by further tokens."""
    return msgspec.structs.replace(run, tokens=run.tokens + continuation) if continuation else run


def variants(readout: Readout, run: Run) -> tuple[Variant, ...]:
    """The passes that one trial needs: two for a logit difference of answers of several tokens, else one."""
    n = len(run)
    match readout:
        case LogitDifference(target, foil) if len(target) > 1 or len(foil) > 1:
            return _forced(run, target), _forced(run, foil)
        case LogProbability(target) | Probability(target):
            return (_forced(run, target),)
        case Loss():
            return (Variant(run, range(n - 1), run.tokens[1:]),)
        case _:
            return (Variant(run, range(n - 1, n)),)


def _forced(run: Run, answer: tuple[int, ...]) -> Variant:
    first = len(run) - 1
    return Variant(extend(run, answer[:-1]), range(first, first + len(answer)), answer)


@torch.no_grad()
def score(model: Model, readout: Readout, run: Run, hidden: list[Tensor], unedited: Tensor) -> Tensor:
    """Readout per row, float64 [rows].

    `hidden`: one tensor a variant, [rows, reads, width], before the final norm; `unedited`: the same of the
    first variant's unedited run, [1, reads, width], for the readouts that compare.
    """
    asked = variants(readout, run)
    match readout:
        case LogitDifference(target, foil) if len(asked) == 1:
            pair = torch.tensor([target[0], foil[0]], device=model.device)
            logits = model.logits(model.norm(hidden[0][:, 0]), pair).double()
            return logits[:, 0] - logits[:, 1]
        case LogitDifference():
            return log_probability(model, asked[0], hidden[0]) - log_probability(model, asked[1], hidden[1])
        case LogProbability():
            return log_probability(model, asked[0], hidden[0])
        case Probability():
            return log_probability(model, asked[0], hidden[0]).exp()
        case Loss():
            return -log_probability(model, asked[0], hidden[0]) / len(asked[0].reads)
        case Rank(target, candidates):
            rivals = torch.tensor((target[0], *candidates), device=model.device) if candidates else None
            own = 0 if candidates else target[0]
            ranks = []
            for h in _slices(model, model.norm(hidden[0][:, 0])):
                logits = model.logits(h, rivals)
                ranks.append(1.0 + (logits > logits[:, own, None]).sum(-1).double())
            return torch.cat(ranks)
        case KL():
            base = model.logits(model.norm(unedited[:, 0])).double().log_softmax(-1)
            return torch.cat(
                [
                    (p.exp() * (p - base)).sum(-1)
                    for h in _slices(model, model.norm(hidden[0][:, 0]))
                    for p in [model.logits(h).double().log_softmax(-1)]
                ]
            )


def log_probability(model: Model, variant: Variant, hidden: Tensor) -> Tensor:
    """Sum over the reads of the scored token's log-probability, float64 [rows]."""
    tokens = torch.tensor(variant.scored, device=model.device)
    out = []
    for h in _slices(model, model.norm(hidden)):
        logits = model.logits(h)  # [rows, reads, vocabulary]
        picked = logits.gather(-1, tokens.expand(len(h), -1)[..., None])[..., 0]
        out.append((picked.double() - logits.logsumexp(-1).double()).sum(-1))
    return torch.cat(out)


def _slices(model: Model, hidden: Tensor) -> tuple[Tensor, ...]:
    """Rows in portions whose logits over the whole vocabulary fit the budget."""
    reads = hidden.shape[1] if hidden.ndim == 3 else 1
    return hidden.split(max(1, model.memory // (8 * reads * model.anatomy.vocabulary)))
