"""The engine's three doors: `run` for interventions, `read` for activations, `grad` for gradients.

bench.run(sweeps)                  -> batches of answered trials
bench.read(runs, sites)            -> activations
bench.grad(runs, readout, sites)   -> gradients of the readout
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from lashley.core.readout import LogitDifference, LogProbability, Loss, Readout, name
from lashley.core.run import Run
from lashley.core.site import KINDS, Kind, Site
from lashley.core.trial import Chunk, Sweep
from lashley.engine import planner
from lashley.engine.capture import Captures, add_embedding_noise
from lashley.engine.hooks import OnSite, hooked
from lashley.engine.model import Model
from lashley.engine.ops import Ops
from lashley.engine.readouts import Variant, score, variants
from lashley.engine.replay import Replay

UNEDITED = 64  # unedited runs held at once when only their readouts are asked


class Bench:
    """A model on the bench. `path` is `packed`, or `plain` where packing failed its self-test."""

    def __init__(self, model: Model, path: str = "packed"):
        self.model = model
        self.anatomy = model.anatomy
        self.tokens = model.tokens
        self.path = path
        self.captures = Captures(model)
        self.checked = "not self-tested"

    # -- run --------------------------------------------------------------------------------------------------

    def run(
        self, sweeps: Sequence[Sweep], answered: Mapping[str, Sequence[tuple[int, int]]] | None = None
    ) -> Iterator[list[Chunk]]:
        """Answer every trial that is not yet `answered` (sweep key -> trial ranges), pack by pack.

        What is yielded together was computed together; commit it together. A pack's numbers depend on the
        sweeps and the memory budget only, not on what was answered before.
        Raises `BadSite` or `BadPrompt` where a sweep does not fit the model or its run.
        """
        for sweep in sweeps:
            planner.check(sweep, self.anatomy)
        keys = [sweep.key for sweep in sweeps]
        done = [answered.get(key, ()) for key in keys] if answered else ()
        for pieces in planner.packs(sweeps, self.model.tokens_per_pass, done, self._packed):
            yield self._pack(pieces, sweeps, keys)

    @property
    def _packed(self) -> bool:
        return self.path == "packed"

    def _pack(self, pieces: Sequence[planner.Piece], sweeps: Sequence[Sweep], keys: Sequence[str]) -> list[Chunk]:
        rows = planner.rows(pieces, sweeps, self._packed)
        chosen = [sweeps[p.sweep] for p in pieces]
        self.captures.hold(planner.unedited(chosen), {KINDS[k] for k in np.unique(rows.edits[2])})
        ops = Ops(self.captures, rows, chosen)
        replay = Replay(self.captures, rows, ops)
        hidden = replay.packed() if self._packed else replay.plain()
        first = replay.first_token(np.diff(replay.bounds))
        chunks = []
        for number, piece in enumerate(pieces):
            sweep = sweeps[piece.sweep]
            reads = []
            for v, variant in enumerate(variants(sweep.readout, sweep.run)):
                mine = np.flatnonzero((rows.piece == number) & (rows.variant == v))
                mine = mine[np.lexsort((rows.trial[mine], rows.identity[mine]))]
                at = (first[mine] - rows.prefix[mine])[:, None] + np.array(variant.reads)
                reads.append(hidden[torch.from_numpy(at).to(hidden.device)])  # [trials + identities, reads, width]
            values = score(self.model, sweep.readout, sweep.run, reads, self._final(sweep.run, sweep.readout)[0])
            values = values.cpu().numpy()
            n = piece.stop - piece.start
            clean = self.value(sweep.clean, sweep.readout)
            corrupt = None if sweep.corrupt is None else self.value(sweep.corrupt, sweep.readout)
            unedited = corrupt if sweep.run is sweep.corrupt and corrupt is not None else clean
            floor = float(np.abs(values[n:] - unedited).max())
            chunks.append(Chunk(keys[piece.sweep], piece.start, values[:n], clean, corrupt, floor, self.path))  # pyright: ignore[reportArgumentType]
        return chunks

    def values(self, asked: Sequence[tuple[Run, Readout]]) -> list[float]:
        """Readouts of unedited runs, a batch at a time."""
        found = []
        for i in range(0, len(asked), UNEDITED):
            batch = asked[i : i + UNEDITED]
            self.captures.hold(v.run for run, readout in batch for v in variants(readout, run))
            found += [self.value(run, readout) for run, readout in batch]
        return found

    def value(self, run: Run, readout: Readout) -> float:
        """The readout of an unedited run, from a plain forward pass."""
        hidden = self._final(run, readout)
        return float(score(self.model, readout, run, hidden, hidden[0])[0])

    def _final(self, run: Run, readout: Readout) -> list[Tensor]:
        """Hidden states of an unedited run at the read positions, before the final norm, one a variant."""
        asked = variants(readout, run)
        bases = self.captures.get([v.run for v in asked])
        return [b.acts["resid"][-1][None, list(v.reads)] for v, b in zip(asked, bases, strict=True)]

    # -- read -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def read(self, runs: Sequence[Run], sites: Sequence[Site]) -> dict[Site, np.ndarray]:
        """Activations at `sites`: per site float32 [positions, width], the positions of all runs end to end.

        A site at a role takes that role's positions in every run; one without a position takes all.
        """
        where = defaultdict(list)
        for site in map(self.anatomy.check, sites):
            where[site.layer, site.kind].append(site)
        out: dict[Site, list[np.ndarray | None]] = {s: [None] * len(runs) for s in sites}
        for batch in self._batches(runs):

            def keep(x: Tensor, wanted: list[Site], batch=batch) -> None:
                for site in wanted:
                    y = (
                        x
                        if site.unit is None
                        else x.unflatten(-1, (self.anatomy.units(site.kind), -1))[..., site.unit, :]
                    )
                    for b, i in enumerate(batch):
                        at = [s.position for s in runs[i].resolve(site)]
                        out[site][i] = (y[b] if at == [None] else y[b, at]).float().cpu().numpy()

            self._pass([runs[i] for i in batch], {k: partial(keep, wanted=v) for k, v in where.items()})
        return {s: np.concatenate([p for p in parts if p is not None]) for s, parts in out.items()}

    # -- grad -------------------------------------------------------------------------------------------------

    def grad(
        self, runs: Sequence[Run], readout: Readout | Sequence[Readout], kinds: Sequence[Kind]
    ) -> list[dict[Kind, Tensor]]:
        """Gradient of the readout (one for all runs, or one each) with respect to every activation of `kinds`.

        Per run and kind, [layers, tokens, width] (resid: entering each layer, and the final norm last).
        """
        readouts = list(readout) if isinstance(readout, Sequence) else [readout] * len(runs)
        result: list[dict[Kind, Tensor]] = [{} for _ in runs]
        for i, run in enumerate(runs):
            for variant, sign in zip(variants(readouts[i], run), (1.0, -1.0), strict=False):
                watched: set[Kind] = {"resid", *kinds}
                caught: dict[Kind, list[Tensor]] = {k: [] for k in watched}

                def watch(x: Tensor, kind: Kind, caught=caught) -> Tensor | None:
                    if x.requires_grad:
                        x.retain_grad()
                        caught[kind].append(x)
                        return None
                    x = x.detach().requires_grad_()
                    caught[kind].append(x)
                    return x

                on: dict[tuple[int, Kind], OnSite] = {
                    (la, k): partial(watch, kind=k)
                    for k in watched
                    for la in range(self.anatomy.layers + (k == "resid"))
                }
                with torch.enable_grad():
                    hidden = self._pass([variant.run], on)
                    self._scalar(hidden[0, list(variant.reads)], readouts[i], variant).backward()
                for kind in kinds:
                    grads = [torch.zeros_like(x) if x.grad is None else x.grad for x in caught[kind]]
                    g = torch.cat(grads)[:, : len(run)]
                    result[i][kind] = result[i].get(kind, 0.0) + sign * g
        return result

    def _scalar(self, hidden: Tensor, readout: Readout, variant: Variant) -> Tensor:
        """One variant's share of the readout, differentiable: hidden [reads, width] after the final norm."""
        logits = self.model.logits(hidden)
        match readout:
            case LogitDifference(target, foil) if not variant.scored:
                return logits[0, target[0]] - logits[0, foil[0]]
            case LogitDifference() | LogProbability() | Loss():
                tokens = torch.tensor(variant.scored, device=logits.device)
                total = logits.log_softmax(-1).gather(-1, tokens[:, None]).sum()
                return -total / len(tokens) if isinstance(readout, Loss) else total
        raise TypeError(f"{name(readout)} has no gradient here; use the logit difference, log-probability or loss")

    # -- passes -----------------------------------------------------------------------------------------------

    def hidden(self, runs: Sequence[Run]) -> Iterator[tuple[list[int], Tensor]]:
        """Batches of run numbers with their hidden states entering the final norm, [runs, tokens, width]."""
        last = self.anatomy.layers
        for batch in self._batches(runs):
            caught: list[Tensor] = []
            self._pass([runs[i] for i in batch], {(last, "resid"): caught.append})
            yield batch, caught[0]

    def _batches(self, runs: Sequence[Run]) -> Iterator[list[int]]:
        """Numbers of runs of equal length, as many as fit a pass."""
        by_length = defaultdict(list)
        for i, run in enumerate(runs):
            by_length[len(run)].append(i)
        for length, numbers in by_length.items():
            size = max(1, self.model.tokens_per_pass // length)
            yield from (numbers[i : i + size] for i in range(0, len(numbers), size))

    def _pass(self, runs: Sequence[Run], on: dict[tuple[int, Kind], OnSite]) -> Tensor:
        """One plain forward pass of runs of equal length, embedding noise included."""
        first = on.get((0, "resid"))

        def enter(x: Tensor) -> Tensor:
            x = add_embedding_noise(x, runs)
            new = first(x) if first else None
            return x if new is None else new

        with hooked(self.model.module, self.model.family, {**on, (0, "resid"): enter}):
            return self.model.forward(torch.tensor([r.tokens for r in runs], device=self.model.device))
