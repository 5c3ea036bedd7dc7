"""What a model says next: log-probabilities of answers, by plain forward passes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from lashley.core.case import Case
from lashley.core.readout import LogProbability, Probability, Rank
from lashley.core.run import Run
from lashley.core.standing import Standing, name
from lashley.engine.bench import Bench
from lashley.engine.keeping import keep
from lashley.engine.readouts import slices, token_log_probability, variants


def scores(bench: Bench, asked: Sequence[tuple[Run, tuple[int, ...]]]) -> np.ndarray:
    """Teacher-forced sum of the log-probabilities of each answer's tokens after its run, float64 [answers]."""
    return keep(bench, ("scores", list(asked)), lambda: [_scores(bench, asked)])[0]


@torch.no_grad()
def _scores(bench: Bench, asked: Sequence[tuple[Run, tuple[int, ...]]]) -> np.ndarray:
    forced = [variants(LogProbability(answer), run)[0] for run, answer in asked]
    out = np.zeros(len(forced))
    for batch, hidden in bench.hidden([v.run for v in forced]):
        reads = [(i, at) for i in batch for at in forced[i].reads]
        row = {i: n for n, i in enumerate(batch)}
        tokens = torch.tensor([t for i in batch for t in forced[i].scored], device=hidden.device)
        read = hidden[[row[i] for i, _ in reads], [at for _, at in reads]]
        np.add.at(out, [i for i, _ in reads], token_log_probability(bench.model, tokens, read).cpu().numpy())
    return out


def first_tokens(bench: Bench, runs: Sequence[Run], tokens: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Log-probability of each of `tokens[i]` as the next token of run i, float64 [tokens]."""
    asked = ("first tokens", list(runs), [list(some) for some in tokens])
    return list(keep(bench, asked, lambda: _first_tokens(bench, runs, tokens)))


@torch.no_grad()
def _first_tokens(bench: Bench, runs: Sequence[Run], tokens: Sequence[Sequence[int]]) -> list[np.ndarray]:
    out: list[np.ndarray] = [np.empty(0)] * len(runs)
    for batch, hidden in bench.hidden(runs):
        last = slices(bench.model, bench.model.norm(hidden[:, -1]))
        each = (row for h in last for row in bench.model.logits(h))
        for i, logits in zip(batch, each, strict=True):
            out[i] = (logits[list(tokens[i])] - logits.logsumexp(-1)).double().cpu().numpy()
    return out


def top(bench: Bench, run: Run, n: int = 3) -> str:
    """The model's own likeliest next tokens, in words: `' Lyon' 41%, ' Paris' 22%`."""
    (told,) = keep(bench, ("top", run, n), lambda: [np.frombuffer(_top(bench, run, n).encode(), np.uint8)])
    return told.tobytes().decode()


@torch.no_grad()
def _top(bench: Bench, run: Run, n: int) -> str:
    for _, hidden in bench.hidden([run]):
        p, tokens = bench.model.logits(bench.model.norm(hidden[0][-1])).softmax(-1).topk(n)
        words = bench.tokens.words(tuple(tokens.tolist()))
        return ", ".join(f"{w!r} {100 * x:.0f}%" for w, x in zip(words, p.tolist(), strict=True))
    return ""


def standing(bench: Bench, cases: Iterable[Case]) -> dict[bytes, Standing]:
    """Probability and rank of the object after the clean and the corrupt run of every case; each run once."""
    asked = {name(run, case.target): (run, case.target) for case in cases for run in (case.clean, case.corrupt)}
    each = [bench.values([(run, how(own)) for run, own in asked.values()]) for how in (Probability, Rank)]
    return dict(zip(asked, map(Standing, *each), strict=True))
