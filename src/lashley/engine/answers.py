"""What a model says next: log-probabilities of answers, by plain forward passes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from lashley.core.readout import LogProbability
from lashley.core.run import Run
from lashley.engine.bench import Bench
from lashley.engine.readouts import log_probability, variants


@torch.no_grad()
def scores(bench: Bench, asked: Sequence[tuple[Run, tuple[int, ...]]]) -> np.ndarray:
    """Teacher-forced sum of the log-probabilities of each answer's tokens after its run, float64 [answers]."""
    forced = [variants(LogProbability(answer), run)[0] for run, answer in asked]
    out = np.empty(len(forced))
    for batch, hidden in bench.hidden([v.run for v in forced]):
        for i, h in zip(batch, hidden, strict=True):
            out[i] = float(log_probability(bench.model, forced[i], h[None, list(forced[i].reads)])[0])
    return out


@torch.no_grad()
def first_tokens(bench: Bench, runs: Sequence[Run], tokens: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Log-probability of each of `tokens[i]` as the next token of run i, float64 [tokens]."""
    out: list[np.ndarray] = [np.empty(0)] * len(runs)
    for batch, hidden in bench.hidden(runs):
        for i, h in zip(batch, hidden, strict=True):
            logits = bench.model.logits(bench.model.norm(h[-1]))
            out[i] = (logits[list(tokens[i])] - logits.logsumexp(-1)).double().cpu().numpy()
    return out


@torch.no_grad()
def top(bench: Bench, run: Run, n: int = 3) -> str:
    """The model's own likeliest next tokens, in words: `' Lyon' 41%, ' Paris' 22%`."""
    for _, hidden in bench.hidden([run]):
        p, tokens = bench.model.logits(bench.model.norm(hidden[0][-1])).softmax(-1).topk(n)
        words = bench.tokens.words(tuple(tokens.tolist()))
        return ", ".join(f"{w!r} {100 * x:.0f}%" for w, x in zip(words, p.tolist(), strict=True))
    return ""
