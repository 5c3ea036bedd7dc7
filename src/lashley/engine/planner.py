"""From sweeps to packs: which rows are computed together, from which layer and position on.

A row is one pass: a trial under one variant of its readout (an answer of several tokens needs the target's
and the foil's continuation). Rows of any length, from any prompt, share a pack.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lashley.core.anatomy import Anatomy
from lashley.core.edit import Add, Patch, ProjectOut, Resample
from lashley.core.errors import BadPrompt, BadSite
from lashley.core.run import Run
from lashley.core.site import KINDS, Site, Sites
from lashley.core.trial import Sweep
from lashley.engine.readouts import variants

IDENTITIES = 3  # identity edits a piece, at its first, middle and last trial's sites


@dataclass(frozen=True)
class Piece:
    """Trials `start .. stop` of sweep number `sweep`."""

    sweep: int
    start: int
    stop: int


@dataclass
class Rows:
    """Columns over the rows of a pack, sorted by (length, prefix, layer); `runs` are the distinct base runs.

    layer: first edited layer. prefix: first computed position. piece, variant, trial: what is asked
    (trial counts from the piece's start). identity: write back what is there.
    Of every single edit: row, layer, kind, unit, position, edit, as int64 [6, edits] in `edits`.
    """

    runs: list[Run]
    base: np.ndarray
    length: np.ndarray
    prefix: np.ndarray
    layer: np.ndarray
    piece: np.ndarray
    variant: np.ndarray
    trial: np.ndarray
    identity: np.ndarray
    edits: np.ndarray

    def __len__(self) -> int:
        return len(self.base)


def check(sweep: Sweep, anatomy: Anatomy) -> None:
    """Raises `BadSite` or `BadPrompt` where a sweep asks for what its model or its run does not have."""
    layer, kind, unit, position, edit = sweep.sites.table
    layers = np.array([anatomy.layers + (k == "resid") for k in KINDS])[kind]
    units = np.array([anatomy.units(k) if k in ("head", "neuron") else 0 for k in KINDS])[kind]
    inside = (position == Sites.ALL) | ((position >= 0) & (position < len(sweep.run)))
    known = (layer >= 0) & (layer < layers) & (unit >= -1) & (unit < units) & (edit >= 0) & (edit < len(sweep.edits))
    if bad := np.flatnonzero(~(inside & known)).tolist():
        site = Site(int(layer[bad[0]]), KINDS[kind[bad[0]]], int(unit[bad[0]]), int(position[bad[0]]))
        raise BadSite(f"{site} lies outside the model or the {len(sweep.run)} tokens of {sweep.run.text!r}")
    for number, what in enumerate(sweep.edits):
        if isinstance(what, Patch | Resample) and len(what.source) != len(sweep.run):
            raise BadPrompt(
                f"{what.source.text!r} has {len(what.source)} tokens and {sweep.run.text!r} {len(sweep.run)}; "
                "a patch needs prompts of equal length"
            )
        if isinstance(what, Add | ProjectOut):
            widths = {anatomy.site_width(KINDS[k]) for k in np.unique(kind[edit == number])}
            if widths - {len(what.vector) // 4}:
                raise BadSite(f"a vector of {len(what.vector) // 4} numbers for sites {sorted(widths)} wide")


def packs(
    sweeps: Sequence[Sweep],
    tokens: int,
    answered: Sequence[Sequence[tuple[int, int]]] = (),
    prefixes: bool = True,
) -> Iterator[list[Piece]]:
    """Cut the sweeps, in order, into packs of about `tokens` tokens, leaving out the trials already answered
    (for each sweep, half-open ranges).

    The cuts do not depend on what is answered, so that a resumed study computes the same packs.
    """
    pack: list[Piece] = []
    room = tokens
    for number, sweep in enumerate(sweeps):
        cost = trial_tokens(sweep, prefixes)
        start = 0
        while start < len(sweep):
            fits = int(np.searchsorted(np.cumsum(cost[start:]), room, side="right"))
            if fits == 0 and pack:
                yield from _subtract(pack, answered)
                pack, room = [], tokens
                continue
            stop = min(len(sweep), start + max(1, fits))
            pack.append(Piece(number, start, stop))
            room -= int(cost[start:stop].sum())
            start = stop
    yield from _subtract(pack, answered)


def _subtract(pack: list[Piece], answered: Sequence[Sequence[tuple[int, int]]]) -> Iterator[list[Piece]]:
    left: list[Piece] = []
    for piece in pack:
        todo = [piece]
        for a, b in answered[piece.sweep] if answered else ():
            todo = [
                replace(p, start=lo, stop=hi)
                for p in todo
                for lo, hi in ((p.start, min(p.stop, a)), (max(p.start, b), p.stop))
                if lo < hi
            ]
        left += todo
    if left:
        yield left


def trial_tokens(sweep: Sweep, prefixes: bool = True) -> np.ndarray:
    """What each trial costs, in tokens, all variants together, int64 [trials]: those that it computes, and a
    quarter for each whose keys and values it borrows."""
    first = _first(sweep, prefixes, 0, len(sweep))[1].astype(np.int64)
    return np.sum([len(v.run) - first + first // 4 for v in variants(sweep.readout, sweep.run)], axis=0)


def _first(sweep: Sweep, prefixes: bool, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """First edited layer and first position to compute, of trials `start .. stop`."""
    bounds = sweep.sites.bounds[start : stop + 1]
    layer, _, _, position, _ = sweep.sites.table[:, bounds[0] : bounds[-1]]
    starts = bounds[:-1] - bounds[0]
    from_layer = np.minimum.reduceat(layer, starts)
    reads_all = variants(sweep.readout, sweep.run)[0].reads[0] == 0
    if not prefixes or reads_all:
        return from_layer, np.zeros_like(from_layer)
    return from_layer, np.maximum(np.minimum.reduceat(position, starts), 0)


def unedited(sweeps: Sequence[Sweep]) -> list[Run]:
    """Every unedited run that these sweeps start from, compare with, or take values from."""
    runs: dict[Run, None] = {}
    for sweep in sweeps:
        sources = [e.source for e in sweep.edits if isinstance(e, Patch | Resample)]
        for run in (sweep.clean, sweep.corrupt, *sources):
            if run is not None:
                runs |= dict.fromkeys(v.run for v in variants(sweep.readout, run))
    return list(runs)


def rows(pieces: Sequence[Piece], sweeps: Sequence[Sweep], prefixes: bool = True) -> Rows:
    """Lay out the rows of one pack."""
    runs: dict[Run, int] = {}
    columns: list[np.ndarray] = []
    edits: list[np.ndarray] = []
    count = 0
    for number, piece in enumerate(pieces):
        sweep = sweeps[piece.sweep]
        n = piece.stop - piece.start
        same = np.unique(np.linspace(0, n - 1, IDENTITIES).astype(int))
        layer, prefix = _first(sweep, prefixes, piece.start, piece.stop)
        trial = np.concatenate([np.arange(n), same])
        identity = np.arange(len(trial)) >= n
        for v, variant in enumerate(variants(sweep.readout, sweep.run)):
            base = runs.setdefault(variant.run, len(runs))
            columns.append(
                np.stack(
                    np.broadcast_arrays(base, len(variant.run), prefix[trial], layer[trial], number, v, trial, identity)
                )
            )
            edits.append(_edits(sweep, piece.start + trial, identity, len(variant.run), count))
            count += len(trial)
    base, length, prefix, layer, piece_, variant_, trial, identity = np.concatenate(columns, 1)
    order = np.lexsort((layer, prefix, length))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    flat = np.concatenate(edits, 1)
    flat[0] = place[flat[0]]
    return Rows(
        list(runs),
        base=base[order],
        length=length[order],
        prefix=prefix[order],
        layer=layer[order],
        piece=piece_[order],
        variant=variant_[order],
        trial=trial[order],
        identity=identity[order].astype(bool),
        edits=flat,
    )


def _edits(sweep: Sweep, trial: np.ndarray, identity: np.ndarray, length: int, first_row: int) -> np.ndarray:
    """Single edits of these trials as [6, edits]; sites at all positions become one edit a position."""
    bounds, table = sweep.sites.bounds, sweep.sites.table.astype(np.int64)
    sizes = bounds[trial + 1] - bounds[trial]
    row = np.repeat(np.arange(len(trial)), sizes)
    within = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    layer, kind, unit, position, edit = table[:, bounds[trial][row] + within]
    edit = np.where(identity[row], -1, edit)
    every = position == Sites.ALL
    times = np.where(every, length, 1)
    out = np.repeat(np.stack([row + first_row, layer, kind, unit, position, edit]), times, axis=1)
    step = np.arange(out.shape[1]) - np.repeat(np.cumsum(times) - times, times)
    out[4] = np.where(out[4] == Sites.ALL, step, out[4])
    return out
