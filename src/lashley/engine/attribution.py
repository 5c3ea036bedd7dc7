"""What an edit would do, to first order: (what it writes - what is there) . gradient, for every trial at once.

Two forward passes and one backward pass a prompt, however many trials (attribution patching: Nanda 2023,
neelnanda.io/mechanistic-interpretability/attribution-patching; Syed et al. 2310.10348). It is a screen, not a
measurement: where the model saturates (attention's softmax, norms, gates) it can be far off.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import torch
from torch import Tensor

from lashley.core.edit import Add, Block, Constant, Identity, Mean, Noise, Patch, ProjectOut, Resample, Zero
from lashley.core.run import Run
from lashley.core.site import KINDS, Kind, Site, Sites
from lashley.core.trial import Sweep
from lashley.engine.edge_attribution import edge_estimates
from lashley.engine.gradients import Pass, Slopes, backward
from lashley.engine.keeping import keep
from lashley.engine.model import Model
from lashley.engine.passes import Place, watch
from lashley.engine.planner import check
from lashley.engine.readouts import extend
from lashley.engine.written import field

if TYPE_CHECKING:
    from lashley.engine.bench import Bench

TOGETHER = 64  # sweeps whose passes are batched with each other


def attribution(bench: Bench, sweep: Sweep, kind: Kind, at: str | None = None) -> np.ndarray:
    """Estimated change of the readout by the sweep's first edit at each unit of a kind, float64 [layers, units]
    in the readout's unit (1 unit for whole sub-layers; resid: one layer more). The sweep's own sites do not matter.

    `at` is a role, or None for all positions.
    """
    places = sweep.run.resolve(Site(0, "resid", None, at))
    units = range(bench.anatomy.units(kind))
    sets = [
        [Site(layer, kind, unit if kind in ("head", "neuron") else None, place.position) for place in places]
        for layer in range(bench.anatomy.layers + (kind == "resid"))
        for unit in units
    ]
    (found,) = estimates(bench, [msgspec.structs.replace(sweep, sites=Sites.of(sets))])
    return found.reshape(-1, len(units))


def estimates(bench: Bench, sweeps: Iterable[Sweep]) -> Iterator[np.ndarray]:
    """For each sweep the estimated change of the readout (edited - unedited) of every trial, float64 [trials].

    Over the sites, or edges, of one trial the changes add up. Raises `BadSite` or `BadPrompt` as `Bench.run` does, and
    `TypeError` for a readout without a gradient and for attention knockouts.
    """
    sweeps = iter(sweeps)
    while some := list(itertools.islice(sweeps, TOGETHER)):
        for sweep in some:
            check(sweep, bench.anatomy)
        for _, group in itertools.groupby(some, lambda sweep: bool(sweep.edges)):
            same = list(group)
            ask = partial(edge_estimates, bench.model, same) if same[0].edges else partial(_together, bench, same)
            yield from keep(bench, ("estimates", [s.key for s in same]), ask)


def _together(bench: Bench, sweeps: Sequence[Sweep]) -> list[np.ndarray]:
    found = [np.zeros(len(sweep)) for sweep in sweeps]
    there = np.unique(np.concatenate([s.sites.table[1] for s in sweeps]))
    kinds = [KINDS[k] for k in there]
    for slopes in backward(bench.model, [(s.run, s.readout) for s in sweeps], kinds):
        sources = _sources(bench.model, slopes.passes, sweeps, kinds)
        for row, one in enumerate(slopes.passes):
            layer, kind, unit, position, edit = sweeps[one.asked].sites.table
            change = np.zeros(len(layer))
            for number, e in np.unique(np.stack([kind, edit]), axis=1).T:
                here = (kind == number) & (edit == e)
                by_place = _changes(bench, slopes, row, sweeps[one.asked], e, KINDS[number], kinds, sources)
                change[here] = _at(by_place, layer[here], unit[here], position[here])
            if len(change):
                found[one.asked] += np.add.reduceat(change, sweeps[one.asked].sites.bounds[:-1])
    return found


def _at(change: np.ndarray, layer: np.ndarray, unit: np.ndarray, position: np.ndarray) -> np.ndarray:
    """The sum of change [layers, tokens, units] over what each site covers, [sites]."""
    whole, everywhere = unit < 0, position == Sites.ALL
    single = change[layer, np.where(everywhere, 0, position), unit]
    single[everywhere] = change.sum(1)[layer, unit][everywhere]
    single[whole] = change.sum(2)[layer, np.where(everywhere, 0, position)][whole]
    single[whole & everywhere] = change.sum((1, 2))[layer][whole & everywhere]
    return single


def _changes(
    bench: Bench,
    slopes: Slopes,
    row: int,
    sweep: Sweep,
    edit: int,
    kind: Kind,
    kinds: Sequence[Kind],
    sources: dict[Run, dict[Place, Tensor]],
) -> np.ndarray:
    """First-order change by an edit at each place of one pass, float64 [layers, tokens, units]."""
    run, bare, what = slopes.passes[row].variant.run, len(sweep.run), sweep.edits[edit]
    layers = []
    for layer, (x, grad) in enumerate(zip(slopes.acts[kind][row], slopes.grads[kind][row], strict=True)):
        x, grad = (y.unflatten(-1, (bench.anatomy.units(kind), -1)) for y in (x, grad))  # [tokens, units, site width]
        match what:
            case Identity():
                step = torch.zeros_like(x)
            case Zero():
                step = -x
            case Constant(vector):
                step = _vector(vector, x) - x
            case Add(vector, scale):
                step = scale * _vector(vector, x)
            case ProjectOut(vector):
                v = _vector(vector, x)
                step = -(x @ v)[..., None] * v / (v @ v)
            case Mean() | Noise():
                step = field(bench.captures, kinds, what, run, bare, layer, kind).to(x.device).view_as(x) - x
            case Patch(source) | Resample(source):
                step = sources[extend(source, run.tokens[bare:])][layer, kind].view_as(x) - x
            case Block():
                raise TypeError("an attention knockout has no first-order estimate; measure it")
        layers.append((step * grad).sum(-1, dtype=torch.float64))
    return torch.stack(layers).cpu().numpy()


def _vector(data: bytes, like: Tensor) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.float32).to(like)


def _sources(
    model: Model, passes: Sequence[Pass], sweeps: Sequence[Sweep], kinds: Sequence[Kind]
) -> dict[Run, dict[Place, Tensor]]:
    """Activations [tokens, width] of the runs that patches take their values from, in one pass: they are as long
    as the runs that they are patched into."""
    runs = list(
        dict.fromkeys(
            extend(edit.source, one.variant.run.tokens[len(sweeps[one.asked].run) :])
            for one in passes
            for edit in sweeps[one.asked].edits
            if isinstance(edit, Patch | Resample)
        )
    )
    found: dict[Run, dict[Place, Tensor]] = {run: {} for run in runs}

    def keep(place: Place, x: Tensor) -> None:
        for run, own in zip(runs, x, strict=True):
            found[run][place] = own.to(model.device)

    if runs:
        places: list[Place] = [(la, k) for k in kinds for la in range(model.anatomy.layers + (k == "resid"))]
        watch(model, runs, places, keep)
    return found
