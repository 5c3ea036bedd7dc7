"""Edge attribution patching: what patching an edge would do, to first order, for every edge at once.

The estimate of an edge u -> v is (u in the source run - u in the clean run) . d readout / d (what v reads). EAP takes
the gradient at the clean run (Syed et al. 2310.10348); EAP-IG, "inputs", averages it over runs whose embeddings lie
on the way from the source to the clean run, at k / steps of it for k = 0 .. steps - 1 (Hanna et al. 2403.17806, and
github.com/hannamw/EAP-IG, `get_scores_eap_ig`). All edges together are one matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lashley.core.edit import Patch
from lashley.core.errors import LashleyError
from lashley.core.graph import Graph
from lashley.core.run import Run
from lashley.core.trial import Sweep
from lashley.engine.edges import contributions
from lashley.engine.gradients import Pass, by_length, summed
from lashley.engine.model import Model
from lashley.engine.readouts import extend
from lashley.engine.wiring import Wiring, refuse

STEPS = "5"


def edge_estimates(model: Model, sweeps: Sequence[Sweep]) -> list[np.ndarray]:
    """For each sweep over edges the estimated change of the readout by every trial, float64 [trials].

    The label `attribution` says how: "eap" (without it, too) or "eap-ig", in so many `steps`. Raises `LashleyError`
    for other words, and `TypeError` for a readout without a gradient.
    """
    refuse(model)
    scores = [np.zeros(0)] * len(sweeps)
    for asked in _alike(sweeps):
        graph, steps = _how(sweeps[asked[0]])
        chosen = [sweeps[i] for i in asked]
        for i, found in zip(asked, _scores(model, graph, chosen, steps), strict=True):
            scores[i] = found
    return [_sums(sweep, found) for sweep, found in zip(sweeps, scores, strict=True)]


def _alike(sweeps: Sequence[Sweep]) -> list[list[int]]:
    """Numbers of the sweeps that are estimated in the same way."""
    found: dict[tuple[Graph, int], list[int]] = {}
    for i, sweep in enumerate(sweeps):
        found.setdefault(_how(sweep), []).append(i)
    return list(found.values())


def _how(sweep: Sweep) -> tuple[Graph, int]:
    """The graph and the steps of integrated gradients; 0 for the gradient at the clean run."""
    assert sweep.edges
    method, steps = sweep.labels.get("attribution", "eap"), sweep.labels.get("steps", STEPS)
    if method not in ("eap", "eap-ig") or not steps.isdecimal() or int(steps) < 1:
        raise LashleyError(f"attribution {method!r} in {steps!r} steps is unknown; ask for eap, or eap-ig in 1 or more")
    return sweep.edges.graph, int(steps) if method == "eap-ig" else 0


def _sums(sweep: Sweep, scores: np.ndarray) -> np.ndarray:
    """The sum over the edges of each trial."""
    assert sweep.edges
    trial, edge = sweep.edges.members
    return np.bincount(trial, scores[edge], len(sweep))


def _scores(model: Model, graph: Graph, sweeps: Sequence[Sweep], steps: int) -> list[np.ndarray]:
    """The estimate of every edge of each sweep, float64 [edges]."""
    found = [np.zeros(len(graph)) for _ in sweeps]
    for same in by_length([(s.run, s.readout) for s in sweeps]):
        size = max(1, model.memory // _bytes(model, graph, same[0]))
        for i in range(0, len(same), size):
            passes = same[i : i + size]
            sources = [_source(sweeps[one.asked], one) for one in passes]
            sent = contributions(model, graph, [*(one.variant.run for one in passes), *sources])
            clean = torch.stack([sent[one.variant.run] for one in passes])
            change = torch.stack([sent[source] for source in sources]) - clean
            slopes = _slopes(model, graph, passes, clean[:, 0], change[:, 0], steps)
            dense = (slopes.flatten(2) @ change.flatten(2).transpose(1, 2)).double().cpu().numpy()
            sender, receiver = graph.edges.T
            for one, each in zip(passes, dense, strict=True):
                found[one.asked] += each[receiver, sender]
    return found


def _slopes(model: Model, graph: Graph, passes: Sequence[Pass], embed: Tensor, change: Tensor, steps: int) -> Tensor:
    """Gradients of the readout with respect to what every receiver reads, [passes, receivers, tokens, width]; the mean
    over the way from the source, whose embeddings [passes, tokens, width] are `embed` and the `change`."""
    total: Tensor | None = None
    for k in range(max(steps, 1)):
        start = embed + (1 - k / steps) * change if steps else embed
        wiring = Wiring(model, graph, slopes=True, embed=start)
        with torch.enable_grad():
            hidden = wiring.run([one.variant.run for one in passes])
            summed(model, list(passes), hidden).backward()
        grads = [torch.zeros_like(x) if x.grad is None else x.grad for x in wiring.leaves]
        slopes = torch.cat([g.to(model.device) for g in grads], 1)
        total = slopes if total is None else total + slopes
    assert total is not None
    return total / max(steps, 1)


def _source(sweep: Sweep, one: Pass) -> Run:
    (edit,) = sweep.edits
    assert isinstance(edit, Patch)
    return extend(edit.source, one.variant.run.tokens[len(sweep.run) :])


def _bytes(model: Model, graph: Graph, one: Pass) -> int:
    """What one pass keeps: of every receiver the stream as it is read, normed, and its gradient, of every sender what
    it contributes in two runs, every layer's activations, and logits where all are needed."""
    streams = 6 * len(graph.receivers) + 4 * len(graph.senders)
    token = model.dtype.itemsize * model.anatomy.width * streams + 2 * model.bytes_per_token * model.anatomy.layers
    return len(one.variant.run) * token + 12 * model.anatomy.vocabulary * len(one.variant.scored)
