"""How the object of a case stands in the model's answers before anything is edited: kept as arrays beside a plan."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from lashley.core.run import Run

NAME = "standing"  # of the arrays

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


class Standing(NamedTuple):
    """The probability of the whole object after a run, and the rank of its first token in the vocabulary."""

    probability: float
    rank: float


def name(run: Run, target: tuple[int, ...]) -> bytes:
    """What a run and the object that follows it are known by."""
    return hashlib.blake2b(_encode((run, target)), digest_size=16).digest()


def pack(found: Mapping[bytes, Standing]) -> dict[str, np.ndarray]:
    """As arrays: `name` uint8 [runs, 16], `probability` and `rank` float64 [runs]."""
    columns = np.array(list(found.values()), np.float64).reshape(-1, 2).T
    names = np.frombuffer(b"".join(found), np.uint8).reshape(-1, 16)
    return {"name": names, "probability": columns[0], "rank": columns[1]}


def unpack(arrays: Mapping[str, np.ndarray]) -> dict[bytes, Standing]:
    """What `pack` was given."""
    columns: Iterable[np.ndarray] = (arrays["probability"], arrays["rank"])
    rows = zip(arrays["name"], *columns, strict=True)
    return {bytes(own.tobytes()): Standing(float(p), float(r)) for own, p, r in rows}
