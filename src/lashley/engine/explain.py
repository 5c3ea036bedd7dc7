"""What sweeps will cost on a bench, without running them: as EXPLAIN does in a database."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from lashley.core.cost import Cost
from lashley.core.readout import LogitDifference
from lashley.core.trial import Sweep
from lashley.engine import planner
from lashley.engine.bench import Bench
from lashley.engine.readouts import variants

TRIED = 2e11  # operations of the forward passes whose speed is measured


def explain(bench: Bench, sweeps: Sequence[Sweep]) -> Cost:
    """Lay out every pack as `bench.run` would, and count. Raises `BadSite` or `BadPrompt` as it does."""
    model, routes = bench.model, bench.routes(sweeps)
    rows_, calls, operations, naive, most = 0, 0, 0.0, 0.0, 0
    layers, held = model.anatomy.layers, []
    packs = list(planner.packs(sweeps, model.tokens_per_pass, (), routes, model.base_tokens))
    for pieces in packs:
        unedited = planner.unedited([sweeps[p.sweep] for p in pieces])
        lengths = np.array([len(run) for run in unedited])
        if sweeps[pieces[0].sweep].edges:
            found = _edges(bench, pieces, sweeps)
            rows_, calls, operations = rows_ + found.rows, calls + found.calls, operations + found.operations
            naive, most = naive + found.naive, max(most, found.memory + int(lengths.sum()) * model.bytes_per_base)
            continue
        rows = planner.rows(pieces, sweeps, routes)
        rows_ += len(rows)
        if bench.path == "plain":
            calls += layers * len(np.unique(rows.length))
            operations += float(_span(model, np.zeros_like(rows.length), rows.length, layers).sum())
        else:
            first = int(rows.layer.min())
            calls += layers - first + bool(((rows.read > rows.prefix) & (rows.layer < layers)).any())
            below = np.maximum(layers - 1 - rows.layer, 0)
            last = (rows.layer < layers) * (
                _span(model, rows.read, rows.length, 1) + (rows.read - rows.prefix) * model.attention_flops
            )
            operations += float((_span(model, rows.prefix, rows.length, below) + last).sum())
        if unedited != held:  # those of the last pack are still there
            held = unedited
            operations += float(_span(model, np.zeros_like(lengths), lengths, layers).sum())
        most = max(
            most,
            int((rows.length - rows.prefix).sum()) * model.bytes_per_token + int(lengths.sum()) * model.bytes_per_base,
        )
        naive += float(_span(model, np.zeros_like(rows.length), rows.length, layers).sum())
        naive += float(rows.length.sum()) * _unembedding(bench)
    for sweep in sweeps:  # a logit difference of single tokens unembeds two of them; all else the vocabulary
        asked = variants(sweep.readout, sweep.run)
        if len(asked) > 1 or not isinstance(sweep.readout, LogitDifference):
            operations += len(sweep) * sum(len(v.reads) for v in asked) * _unembedding(bench)
    return Cost(
        sweeps=len(sweeps),
        trials=sum(map(len, sweeps)),
        rows=rows_,
        packs=len(packs),
        routes=dict(Counter(routes)),
        layer_calls=calls,
        operations=operations,
        naive=naive,
        memory=most,
        weights=sum(p.nbytes for p in model.module.parameters()),
        speed=_speed(bench, max((len(s.run) for s in sweeps), default=8)),
    )


class _Pack(NamedTuple):
    rows: int
    calls: int
    operations: float
    naive: float
    memory: int


def _edges(bench: Bench, pieces: Sequence[planner.Piece], sweeps: Sequence[Sweep]) -> _Pack:
    """A pack of edge sets: whole passes, what senders contribute, and the stream of every receiver."""
    model, layers = bench.model, bench.anatomy.layers
    lengths: list[int] = []
    operations, tokens = 0.0, 0.0
    for piece in pieces:
        sweep = sweeps[piece.sweep]
        assert sweep.edges
        here = [len(v.run) for v in variants(sweep.readout, sweep.run)] * (len(piece) + (piece.start == 0))
        lengths += here
        heads = 2.0 * layers * bench.anatomy.width * bench.anatomy.heads * bench.anatomy.head_width
        operations += sum(here) * (heads + 2.0 * len(sweep.edges.graph) * bench.anatomy.width)
        tokens += float(planner.trial_tokens(sweep)[piece.start : piece.stop].sum())
    long = np.array(lengths)
    passes = float(_span(model, np.zeros_like(long), long, layers).sum())
    naive = passes + float(long.sum()) * _unembedding(bench)
    return _Pack(len(long), layers * len(set(lengths)), operations + passes, naive, int(tokens * model.bytes_per_token))


def _span(model, start: np.ndarray, stop: np.ndarray, layers) -> np.ndarray:
    """Operations of positions `start .. stop` in so many layers, attention over all earlier positions included."""
    seen = (stop * (stop + 1) - start * (start + 1)) / 2
    return layers * ((stop - start) * model.layer_flops + seen * 4 * model.anatomy.heads * model.anatomy.head_width)


def _unembedding(bench: Bench) -> float:
    return 2.0 * bench.anatomy.vocabulary * bench.anatomy.width


@torch.no_grad()
def _speed(bench: Bench, length: int) -> float:
    """Operations a second of plain forward passes, the best of three."""
    model = bench.model
    each = float(_span(model, np.zeros(1), np.array([length]), bench.anatomy.layers).sum())
    batch = int(max(1, min(TRIED // each, model.tokens_per_pass // length)))
    ids = torch.ones(batch, length, dtype=torch.long, device=model.device)
    took = []
    for _ in range(3):
        start = time.perf_counter()
        model.forward(ids).sum().item()  # until it is there
        took.append(time.perf_counter() - start)
    return batch * each / min(took)
