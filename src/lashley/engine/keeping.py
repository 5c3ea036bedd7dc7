"""What a model answers while a study is planned, kept: an interruption costs the question in flight, not all before it.

The one who plans gives the bench a place to keep answers in (`Bench.kept`); an answer is found there by all that was
asked, so that planning again goes the same way through the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, Self

import numpy as np

from lashley.core.trial import Chunk

Arrays = Sequence[np.ndarray]
Ranges = Sequence[tuple[int, int]]


class Kept(Protocol):
    """Arrays by what was asked (anything that msgpack can say); several answers to one question in order."""

    def every(self, asked: object) -> list[Arrays]: ...

    def put(self, asked: object, answer: Arrays) -> None: ...

    def within(self, what: str) -> Self:
        """The same place for the answers of another model, a copy: `what`."""
        ...


class Keeper(Protocol):
    kept: Kept | None


def keep(bench: Keeper, asked: object, answer: Callable[[], Arrays]) -> Arrays:
    """What is kept of `asked`, or `answer()`, which is then kept."""
    if bench.kept is None:
        return answer()
    if found := bench.kept.every(asked):
        return found[0]
    made = answer()
    bench.kept.put(asked, made)
    return made


def put_chunks(kept: Kept, chunks: Sequence[Chunk]) -> None:
    for c in chunks:
        frame = [c.clean, np.nan if c.corrupt is None else c.corrupt, c.noise_floor, c.start, c.path == "packed"]
        kept.put(("run", c.sweep), [np.asarray(c.values), np.array(frame)])


def chunks(kept: Kept, keys: Sequence[str]) -> list[Chunk]:
    """The answers to some sweeps that are kept."""
    found = []
    for key in keys:
        for values, (clean, corrupt, floor, start, packed) in kept.every(("run", key)):
            other = None if np.isnan(corrupt) else float(corrupt)
            path = "packed" if packed else "plain"
            found.append(Chunk(key, int(start), values, float(clean), other, float(floor), path))
    return found


def together(answered: Mapping[str, Ranges], more: Sequence[Chunk]) -> dict[str, Ranges]:
    """The ranges of trials that are answered here or there, in order, merged."""
    every = {key: list(ranges) for key, ranges in answered.items()}
    for c in more:
        every.setdefault(c.sweep, []).append((c.start, c.start + len(c.values)))
    for key, ranges in every.items():
        merged: list[tuple[int, int]] = []
        for start, stop in sorted(ranges):
            if merged and merged[-1][1] >= start:
                start, stop = merged[-1][0], max(stop, merged.pop()[1])
            merged.append((start, stop))
        every[key] = merged
    return dict(every)
