"""Planned questions and their answers, held as columns.

A `Sweep` is one prompt, one kind of edit, one readout, and any number of site sets: a million trials are one
compact block. A `Trial` is one line of it, seen by a person; its key is derived, never stored.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal, overload

import msgspec
import numpy as np

from lashley.core.edit import Edit
from lashley.core.graph import Edges
from lashley.core.readout import Readout
from lashley.core.run import Run
from lashley.core.site import Site, Sites

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


class Pruned(msgspec.Struct, frozen=True, tag="pruned"):
    """A copy of the model without some weights: of all matrices in its decoder layers, the `share` (of their number)
    with the largest gradient x weight, summed over the readouts `asked`; or, with a `seed`, as many at random."""

    share: float
    asked: tuple[tuple[Run, Readout], ...] = ()
    seed: int | None = None

    def __str__(self) -> str:
        return f"pruned {self.share:g}" + (f" at random, seed {self.seed}" if self.seed is not None else "")


class Sweep(msgspec.Struct, frozen=True):
    """Trials that share everything but their sites.

    `effect` says what is edited and how the answer is normalised:
    restoration edits the corrupt run, R = (value - corrupt) / (clean - corrupt);
    damage edits the clean run, D = (clean - value) / (clean - corrupt);
    without a corrupt run the effect is clean - value, in the readout's unit.
    `labels` say what a table is to know of the trials (relation, subject, template, measure, ...); they do not enter
    the numbers. They are part of the key, so each but the prompt's own words is a code from a small vocabulary, with
    numbers perhaps, that never changes; what people read of it is made when a page is made.
    `copy` asks a copy of the model instead: "untrained", with fresh random weights, or `Pruned`.

    A sweep over `edges` has no sites: the clean run is run, and along each patched edge the receiver gets what the
    sender contributes in the source of the one edit, a `Patch`, instead of what it contributes now, in this edited
    pass. No edge patched is the clean run, and every edge the source.
    """

    clean: Run
    corrupt: Run | None
    effect: Literal["restoration", "damage"]
    edits: tuple[Edit, ...]
    sites: Sites
    readout: Readout
    labels: dict[str, str] = {}
    copy: Literal["untrained"] | Pruned | msgspec.UnsetType = msgspec.UNSET  # unset, it is not part of the key
    edges: Edges | msgspec.UnsetType = msgspec.UNSET  # nor is this

    @property
    def run(self) -> Run:
        """The run that is edited."""
        return self.corrupt if self.effect == "restoration" and self.corrupt else self.clean

    @property
    def key(self) -> str:
        """Hash of the whole block: what the ledger knows it by."""
        return hashlib.blake2b(_encode(self), digest_size=16).hexdigest()

    def __len__(self) -> int:
        return len(self.edges or self.sites)

    def __getitem__(self, index: int) -> Trial:
        if self.edges and not 0 <= index < len(self):
            raise IndexError(f"trial {index} of {len(self)}")
        return Trial(self, index, () if self.edges else self.sites[index])

    @overload
    def normalise(self, value: float, clean: float, corrupt: float | None) -> float: ...
    @overload
    def normalise(self, value: np.ndarray, clean: float, corrupt: float | None) -> np.ndarray: ...
    def normalise(self, value: Any, clean: float, corrupt: float | None) -> Any:
        """Restoration or damage as the protocol defines it (a share), or a difference where nothing is corrupt."""
        if corrupt is None:
            return clean - value
        with np.errstate(divide="ignore", invalid="ignore"):
            num = value - corrupt if self.effect == "restoration" else clean - value
            return np.asarray(num) / (clean - corrupt)


class Trial(msgspec.Struct, frozen=True):
    """One planned question: the sweep's prompt, edits and readout at one site set, or along one edge set."""

    sweep: Sweep
    index: int
    sites: tuple[Site, ...]

    @property
    def key(self) -> str:
        """Hash of all that can change the answer."""
        sweep = self.sweep
        if sweep.edges:
            return msgspec.structs.replace(sweep, edges=sweep.edges.only(self.index), labels={}).key
        return msgspec.structs.replace(sweep, sites=sweep.sites.only(self.index), labels={}).key


class Chunk(msgspec.Struct, frozen=True):
    """Answers to the trials `start .. start + len(values)` of a sweep; immutable.

    `clean` and `corrupt` are the readout of the unedited runs, from a plain forward pass; `noise_floor` the
    largest change that an identity edit made at sites of these trials, in the readout's unit (0 where none of them
    was tried: the floor of a sweep is the largest of its chunks).
    """

    sweep: str  # key
    start: int
    values: np.ndarray  # float64 [trials]
    clean: float
    corrupt: float | None
    noise_floor: float
    path: Literal["packed", "plain"]  # how it was computed
