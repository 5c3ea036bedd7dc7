"""How much each head does what heads are known to do, in a model and in untrained copies of it.

Scores are of behaviour on random tokens, of weights, and of the cases asked about; `recognised` says which of them
untrained weights do not explain.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch

from lashley.core.case import Case
from lashley.core.progress import Progress, silent
from lashley.core.readout import shared
from lashley.core.run import Run
from lashley.core.site import Site
from lashley.engine.bench import Bench
from lashley.engine.heads import alone, unembedded, written
from lashley.engine.readouts import extend
from lashley.stats.recognised import OPERATIONS, UNTRAINED

COPIES = 5  # untrained ones
LONGEST, LENGTHS, ROWS = 24, 4, 8  # random sequences: the longest, how many lengths down to half of it, rows of each
SAMPLED = 512  # tokens that are copied, and stand for the vocabulary
TOP = 0.01  # a token is copied where its logit is among this share of the sample


def operations(
    bench: Bench,
    cases: Sequence[Case],
    seed: int,
    progress: Progress = silent,
) -> dict[str, np.ndarray]:
    """Scores of every head, float64 [layers, heads], by the names of `recognised.OPERATIONS`; and as "NAME, untrained"
    those of untrained copies on the same tokens and cases, [copies, layers, heads].

    What needs attention patterns is left out where the family's attention cannot be reached; what needs cases where
    there are none, and "subject to final" too where every subject ends its prompt.
    """
    progress("operations of heads", 0, COPIES + 1)
    found = _scores(bench, cases, seed)
    untrained: defaultdict[str, list[np.ndarray]] = defaultdict(list)
    for copy in range(COPIES):
        progress("operations of heads", copy + 1, COPIES + 1)
        for name, scores in _scores(bench.untrained(COPIES * seed + copy + 1), cases, seed).items():
            untrained[name].append(scores)
    progress("operations of heads", COPIES + 1, COPIES + 1)
    return found | {name + UNTRAINED: np.stack(scores) for name, scores in untrained.items()}


def _scores(bench: Bench, cases: Sequence[Case], seed: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng([seed])
    words = _words(bench)
    sample = draw.permutation(words)[:SAMPLED]
    found = {"copying": _copying(bench, sample)}
    if bench.model.family.packed:
        found |= _on_random_tokens(bench, words, draw)
        if moved := [c.clean for c in cases if c.clean.subject[1] not in (0, len(c.clean))]:
            found["subject to final"] = _moving(bench, moved)
    if pairs := [c for c in cases if c.donor]:
        found["attribute extraction"] = _extraction(bench, pairs, sample)
    return {name: found[name] for name in OPERATIONS if name in found}


def _words(bench: Bench) -> np.ndarray:
    """The tokens that text is made of: neither special nor beyond the tokenizer, int64 [words]."""
    tokenizer = bench.tokens.tokenizer
    known = min(len(tokenizer), bench.anatomy.vocabulary)
    return np.setdiff1d(np.arange(known), [*tokenizer.added_tokens_decoder, *tokenizer.all_special_ids])


def _begin(bench: Bench) -> tuple[int, ...]:
    """What stands before random tokens, so that none of them is the attention sink: what the tokenizer puts before any
    text, or else the token that its texts are told apart by; () where it has neither."""
    tokenizer = bench.tokens.tokenizer
    if bench.tokens.begin:
        return bench.tokens.before
    named = (tokenizer.bos_token_id, tokenizer.eos_token_id)
    return next(((t,) for t in named if t is not None and t < bench.anatomy.vocabulary), ())


def _on_random_tokens(bench: Bench, words: np.ndarray, draw: np.random.Generator) -> dict[str, np.ndarray]:
    """Mean attention on random sequences of different tokens that are said twice.

    Previous token: to position i - 1, the first time. Duplicate token: to where the same token was, the second time
    (Wang et al. 2022, 2211.00593, section 3). Induction: to one further than that (Olsson et al. 2022, 2209.11895,
    "prefix matching"). The sequences have several lengths, so that no fixed distance gets the last two.
    """
    begin = _begin(bench)
    longest = min(LONGEST, (bench.anatomy.context - len(begin)) // 2, len(words))
    lengths = np.unique(np.linspace((longest + 1) // 2, longest, LENGTHS).round().astype(int))
    runs = []
    for period in np.repeat(lengths, ROWS):
        once = tuple(draw.choice(words, period, replace=False).tolist())
        runs.append(Run("", (*begin, *once, *once), len(begin)))
    sums: defaultdict[str, list[np.ndarray]] = defaultdict(list)
    for run, pattern in zip(runs, bench.attend(runs), strict=True):
        period = (len(run) - run.begin) // 2
        first = np.arange(run.sink, run.begin + period)
        second = first + period
        sums["previous token"].append(pattern[:, :, first[1:], first[:-1]].mean(-1))
        sums["duplicate token"].append(pattern[:, :, second, first].mean(-1))
        sums["induction"].append(pattern[:, :, second, first + 1].mean(-1))
    return {name: np.mean(each, axis=0, dtype=float) for name, each in sums.items()}


@torch.no_grad()
def _copying(bench: Bench, sample: np.ndarray) -> np.ndarray:
    """Share of sampled tokens whose own logit is among the highest hundredth of the sample's, after a head has read
    the token alone and written to nothing else: W_U norm(OV(x)) (Wang et al. 2022, 2211.00593, section 3.3).

    x is the residual stream after the first layer (before it, for the first layer's heads) at the token, with nothing
    but the beginning of a text before it. Norms before attention and after it are the model's own; the final norm sees
    the head's output alone, which leaves the order of the logits as it would be, its bias left out.
    """
    begin = _begin(bench)
    runs = [Run("", (*begin, int(token)), len(begin)) for token in sample]
    first, after = Site(0, "resid", None, -1), Site(1, "resid", None, -1)
    acts = {site: torch.from_numpy(x) for site, x in bench.read(runs, [first, after]).items()}
    tokens = torch.from_numpy(sample)
    own = torch.arange(len(sample))
    hits = torch.zeros(bench.anatomy.layers, bench.anatomy.heads, dtype=torch.float64)
    for some in own.split(bench.model.tokens_per_pass // bench.anatomy.layers):
        streams = torch.stack([acts[first][some], *[acts[after][some]] * (bench.anatomy.layers - 1)])
        wrote = written(bench.model, alone(bench.model, streams), together=False)
        logits = unembedded(bench.model, wrote, wrote, tokens).cpu()  # [some, layers, heads, sample]
        higher = (logits > logits[np.arange(len(some)), ..., some, None]).sum(-1)
        hits += (higher < max(1, round(TOP * len(sample)))).sum(0)
    return (hits / len(sample)).numpy()


def _moving(bench: Bench, runs: Sequence[Run]) -> np.ndarray:
    """Mean attention from the last position to the subject's last (Geva et al. 2023, 2304.14767, section 6).

    Plain attention, not weighted by the values' norms: what the head moves is for "copying" and "attribute extraction"
    to say. Where the subject ends one token before the prompt, a previous-token head scores as well.
    """
    patterns = bench.attend(runs)
    return np.mean([p[:, :, -1, r.subject[1] - 1] for p, r in zip(patterns, runs, strict=True)], axis=0, dtype=float)


@torch.no_grad()
def _extraction(bench: Bench, cases: Sequence[Case], sample: np.ndarray) -> np.ndarray:
    """How much a head's own write at the last position raises the object over the foil, in standard deviations.

    The write, through the final norm's scale of its pass, is unembedded (the projection that Geva et al. 2023,
    2304.14767, section 5, take of attention's output), and what the head writes in the foil's run is taken off, so that
    a fixed preference for one answer counts for nothing. The difference of the two logits is divided by sqrt(2) and by
    the standard deviation over sampled tokens of that change: the head's own, or the root mean square over all heads
    where that is larger, so that neither a faint write nor a loud and indifferent one stands out. Mean over the cases.
    Of answers of several tokens the first counts in which they differ, read after those that they share.
    """
    layers, heads = bench.anatomy.layers, bench.anatomy.heads
    pairs = [tuple(extend(run, c.target[: _same(c)]) for run in (c.clean, c.other)) for c in cases]
    runs = list(dict.fromkeys(run for pair in pairs for run in pair))
    where = [*(Site(layer, "head", None, "final") for layer in range(layers)), Site(layers, "resid", None, "final")]
    acts = bench.read(runs, where)
    at = {run: i for i, run in enumerate(runs)}
    total = np.zeros((layers, heads))
    for case, pair in zip(cases, pairs, strict=True):
        n = _same(case)
        tokens = torch.tensor([case.target[n], case.foil_tokens[n], *sample.tolist()])
        ends = [[acts[site][at[run]] for site in where] for run in pair]
        clean, other = (_direct(bench, end, tokens) for end in ends)
        change = clean - other  # [layers, heads, 2 + sampled]
        own = change[..., 2:].std(-1)
        total += (change[..., 0] - change[..., 1]) / np.sqrt(2) / np.maximum(own, np.sqrt(np.mean(own**2)))
    return total / len(cases)


def _same(case: Case) -> int:
    return shared(case.target, case.foil_tokens)


def _direct(bench: Bench, acts: Sequence[np.ndarray], tokens: torch.Tensor) -> np.ndarray:
    """What each head adds to the logits of `tokens` at one position, float64 [layers, heads, tokens]: `acts` are what
    enters each layer's output projection of attention, and the residual stream at the end."""
    model = bench.model
    heads = torch.from_numpy(np.stack(acts[:-1])).to(model.device).unflatten(-1, (model.anatomy.heads, -1))
    end = torch.from_numpy(acts[-1]).to(model.device)
    return unembedded(model, written(model, heads, together=True), end, tokens).double().cpu().numpy()
