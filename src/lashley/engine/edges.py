"""Sweeps over edges: trials of any prompt with as many tokens share a pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from lashley.core.edit import Patch
from lashley.core.graph import Graph
from lashley.core.run import Run
from lashley.core.trial import Sweep
from lashley.engine.model import Model
from lashley.engine.planner import Piece
from lashley.engine.readouts import extend, variants
from lashley.engine.wiring import Wiring


@torch.no_grad()
def contributions(model: Model, graph: Graph, runs: Iterable[Run]) -> dict[Run, Tensor]:
    """What every sender contributes in unedited runs, [senders, tokens, width] a run."""
    found: dict[Run, Tensor] = {}
    by_length: dict[int, list[Run]] = defaultdict(list)
    for run in dict.fromkeys(runs):
        by_length[len(run)].append(run)
    for same in by_length.values():
        wiring = Wiring(model, graph)
        wiring.run(same)
        assert wiring.sent is not None
        found |= dict(zip(same, wiring.sent, strict=True))
    return found


class Circuits:
    """Edge sets, patched; what the senders contribute in the source runs of the last pack is kept."""

    def __init__(self, model: Model):
        self.model = model
        self._held: tuple[Graph, tuple[Run, ...]] | None = None
        self._sources: dict[Run, Tensor] = {}

    @torch.no_grad()
    def reads(self, pieces: Sequence[Piece], sweeps: Sequence[Sweep]) -> list[list[Tensor]]:
        """Of each piece (of the sweep beside it), one tensor a variant of its readout, entering the final norm,
        [trials, reads, width]; after the trials of a sweep's first piece one without any edge, its identity."""
        asked: dict[tuple[Graph, int], list[tuple[int, int]]] = defaultdict(list)
        for number, sweep in enumerate(sweeps):
            assert sweep.edges
            for v, variant in enumerate(variants(sweep.readout, sweep.run)):
                asked[sweep.edges.graph, len(variant.run)].append((number, v))
        out: list[dict[int, Tensor]] = [{} for _ in pieces]
        for (graph, _), same in asked.items():
            tables, runs, sources = [], [], []
            for number, v in same:
                table = _sets(pieces[number], sweeps[number])
                run, source = _pair(sweeps[number], v)
                tables.append(table)
                runs += [run] * len(table)
                sources += [source] * len(table)
            held = self._hold(graph, sources)
            order = {run: i for i, run in enumerate(held)}
            wiring = Wiring(
                self.model,
                graph,
                torch.from_numpy(graph.dense(np.concatenate(tables))).to(self.model.device),
                torch.stack(list(held.values())),
                torch.tensor([order[run] for run in sources], device=self.model.device),
            )
            wiring.run(runs)
            assert wiring.hidden is not None
            rows = wiring.hidden.split([len(table) for table in tables])
            for (number, v), hidden in zip(same, rows, strict=True):
                sweep = sweeps[number]
                out[number][v] = hidden[:, list(variants(sweep.readout, sweep.run)[v].reads)]
        return [[reads[v] for v in sorted(reads)] for reads in out]

    def _hold(self, graph: Graph, sources: Sequence[Run]) -> dict[Run, Tensor]:
        wanted = graph, tuple(dict.fromkeys(sources))
        if wanted != self._held:
            self._sources, self._held = {}, None
            self._sources, self._held = contributions(self.model, *wanted), wanted
        return self._sources


def _sets(piece: Piece, sweep: Sweep) -> np.ndarray:
    """The edge sets of a piece, bool [trials, edges], and the empty one where it begins its sweep."""
    assert sweep.edges
    table = sweep.edges.table[piece.start : piece.stop]
    return np.pad(table, ((0, int(piece.start == 0)), (0, 0)))


def _pair(sweep: Sweep, variant: int) -> tuple[Run, Run]:
    """The edited run and its source under one variant of the readout."""
    (edit,) = sweep.edits
    assert isinstance(edit, Patch)
    run = variants(sweep.readout, sweep.run)[variant].run
    return run, extend(edit.source, run.tokens[len(sweep.run) :])
