"""From sweeps to packs: which rows are computed together, from which layer and position on.

A row is one pass: a trial under one variant of its readout (an answer of several tokens needs the target's
and the foil's continuation). Rows of any length, from any prompt, share a pack.

A sweep goes one of three routes:
plain    full forward passes under hooks
whole    packed: from the first edited layer on, at every position
suffix   packed: from the first edited layer and position on, over the base run's keys and values
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import msgspec
import numpy as np
from msgspec import UNSET

from lashley.core.anatomy import Anatomy
from lashley.core.edit import Add, Block, Constant, Patch, ProjectOut, Resample
from lashley.core.errors import BadPrompt, BadSite
from lashley.core.graph import Edges, Graph
from lashley.core.run import Run
from lashley.core.site import KINDS, Site, Sites
from lashley.core.trial import Sweep
from lashley.engine.readouts import variants

Route = Literal["plain", "whole", "suffix"]

IDENTITIES = 3  # identity edits at the first, middle and last trial of a sweep's first piece
EVERY = 128  # one more at every so many trials
GROUP = 6e6  # floating-point operations that cost as much time as one more group of rows in one layer
AFTER_ATTENTION = tuple(KINDS.index(k) for k in ("mlp", "neuron"))


@dataclass(frozen=True)
class Piece:
    """Trials `start .. stop` of sweep number `sweep`."""

    sweep: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass
class Rows:
    """Columns over the rows of a pack, sorted by (length, prefix, read, layer); `runs` are the distinct base runs.

    layer: the first to be computed; one above the first edited layer where only its MLP is edited, for that needs
    no layer call. prefix: first computed position. read: first position whose output is read; in the last layer the
    others give keys and values only. piece, variant, trial: what is asked (trial counts from the piece's start).
    identity: write back what is there.
    Of every single edit: row, layer, kind, unit, position, edit, as int64 [6, edits] in `edits`.
    """

    runs: list[Run]
    base: np.ndarray
    length: np.ndarray
    prefix: np.ndarray
    read: np.ndarray
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
    for run in (sweep.clean, sweep.corrupt or sweep.clean):
        anatomy.check_tokens(run.tokens, run.text)
    for ids in msgspec.structs.astuple(sweep.readout):
        anatomy.check_tokens(ids, f"an answer to {sweep.run.text}")
    if sweep.edges is not UNSET:
        return _check_edges(sweep, sweep.edges, anatomy)
    layer, kind, unit, position, edit = sweep.sites.table
    for k in np.unique(kind):
        anatomy.check(Site(0, KINDS[k]))
    layers = np.array([anatomy.layers + (k == "resid") for k in KINDS])[kind]
    units = np.array([anatomy.units(k) if k in ("head", "neuron") else 0 for k in KINDS])[kind]
    inside = (position == Sites.ALL) | ((position >= 0) & (position < len(sweep.run)))
    known = (layer >= 0) & (layer < layers) & (unit >= -1) & (unit < units) & (edit >= 0) & (edit < len(sweep.edits))
    if bad := np.flatnonzero(~(inside & known)).tolist():
        la, k, u, at, _ = sweep.sites.table[:, bad[0]].tolist()
        site = Site(la, KINDS[k], None if u == -1 else u, None if at == Sites.ALL else at)
        raise BadSite(f"{site} lies outside the model or the {len(sweep.run)} tokens of {sweep.run.text!r}")
    _once(sweep)
    for number, what in enumerate(sweep.edits):
        if isinstance(what, Patch | Resample):
            _equal(sweep, what.source)
        if isinstance(what, Block):
            if bad := {KINDS[k] for k in np.unique(kind[edit == number])} - {"attn", "head"}:
                raise BadSite(f"attention is blocked at attn and head sites, not at {', '.join(sorted(bad))}")
            if not all(0 <= key < len(sweep.run) for key in what.keys):
                raise BadSite(f"blocked keys {what.keys} lie outside the {len(sweep.run)} tokens of {sweep.run.text!r}")
        if isinstance(what, Add | Constant | ProjectOut):
            widths = {anatomy.site_width(KINDS[k]) for k in np.unique(kind[edit == number])}
            if widths - {len(what.vector) // 4}:
                raise BadSite(f"a vector of {len(what.vector) // 4} numbers for sites {sorted(widths)} wide")


def _check_edges(sweep: Sweep, edges: Edges, anatomy: Anatomy) -> None:
    if edges.graph != Graph.of(anatomy, edges.graph.neurons):
        raise BadSite(f"the edges of {sweep.run.text!r} are another model's; make their graph by Graph.of(anatomy)")
    if len(edges.bits) % -(-len(edges.graph) // 8):
        raise BadSite(f"the edge sets of {sweep.run.text!r} are cut short; make them by Edges.of(graph, sets)")
    if len(sweep.sites) or sweep.effect != "damage" or len(sweep.edits) != 1 or not isinstance(sweep.edits[0], Patch):
        raise BadSite(
            f"a sweep over edges of {sweep.run.text!r} has no sites, one edit, a patch, and the effect damage; "
            "ask for other edits at sites"
        )
    _equal(sweep, sweep.edits[0].source)


def _equal(sweep: Sweep, source: Run) -> None:
    if len(source) != len(sweep.run):
        raise BadPrompt(
            f"{source.text!r} has {len(source)} tokens and {sweep.run.text!r} {len(sweep.run)}; "
            "a patch needs prompts of equal length"
        )


def _once(sweep: Sweep) -> None:
    """Raises `BadSite` where a trial edits one site twice: the answer would depend on the order."""
    trial = np.repeat(np.arange(len(sweep)), np.diff(sweep.sites.bounds))
    columns = np.stack([trial, *sweep.sites.table[:4]])
    columns = columns[:, np.lexsort(columns[::-1])]
    same = (columns[:4, 1:] == columns[:4, :-1]).all(0)
    clash = same & ((columns[4, 1:] == columns[4, :-1]) | (columns[4, :-1] == Sites.ALL))
    if len(twice := np.flatnonzero(clash)):
        _, layer, kind, unit, _ = columns[:, twice[0]].tolist()
        site = Site(layer, KINDS[kind], None if unit < 0 else unit)
        raise BadSite(f"one trial edits {site} twice at the same position; name each site once")


def packs(
    sweeps: Sequence[Sweep],
    tokens: int,
    answered: Sequence[Sequence[tuple[int, int]]] = (),
    routes: Sequence[Route] = (),
    base_tokens: int | None = None,
) -> Iterator[list[Piece]]:
    """Cut the sweeps, in order, into packs of about `tokens` tokens, leaving out the trials already answered
    (for each sweep, half-open ranges). The unedited runs that a pack starts from have `base_tokens` at most.

    The cuts do not depend on what is answered, so that a resumed study computes the same packs.
    """
    pack: list[Piece] = []
    room, space = tokens, base_tokens
    for number, sweep in enumerate(sweeps):
        cost = np.cumsum(trial_tokens(sweep, routes[number] if routes else "suffix"))
        bases = sum(len(run) for run in unedited([sweep]))
        start = 0
        while start < len(sweep):
            before = int(cost[start - 1]) if start else 0
            fits = int(np.searchsorted(cost, before + room, side="right")) - start
            if pack and bool(sweeps[pack[-1].sweep].edges) != bool(sweep.edges):
                fits = 0
            if pack and (fits <= 0 or (space is not None and pack[-1].sweep != number and space < bases)):
                yield from _subtract(pack, answered)
                pack, room, space = [], tokens, base_tokens
                continue
            stop = min(len(sweep), start + max(1, fits))
            pack.append(Piece(number, start, stop))
            room -= int(cost[stop - 1]) - before
            space = None if space is None else space - bases
            start = stop
    yield from _subtract(pack, answered)


def halves(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """The same trials in two packs of half the size; one pack where there is a single trial."""
    middle = (sum(map(len, pieces)) + 1) // 2
    parts: list[list[Piece]] = [[], []]
    at = 0
    for p in pieces:
        cut = p.start + min(max(middle - at, 0), len(p))
        parts[0] += [replace(p, stop=cut)] if cut > p.start else []
        parts[1] += [replace(p, start=cut)] if cut < p.stop else []
        at += len(p)
    return [part for part in parts if part]


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


def route(sweep: Sweep, layer_flops: float, tokens: int) -> Route:
    """The cheaper of the two packed routes. Leaving out the positions before the first edited one saves their share of
    every matrix product (`layer_flops` a token and layer), and splits attention into one group a prefix, in each
    pack of `tokens`."""
    if sweep.edges:
        return "plain"
    prefix = _first(sweep, "suffix", 0, len(sweep))[1].astype(np.int64)
    saved, packs_ = prefix.sum() * layer_flops, 1 + trial_tokens(sweep).sum() // tokens
    return "suffix" if saved > (len(np.unique(prefix)) - 1) * packs_ * GROUP else "whole"


def trial_tokens(sweep: Sweep, route: Route = "suffix") -> np.ndarray:
    """What each trial costs, in tokens, all variants together, int64 [trials]: those that it computes, and a
    quarter for each whose keys and values it borrows; over edges, as many times as receivers and senders take the
    room of what a plain pass holds of a token."""
    if sweep.edges is not UNSET:
        graph = sweep.edges.graph
        times = 1 + (len(graph.senders) + 9 * graph.heads) // 8
        return np.full(len(sweep), times * sum(len(v.run) for v in variants(sweep.readout, sweep.run)))
    first = _first(sweep, route, 0, len(sweep))[1].astype(np.int64)
    return np.sum([len(v.run) - first + first // 4 for v in variants(sweep.readout, sweep.run)], axis=0)


def _first(sweep: Sweep, route: Route, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """First layer and first position to compute, of trials `start .. stop`."""
    bounds = sweep.sites.bounds[start : stop + 1]
    layer, kind, _, position, _ = sweep.sites.table[:, bounds[0] : bounds[-1]]
    starts = bounds[:-1] - bounds[0]
    lowest = np.minimum.reduceat(layer, starts)
    if route == "plain":
        return lowest, np.zeros_like(lowest)
    above = (layer > np.repeat(lowest, np.diff(bounds))) | np.isin(kind, AFTER_ATTENTION)
    from_layer = lowest + np.logical_and.reduceat(above, starts)
    reads_all = variants(sweep.readout, sweep.run)[0].reads[0] == 0
    if route == "whole" or reads_all:
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


def rows(pieces: Sequence[Piece], sweeps: Sequence[Sweep], routes: Sequence[Route] = ()) -> Rows:
    """Lay out the rows of one pack; `routes[s]` is the way of sweep number s (default: suffix)."""
    runs: dict[Run, int] = {}
    columns: list[np.ndarray] = []
    edits: list[np.ndarray] = []
    count = 0
    for number, piece in enumerate(pieces):
        sweep = sweeps[piece.sweep]
        n = piece.stop - piece.start
        same = np.arange(n)[(piece.start + np.arange(n)) % EVERY == EVERY - 1]
        if piece.start == 0:
            same = np.unique(np.concatenate([same, np.linspace(0, n - 1, IDENTITIES).astype(int)]))
        way = routes[piece.sweep] if routes else "suffix"
        layer, prefix = _first(sweep, way, piece.start, piece.stop)
        trial = np.concatenate([np.arange(n), same])
        identity = np.arange(len(trial)) >= n
        for v, variant in enumerate(variants(sweep.readout, sweep.run)):
            base = runs.setdefault(variant.run, len(runs))
            shape = len(variant.run), prefix[trial], variant.reads[0], layer[trial]
            columns.append(np.stack(np.broadcast_arrays(base, *shape, number, v, trial, identity)))
            edits.append(_edits(sweep, piece.start + trial, identity, len(variant.run), count))
            count += len(trial)
    base, length, prefix, read, layer, piece_, variant_, trial, identity = np.concatenate(columns, 1)
    order = np.lexsort((layer, read, prefix, length))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    flat = np.concatenate(edits, 1)
    flat[0] = place[flat[0]]
    return Rows(
        list(runs),
        base=base[order],
        length=length[order],
        prefix=prefix[order],
        read=read[order],
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
