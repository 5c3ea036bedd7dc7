"""Activations of a corpus on the disk, at about the speed of the forward passes, in memory that does not grow."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lashley.core.errors import LashleyError
from lashley.core.progress import silent
from lashley.core.run import Run
from lashley.core.site import Site
from lashley.engine.model import Model
from lashley.engine.passes import Place, batches, part, watch

WINDOW = 16  # passes' worth of tokens, among which runs of equal length are put together

Store = Literal["float32", "float16"]


def stream(
    model: Model,
    runs: Iterable[Run],
    sites: Sequence[Site],
    folder: Path,
    store: Store = "float32",
    progress: Callable[[int], None] = silent,
) -> dict[Site, np.ndarray]:
    """Write `SITE.npy` [positions, width] of every site, the positions of all runs end to end in their order.

    Beside them `index.npy`, int64 [positions, 2], has the number of each one's run and its place in it; for sites
    at a role or a place it is `index@PLACE.npy`. The folder appears when all is written, and not before. Returned
    are memory maps. Raises `BadSite`, and `LashleyError` where the folder holds something, it cannot be written,
    there are no runs, or a number does not fit `store`.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise LashleyError(f"{folder} is there already, and not empty; choose another folder")
    where: dict[Place, list[Site]] = defaultdict(list)
    for site in map(model.anatomy.check, dict.fromkeys(sites)):
        where[site.layer, site.kind].append(site)
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        draft.mkdir(parents=True)
        with ExitStack() as stack:
            width = {s: _width(model, s) for s in sites}
            arrays = {s: stack.enter_context(_Growing(draft / f"{s}.npy", store, width[s])) for s in sites}
            places = {s.position: Site(0, "resid", None, s.position) for s in sites}
            index = {
                p: stack.enter_context(_Growing(draft / f"index{'' if p is None else f'@{p}'}.npy", "int64", 2))
                for p in places
            }
            done = 0
            for window in _windows(runs, WINDOW * model.tokens_per_pass):
                first = {p: _list(window, done, place, index[p]) for p, place in places.items()}
                _fill(model, window, where, first, arrays, lambda n, done=done: progress(done + n))
                done += len(window)
            for site, array in arrays.items():
                array.rows = index[site.position].rows
        if not done:
            raise LashleyError("there are no texts to read")
        if folder.exists():
            folder.rmdir()
        draft.rename(folder)
    except OSError as e:
        raise LashleyError(f"{folder} cannot be written ({e.strerror or e}); make room or choose another folder") from e
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return {s: np.load(folder / f"{s}.npy", mmap_mode="r") for s in sites}


class _Growing:
    """A .npy file [rows, width] that is written in any order; `rows` counts when it is closed."""

    def __init__(self, path: Path, dtype: str, width: int):
        self.dtype, self.width, self.rows = np.dtype(dtype), width, 0
        self.file = path.open("wb")
        self._head()
        self.start = self.file.tell()

    def _head(self) -> None:
        shape = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.rows, self.width)}
        np.lib.format.write_array_header_1_0(self.file, shape)  # as long for any number of rows

    def put(self, row: int, values: np.ndarray) -> None:
        """Write `values` [some, width] from `row` on."""
        self.file.seek(self.start + row * self.width * self.dtype.itemsize)
        self.file.write(np.ascontiguousarray(values, self.dtype).data)

    def __enter__(self) -> _Growing:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        try:
            if error is None:
                self.file.seek(0)
                self._head()
                assert self.file.tell() == self.start
                self.file.flush()
                os.fsync(self.file.fileno())
        finally:
            self.file.close()


def _width(model: Model, site: Site) -> int:
    """Numbers a position; a head's or neuron's own, or those of all of a layer's together."""
    return model.anatomy.site_width(site.kind) * (model.anatomy.units(site.kind) if site.unit is None else 1)


def _windows(runs: Iterable[Run], tokens: int) -> Iterator[list[Run]]:
    """Consecutive runs, together about `tokens` tokens."""
    window: list[Run] = []
    size = 0
    for run in runs:
        window.append(run)
        size += len(run)
        if size >= tokens:
            yield window
            window, size = [], 0
    if window:
        yield window


def _list(window: Sequence[Run], done: int, place: Site, index: _Growing) -> list[tuple[int, list[int] | slice]]:
    """Enter the runs' positions at a place into its index: of each run the first row, and its positions."""
    found: list[tuple[int, list[int] | slice]] = []
    entries = []
    first = index.rows
    for number, run in enumerate(window, done):
        at = range(len(run)) if place.position is None else [int(s.position) for s in run.resolve(place)]  # pyright: ignore[reportArgumentType]
        found.append((index.rows, slice(None) if place.position is None else list(at)))
        entries.append(np.stack([np.full(len(at), number), np.array(at)], 1))
        index.rows += len(at)
    index.put(first, np.concatenate(entries))
    return found


def _fill(
    model: Model,
    window: Sequence[Run],
    where: dict[Place, list[Site]],
    first: dict[int | str | None, list[tuple[int, list[int] | slice]]],
    arrays: dict[Site, _Growing],
    progress: Callable[[int], None],
) -> None:
    """Write the activations of a window's runs, each layer's as it is computed."""
    done = 0
    for batch in batches([len(run) for run in window], model.tokens_per_pass):

        def see(place: Place, x: Tensor, batch=batch) -> None:
            for site in where[place]:
                array, rows = arrays[site], first[site.position]
                values = _stored(part(model, x, site), array.dtype, site)
                for row, i in zip(values, batch, strict=True):
                    array.put(rows[i][0], row[rows[i][1]])

        watch(model, [window[i] for i in batch], list(where), see)
        done += len(batch)
        progress(done)


def _stored(x: Tensor, dtype: np.dtype, site: Site) -> np.ndarray:
    """As the numbers that are kept. Raises `LashleyError` where float16 cannot hold them."""
    if dtype == np.float32:
        return x.float().cpu().numpy()
    half = x.half()
    if not torch.isfinite(half).all():
        raise LashleyError(f"{site} has numbers beyond the 65,504 of float16; keep them as float32")
    return half.cpu().numpy()
