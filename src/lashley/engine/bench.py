"""The engine's doors: `run` for interventions, `read` and `attend` for what is inside, `grad` for gradients.

bench.run(sweeps)                  -> batches of answered trials
bench.effects(prompt, answer, foil, sites) -> what one edit does at each of some sites, an array
bench.read(runs, sites)            -> activations
bench.stream(runs, sites, folder)  -> activations of any number of runs, on the disk
bench.attend(runs)                 -> attention patterns
bench.grad(runs, readout, sites)   -> gradients of the readout
"""

from __future__ import annotations

import copy
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from msgspec import UnsetType
from torch import Tensor

from lashley.core.edit import Block
from lashley.core.errors import BadPrompt, BadSite
from lashley.core.fact import BLANK
from lashley.core.progress import Count, silent
from lashley.core.readout import Readout
from lashley.core.run import Run
from lashley.core.site import Kind, Site
from lashley.core.trial import Chunk, Pruned, Sweep
from lashley.engine import planner
from lashley.engine.allocator import keep_freed
from lashley.engine.asking import Change, SiteSet, asked
from lashley.engine.capture import Captures
from lashley.engine.edges import Circuits
from lashley.engine.gradients import gradients
from lashley.engine.keeping import Kept, chunks, keep, put_chunks, together
from lashley.engine.model import Model
from lashley.engine.ops import Ops, kinds_of
from lashley.engine.passes import Place, batches, part, watch
from lashley.engine.patterns import patterns
from lashley.engine.pruning import prune
from lashley.engine.readouts import score, unedited, variants
from lashley.engine.replay import Replay
from lashley.engine.stream import Store, stream
from lashley.engine.wiring import refuse

LEAST_GAP = 1.0  # logits between clean and corrupt run, of which effects are shares
UNEDITED = 64  # unedited runs held at once when only their readouts are asked


