"""From hidden states to the readout: which tokens to append, where to read, what to unembed."""

from __future__ import annotations

from collections.abc import Sequence
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
        case LogitDifference() if model.rotary_by_length and len(hidden) > 1:
            whole = [log_probability(model, v.scored, h) for v, h in zip(asked, hidden, strict=True)]
            return whole[0] - whole[1]
        case LogitDifference(target, foil):  # both first tokens have one normaliser: their logits will do
            first = first_difference(model, target[0], foil[0], hidden[0][:, 0])
            later = [log_probability(model, v.scored[1:], h[:, 1:]) for v, h in zip(asked, hidden, strict=True)]
            return first + later[0] - (later[1] if len(later) > 1 else 0.0)
        case LogProbability():
            return log_probability(model, asked[0].scored, hidden[0])
        case Probability():
            return log_probability(model, asked[0].scored, hidden[0]).exp()
        case Loss():
            return -log_probability(model, asked[0].scored, hidden[0]) / len(asked[0].reads)
        case Rank(target, candidates):
            rivals = torch.tensor((target[0], *candidates), device=model.device) if candidates else None
            own = 0 if candidates else target[0]
            ranks = []
            for h in slices(model, model.norm(hidden[0][:, 0])):
                logits = model.logits(h, rivals)
                ranks.append(1.0 + (logits > logits[:, own, None]).sum(-1).double())
            return torch.cat(ranks)
        case KL():
            base = model.logits(model.norm(unedited[:, 0])).double().log_softmax(-1)
            return torch.cat(
                [
                    (p.exp() * (p - base)).sum(-1)
                    for h in slices(model, model.norm(hidden[0][:, 0]))
                    for p in [model.logits(h).double().log_softmax(-1)]
                ]
            )


@torch.no_grad()
def unedited(model: Model, asked: Sequence[tuple[Readout, Run, list[Tensor]]]) -> list[float]:
    """`score` of one unedited run each; the later tokens of answers are unembedded together, which for a large
    vocabulary costs little more than one of them alone."""
    found, later = [0.0] * len(asked), []
    for i, (readout, run, hidden) in enumerate(asked):
        if not isinstance(readout, LogitDifference) or model.rotary_by_length:
            found[i] = float(score(model, readout, run, hidden, hidden[0])[0])
            continue
        found[i] = float(first_difference(model, readout.target[0], readout.foil[0], hidden[0][0, 0]))
        for variant, sign, h in zip(variants(readout, run), (1, -1), hidden, strict=False):
            later += [(i, sign, token, x) for token, x in zip(variant.scored[1:], h[0, 1:], strict=True)]
    if later:
        tokens = torch.tensor([token for _, _, token, _ in later], device=model.device)
        terms = token_log_probability(model, tokens, torch.stack([x for *_, x in later]))
        for (i, sign, _, _), term in zip(later, terms.tolist(), strict=True):
            found[i] += sign * term
    return found


def first_difference(model: Model, target: int, foil: int, hidden: Tensor) -> Tensor:
    """logit(target) - logit(foil) at hidden states [.., width] before the final norm, float64 [..]."""
    pair = torch.tensor([target, foil], device=model.device)
    own, other = model.logits(model.norm(hidden), pair).double().unbind(-1)
    return own - other


def log_probability(model: Model, answer: tuple[int, ...], hidden: Tensor) -> Tensor:
    """Sum of the log-probabilities of the answer's tokens, each read at its own position of `hidden` [rows, tokens,
    width]: float64 [rows]."""
    if not answer:
        return torch.zeros(len(hidden), dtype=torch.float64, device=model.devices[-1])
    tokens = torch.tensor(answer, device=model.device).repeat(len(hidden))
    return token_log_probability(model, tokens, hidden.flatten(0, 1)).view(len(hidden), len(answer)).sum(-1)


def token_log_probability(model: Model, tokens: Tensor, hidden: Tensor) -> Tensor:
    """Log-probability of `tokens` [reads] at hidden states [reads, width] before the final norm, float64 [reads]."""
    out = []
    for h, own in zip(slices(model, model.norm(hidden)), slices(model, tokens), strict=True):
        logits = model.logits(h)  # [reads, vocabulary]
        out.append(logits.gather(-1, own.to(logits.device)[:, None])[:, 0].double() - logits.logsumexp(-1).double())
    return torch.cat(out)


def slices(model: Model, rows: Tensor) -> tuple[Tensor, ...]:
    """Rows in portions whose logits over the whole vocabulary fit the budget."""
    return rows.split(max(1, model.memory // (8 * model.anatomy.vocabulary)))
