"""What is restored: parameters and the plan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lashley.core.case import Case, Material
from lashley.core.edit import Patch
from lashley.core.errors import LashleyError
from lashley.core.site import KINDS, Kind, Sites
from lashley.core.trial import Sweep
from lashley.experiments import at_least


@dataclass(frozen=True)
class Params:
    """What is traced, and how the corrupted run is made.

    Parameters
    ----------
    kinds
        Which activations are restored.
    window
        Restore this many layers of attention or MLP outputs at once; 1 is a single layer. Windows make peaks.
    corruption
        How recall is destroyed: "replace" the subject by another, or "noise" on its embeddings (ROME).
    draws
        Corruptions of each prompt: other foils, or other noise.
    """

    kinds: tuple[Literal["resid", "attn", "mlp"], ...] = ("resid", "attn", "mlp")
    window: int = 1
    corruption: Literal["replace", "noise"] = "replace"
    draws: int = 1

    def __post_init__(self) -> None:
        at_least(1, window=self.window, draws=self.draws)
        if not self.kinds:
            raise LashleyError("kinds is empty; name one or more of resid, attn and mlp")


def plan(params: Params, material: Material) -> Iterable[Sweep]:
    """One sweep a case and kind: every layer at every position."""
    for case in material.cases:
        for kind in params.kinds:
            window = 1 if kind == "resid" else min(params.window, material.anatomy.layers)
            yield Sweep(
                clean=case.clean,
                corrupt=case.corrupt,
                effect="restoration",
                edits=(Patch(case.clean),),
                sites=_grid(material.anatomy.layers, case, kind, window),
                readout=case.readout,
                labels=case.labels(window=str(window)),
            )


def _grid(layers: int, case: Case, kind: Kind, window: int) -> Sites:
    """Layers x positions; `window` layers about each one, fewer at the ends."""
    layer, position = (x.ravel() for x in np.meshgrid(range(layers), range(len(case.clean)), indexing="ij"))
    first = np.maximum(layer - (window - 1) // 2, 0)
    sizes = np.minimum(layer - (window - 1) // 2 + window, layers) - first
    step = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return Sites.pack(
        np.repeat(first, sizes) + step, KINDS.index(kind), position=np.repeat(position, sizes), sizes=sizes
    )