class Bench:
    """A model on the bench. `path` is `packed`, or `plain` where that is not possible or failed its self-test."""

    def __init__(self, model: Model, path: str = "packed"):
        self.model = model
        self.anatomy = model.anatomy
        self.tokens = model.tokens
        self.path = path if model.family.packed else "plain"
        self.captures = Captures(model)
        self.circuits = Circuits(model)
        self.checked = "not self-tested"
        self.kept: Kept | None = None  # where answers are kept while a study is planned
        if model.device.type == "cpu":
            keep_freed(model.memory)

    def __repr__(self) -> str:
        a, where = self.anatomy, ", ".join(dict.fromkeys(map(str, self.model.devices)))
        kind = str(self.model.dtype).removeprefix("torch.")
        return f"<Bench: {self.model.name}, {a.family}, {a.layers} layers, {kind} on {where}, {self.path} path>"

    def changed(self) -> None:
        """Forget what was computed with the weights as they were before an edit in place."""
        self.model.changed()
        self.captures = Captures(self.model)
        self.circuits = Circuits(self.model)

    def untrained(self, seed: int = 0) -> Bench:
        """A copy with the weights that its configuration begins with, drawn from `seed`: what no training explains."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = type(self.model.module)(copy.deepcopy(self.model.module.config))
        module.to(self.model.device, self.model.dtype)
        model = Model(module, self.tokens.tokenizer, f"untrained {self.model.name}", self.model.memory)
        other = Bench(model, self.path)
        other.kept = self.kept and self.kept.within(f"untrained {seed}")
        return other

    def pruned(self, what: Pruned) -> Bench:
        """A copy without some weights."""
        module = copy.deepcopy(self.model.module)
        prune(self.model, module, what)
        return Bench(Model(module, self.tokens.tokenizer, f"{what} {self.model.name}", self.model.memory), self.path)

    def copy(self, what: Literal["untrained"] | Pruned | UnsetType) -> Bench:
        """The copy that a sweep asks; this bench itself where it asks none."""
        if isinstance(what, Pruned):
            return self.pruned(what)
        return self.untrained() if what else self

    # -- run --------------------------------------------------------------------------------------------------

    def run(
        self, sweeps: Sequence[Sweep], answered: Mapping[str, Sequence[tuple[int, int]]] | None = None
    ) -> Iterator[list[Chunk]]:
        """Answer every trial that is not yet `answered` (sweep key -> trial ranges), pack by pack.

        What is yielded together was computed together; commit it together. A pack's numbers depend on the
        sweeps and the memory budget only, not on what was answered before.
        Raises `BadSite` or `BadPrompt` where a sweep does not fit the model or its run.
        """
        model, routes = self.model, self.routes(sweeps)
        keys = [sweep.key for sweep in sweeps]
        if self.kept and (known := chunks(self.kept, keys)):
            yield known
            answered = together(answered or {}, known)
        done = [answered.get(key, ()) for key in keys] if answered else ()
        for pieces in planner.packs(sweeps, model.tokens_per_pass, done, routes, model.base_tokens):
            found = self._pack(pieces, sweeps, keys, routes)
            if self.kept:
                put_chunks(self.kept, found)
            yield found

    def routes(self, sweeps: Sequence[Sweep]) -> list[planner.Route]:
        """The way that `run` goes with each sweep. Raises `BadSite` or `BadPrompt`."""
        for sweep in sweeps:
            planner.check(sweep, self.anatomy)
            if sweep.edges:
                refuse(self.model)
            if not self.model.family.packed and any(isinstance(edit, Block) for edit in sweep.edits):
                raise BadSite(f"{self.anatomy.family}'s attention cannot be reached, so none of it can be blocked")
        return [self.route(sweep) for sweep in sweeps]

    def route(self, sweep: Sweep) -> planner.Route:
        """The cheapest exact way for one sweep."""
        if self.path == "plain":
            return "plain"
        return planner.route(sweep, self.model.layer_flops, self.model.tokens_per_pass)

    def _pack(
        self,
        pieces: Sequence[planner.Piece],
        sweeps: Sequence[Sweep],
        keys: Sequence[str],
        routes: Sequence[planner.Route],
    ) -> list[Chunk]:
        try:
            return self._answer(pieces, sweeps, keys, routes)
        except (RuntimeError, MemoryError) as e:
            halves = planner.halves(pieces)
            if len(halves) < 2 or not _out_of_memory(e):
                raise
        warnings.warn(f"out of memory at {sum(map(len, pieces)):,} trials at once: halving them", stacklevel=2)
        return [chunk for half in halves for chunk in self._pack(half, sweeps, keys, routes)]

    @torch.no_grad()
    def _answer(
        self,
        pieces: Sequence[planner.Piece],
        sweeps: Sequence[Sweep],
        keys: Sequence[str],
        routes: Sequence[planner.Route],
    ) -> list[Chunk]:
        chosen = [sweeps[p.sweep] for p in pieces]
        if chosen[0].edges:
            return self._patched(pieces, chosen, keys)
        rows = planner.rows(pieces, sweeps, routes)
        self.captures.hold(planner.unedited(chosen), kinds_of(chosen))
        replay = Replay(self.captures, rows, Ops(self.captures, rows, chosen))
        hidden = replay.plain() if self.path == "plain" else replay.packed()
        plain = self._plain(chosen)
        chunks = []
        for number, piece in enumerate(pieces):
            sweep = sweeps[piece.sweep]
            reads = []
            for v, variant in enumerate(variants(sweep.readout, sweep.run)):
                mine = np.flatnonzero((rows.piece == number) & (rows.variant == v))
                mine = mine[np.lexsort((rows.trial[mine], rows.identity[mine]))]
                at = torch.from_numpy(replay.outputs(mine, len(variant.reads))).to(hidden.device)
                reads.append(hidden[at])  # [trials + identities, reads, width]
            chunks.append(self._chunk(piece, sweep, keys[piece.sweep], reads, plain, self.path))
        return chunks

    def _patched(self, pieces: Sequence[planner.Piece], sweeps: Sequence[Sweep], keys: Sequence[str]) -> list[Chunk]:
        """The same over edges; `sweeps` are those of the pieces."""
        self.captures.hold(planner.unedited(sweeps))
        answered, plain = self.circuits.reads(pieces, sweeps), self._plain(sweeps)
        return [
            self._chunk(piece, sweep, keys[piece.sweep], reads, plain, "plain")
            for piece, sweep, reads in zip(pieces, sweeps, answered, strict=True)
        ]

    def _plain(self, sweeps: Sequence[Sweep]) -> dict[tuple[Run, Readout], float]:
        """The readouts of the sweeps' unedited runs."""
        runs = ((run, s.readout) for s in sweeps for run in (s.clean, s.corrupt) if run is not None)
        asked = list(dict.fromkeys(runs))
        return dict(zip(asked, self._values(asked), strict=True))

    def _chunk(
        self,
        piece: planner.Piece,
        sweep: Sweep,
        key: str,
        reads: list[Tensor],
        plain: Mapping[tuple[Run, Readout], float],
        path: str,
    ) -> Chunk:
        """Score what was read, one tensor [trials and then identities, reads, width] a variant."""
        values = score(self.model, sweep.readout, sweep.run, reads, self._final(sweep.run, sweep.readout)[0])
        values = values.cpu().numpy()
        n = piece.stop - piece.start
        clean = plain[sweep.clean, sweep.readout]
        corrupt = None if sweep.corrupt is None else plain[sweep.corrupt, sweep.readout]
        base = corrupt if sweep.run is sweep.corrupt and corrupt is not None else clean
        floor = float(np.abs(values[n:] - base).max(initial=0.0))
        return Chunk(key, piece.start, values[:n], clean, corrupt, floor, path)  # pyright: ignore[reportArgumentType]

    def effects(
        self,
        prompt: str,
        answer: str,
        foil: str,
        sites: Sequence[SiteSet],
        *,
        subject: str | None = None,
        corrupt: str | None = None,
        edit: Change = "zero",
        reference: Sequence[str] = (),
        join: str = BLANK,
    ) -> np.ndarray:
        """What an edit at each of some site sets does to the logit difference of two answers: float64 [sets]. Nothing
        is kept, and no interval is made: for whoever loops over prompts.

        LD = logit(answer) - logit(foil) after the prompt (of answers of several tokens, `LogitDifference`).
        Without `corrupt`, the damage LD_clean - LD_edited, in logits. With it, a share of the gap between the runs:
        D = (LD_clean - LD_edited) / (LD_clean - LD_corrupt), or, of a "patch", the restoration
        R = (LD_edited - LD_corrupt) / (LD_clean - LD_corrupt) (Meng et al. 2022; Zhang & Nanda 2309.16042).

            bench.effects("The capital of {} is", "Paris", "Tokyo", ["L3.mlp", "L1.mlp.n3+L2.attn.h0@final"],
                          subject="France", corrupt="Japan", edit="resample")

        Parameters
        ----------
        prompt
            Text that the answers continue; with a `{}` where the subject goes, or with the subject in its place.
        answer, foil
            The two answers, without what joins them to the prompt. Neither may begin with all tokens of the other.
        sites
            One set a trial, edited together: an address ("L4.mlp.n173@final+L5.attn"), a `Site`, or several in a tuple.
            Roles such as @subject_last need a subject; without @, all positions.
        subject
            What the prompt is about.
        corrupt
            Another subject of as many tokens; without `subject`, another whole prompt.
        edit
            "zero" (alone it takes the model off its data), the "mean" of the same role over `reference`, "resample":
            as in the corrupt run; or "patch": the corrupt run is edited, with what the prompt has there.
        reference
            Of the mean: other subjects; without `subject`, other whole prompts.
        join
            What stands between prompt and answers: a blank, or "" where there is none.

        Raises `BadPrompt` where prompts and answers cannot be asked, or the two runs lie no more than a logit apart
        (shares of so little say nothing, and no study takes them); `BadSite` for what the model does not have;
        `LashleyError` where the edit lacks what it needs.
        """
        if not len(sites):
            return np.empty(0)
        words: dict[str, Any] = {"subject": subject, "corrupt": corrupt, "edit": edit}
        sweep = asked(self.tokens, self.anatomy, prompt, answer, foil, sites, **words, reference=reference, join=join)
        self.routes([sweep])
        if sweep.corrupt is not None:
            gap = self.value(sweep.clean, sweep.readout) - self.value(sweep.corrupt, sweep.readout)
            if gap <= LEAST_GAP:
                raise BadPrompt(
                    f"{sweep.clean.text!r} and {sweep.corrupt.text!r} lie {gap:.2f} logits apart, which leaves nothing "
                    "to take shares of; choose another corrupt, or leave it out"
                )
        return self.measure([sweep])[0]

    def measure(self, sweeps: Sequence[Sweep], progress: Count = silent) -> list[np.ndarray]:
        """The effects of sweeps, float64 [trials] each, as `Sweep.normalise` has them."""
        values = {s.key: np.empty(len(s)) for s in sweeps}
        known, done = {}, 0
        for some in self.run(sweeps):
            for c in some:
                values[c.sweep][c.start : c.start + len(c.values)] = c.values
                known[c.sweep] = (c.clean, c.corrupt)
                done += len(c.values)
            progress(done, sum(map(len, sweeps)))
        return [s.normalise(values[s.key], *known[s.key]) for s in sweeps]

    def values(self, asked: Sequence[tuple[Run, Readout]]) -> list[float]:
        """Readouts of unedited runs, from plain forward passes, a batch at a time, those of like length together."""
        found = [0.0] * len(asked)
        order = sorted(range(len(asked)), key=lambda i: len(asked[i][0]))
        for i in range(0, len(asked), UNEDITED):
            batch = order[i : i + UNEDITED]
            some = [asked[j] for j in batch]
            (values,) = keep(self, ("values", some), lambda some=some: [np.array(self._unedited(some))])
            for j, value in zip(batch, values.tolist(), strict=True):
                found[j] = value
        return found

    def _unedited(self, asked: Sequence[tuple[Run, Readout]]) -> list[float]:
        self.captures.hold(v.run for run, readout in asked for v in variants(readout, run))
        return self._values(asked)

    def value(self, run: Run, readout: Readout) -> float:
        """The readout of an unedited run, from a plain forward pass."""
        return self._values([(run, readout)])[0]

    def _values(self, asked: Sequence[tuple[Run, Readout]]) -> list[float]:
        return unedited(self.model, [(readout, run, self._final(run, readout)) for run, readout in asked])

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
        out: dict[Site, list[np.ndarray]] = {s: [np.empty(0)] * len(runs) for s in map(self.anatomy.check, sites)}
        for batch in batches([len(r) for r in runs], self.model.tokens_per_pass):
            some = [runs[i] for i in batch]
            each = iter(keep(self, ("read", some, list(out)), lambda some=some: self._read(some, list(out))))
            for site in out:
                for i in batch:
                    out[site][i] = next(each)
        return {s: np.concatenate(parts) for s, parts in out.items()}

    def _read(self, runs: Sequence[Run], sites: Sequence[Site]) -> list[np.ndarray]:
        """The same of one batch, site by site, and of each run by run."""
        where = defaultdict(list)
        for site in sites:
            where[site.layer, site.kind].append(site)
        out: dict[Site, list[np.ndarray]] = {}

        def watched(place: Place, x: Tensor) -> None:
            for site in where[place]:
                y = part(self.model, x, site).float().cpu().numpy()
                at: list[Any] = [[s.position for s in run.resolve(site)] for run in runs]
                out[site] = [y[b] if own == [None] else y[b, own] for b, own in enumerate(at)]

        watch(self.model, runs, list(where), watched)
        return [x for site in sites for x in out[site]]

    def stream(
        self,
        runs: Iterable[Run],
        sites: Sequence[Site],
        folder: str | Path,
        store: Store = "float32",
        progress: Callable[[int], None] = silent,
    ) -> dict[Site, np.ndarray]:
        """`read` for any number of runs, into .npy files in a new folder, returned as memory maps; see `stream`."""
        return stream(self.model, runs, sites, Path(folder), store, progress)

    def attend(self, runs: Sequence[Run]) -> list[np.ndarray]:
        """Attention probabilities of each run, float32 [layers, heads, query, key]. Raises `BadModel` for families
        whose attention cannot be reached."""
        return list(keep(self, ("attend", list(runs)), lambda: patterns(self.model, runs)))

    # -- grad -------------------------------------------------------------------------------------------------

    def grad(
        self, runs: Sequence[Run], readout: Readout | Sequence[Readout], kinds: Sequence[Kind]
    ) -> list[dict[Kind, Tensor]]:
        """Gradient of the readout (one for all runs, or one each) with respect to every activation of `kinds`.

        Per run and kind, [layers, tokens, width] (resid: entering each layer, and the final norm last).
        """
        readouts = list(readout) if isinstance(readout, Sequence) else [readout] * len(runs)
        return gradients(self.model, list(zip(runs, readouts, strict=True)), kinds)

    # -- passes -----------------------------------------------------------------------------------------------

    def hidden(self, runs: Sequence[Run]) -> Iterator[tuple[list[int], Tensor]]:
        """Batches of run numbers with their hidden states entering the final norm, [runs, tokens, width]."""
        last = self.anatomy.layers
        for batch in batches([len(r) for r in runs], self.model.tokens_per_pass):
            caught: list[Tensor] = []
            watch(self.model, [runs[i] for i in batch], [(last, "resid")], lambda _, x, to=caught: to.append(x))
            yield batch, caught[0]


def _out_of_memory(e: BaseException) -> bool:
    """A card's allocator has a type of its own for it; the processor's says so in words."""
    return isinstance(e, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(e)
