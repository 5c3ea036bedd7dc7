"""Exact effects of some site sets on some cases, where no ledger is kept: in searches, and when plants are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lashley.core.case import Case
from lashley.core.edit import Edit, Patch, Zero
from lashley.core.progress import Count, silent
from lashley.core.site import Kind, Site, Sites
from lashley.core.trial import Sweep
from lashley.engine.attribution import estimates
from lashley.engine.bench import Bench
from lashley.stats.inference import clipped


def effects(
    bench: Bench,
    cases: Sequence[Case],
    sets: Sequence[Sequence[Site]],
    effect: Literal["damage", "restoration"] = "damage",
    edit: Edit | None = None,
    progress: Count = silent,
) -> np.ndarray:
    """Damage by knocking out (zero), or restoration by patching from the clean run, [sets, cases]; `edit` another."""
    sweeps = [
        Sweep(
            case.clean,
            case.corrupt,
            effect,
            (edit or (Zero() if effect == "damage" else Patch(case.clean)),),
            Sites.of(sets),
            case.readout,
        )
        for case in cases
    ]
    return np.stack(bench.measure(sweeps, progress), 1)


def gaps(bench: Bench, cases: Sequence[Case]) -> np.ndarray:
    """How far the readouts of each case's clean and corrupt run lie apart, [cases]."""
    clean = bench.values([(c.clean, c.readout) for c in cases])
    corrupt = bench.values([(c.corrupt, c.readout) for c in cases])
    return np.subtract(clean, corrupt)


def restorers(bench: Bench, cases: Sequence[Case], kind: Kind, measured: int, kept: int) -> list[Site]:
    """The `kept` units of a kind that restore most: first, by their mean restoration, the `measured` ones of which
    gradients expect most, of either sign; then the others, as gradients have them. No case counts for more than all of
    the recall: a slope may be wild at a noisy run."""
    every = bench.anatomy.every(kind)
    sweeps = [Sweep(c.clean, c.corrupt, "restoration", (Patch(c.clean),), every, c.readout) for c in cases]
    shares = np.stack(list(estimates(bench, sweeps)), 1) / gaps(bench, cases)
    expected = clipped(shares).mean(1)
    some = np.argsort(-np.abs(expected), kind="stable")[:measured]
    mean = np.full(len(expected), -np.inf)
    mean[some] = clipped(effects(bench, cases, [every[i] for i in some], "restoration")).mean(1)
    return [every[i][0] for i in np.lexsort((-expected, -mean))[:kept].tolist()]
