"""What an edit that replaces an activation writes, at every position of a run."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from lashley.core.edit import Mean, Noise
from lashley.core.run import Run
from lashley.core.site import KINDS, Kind
from lashley.engine.capture import Captures, role_class


def field(
    captures: Captures, kinds: Iterable[Kind], edit: Mean | Noise, run: Run, bare: int, layer: int, kind: Kind
) -> Tensor:
    """What a mean or noise knockout writes, [tokens, width]. `run` is the edited one with its continuation,
    `bare` the length without; the reference's moments of all `kinds` are taken at once."""
    moments = captures.moments(edit.reference, kinds)
    names = [role_class(run, p, bare - 1) for p in range(len(run))]
    found = torch.stack([moments.mean[kind][n][layer] for n in names])
    if isinstance(edit, Noise):
        seed = (edit.seed * 1_000_003 + layer) * len(KINDS) + KINDS.index(kind)
        draw = torch.randn(bare, found.shape[-1], generator=torch.Generator().manual_seed(seed)).to(found)
        found[:bare] += draw * torch.stack([moments.sd[kind][n][layer] for n in names[:bare]])
    return found
