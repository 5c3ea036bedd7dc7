"""The bytes of a GGUF file: a header of keys, a list of tensors, and their data. Nothing here knows a model.

Source of the layout: github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3).
"""

from __future__ import annotations

import importlib
import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lashley.core.errors import BadModel

NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}  # struct's codes
STRING, ARRAY = 8, 9
AGAIN = "fetch the file again"


@dataclass(frozen=True)
class Stored:
    """Where one tensor lies: its `shape` as torch would say it (outermost first), its ggml type, and its bytes."""

    shape: tuple[int, ...]
    kind: int
    start: int
    size: int


class File:
    """A GGUF file, its header read and its tensors located, all within its own bytes. Close it after use.

    Raises `BadModel`, without the file's name, where it is damaged or of a kind that is not read.
    """

    def __init__(self, path: Path):
        try:
            with path.open("rb") as opened:
                if not (size := path.stat().st_size):
                    raise BadModel(f"the file is empty; {AGAIN}")
                self._bytes = mmap.mmap(opened.fileno(), size, access=mmap.ACCESS_READ)
        except OSError as e:
            raise BadModel(f"it cannot be opened ({e.strerror}); check who may read it") from e
        self._size, self._at = size, 0
        self._quants = importlib.import_module("gguf.quants")
        self._sizes = {int(k): v for k, v in importlib.import_module("gguf.constants").GGML_QUANT_SIZES.items()}
        if self._take(4) != b"GGUF":
            raise BadModel("it does not begin like a GGUF file; give one that llama.cpp's converter wrote")
        version = self._number("I")
        if version not in (2, 3):
            if version and not version & 0xFFFF:
                raise BadModel("it was written on a big-endian machine; convert it to little-endian")
            raise BadModel(f"its version is {version}, and 2 and 3 are read; convert the model again")
        tensors, keys = self._number("Q"), self._number("Q")
        self.keys: dict[str, Any] = {}
        for _ in range(self._fits(keys, 13, "keys")):
            key = self._string()
            if key in self.keys:
                raise BadModel(f"it says {key} twice; convert the model again")
            self.keys[key] = self._value(self._number("I"), key)
        self.tensors = self._located(self._fits(tensors, 24, "tensors"))

    def close(self) -> None:
        self._bytes.close()

    def read(self, name: str) -> NDArray[np.float32]:
        """One tensor, [outermost .. innermost], dequantised. Raises `BadModel` for a type that gguf cannot read."""
        stored = self.tensors[name]
        kind = importlib.import_module("gguf.constants").GGMLQuantizationType(stored.kind)
        per_row = self._sizes[stored.kind]
        rows = (*stored.shape[:-1], stored.shape[-1] // per_row[0] * per_row[1])
        raw = np.frombuffer(self._bytes, np.uint8, stored.size, stored.start).reshape(rows)
        try:
            plain = {"F32": "<f4", "F16": "<f2"}.get(kind.name)
            values = self._quants.dequantize(raw if plain is None else raw.view(plain), kind)
        except NotImplementedError as e:
            raise BadModel(f"tensor {name} is of type {kind.name}, which is not read; choose another file") from e
        return np.array(values, dtype=np.float32).reshape(stored.shape)

    def _located(self, count: int) -> dict[str, Stored]:
        listed: dict[str, tuple[tuple[int, ...], int, int]] = {}
        for _ in range(count):
            name = self._string()
            if name in listed:
                raise BadModel(f"it holds tensor {name} twice; convert the model again")
            dims = [self._number("Q") for _ in range(self._fits(self._number("I"), 8, "dimensions of a tensor"))]
            listed[name] = (tuple(reversed(dims)), self._number("I"), self._number("Q"))
        alignment = self.keys.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment <= 0 or alignment % 8:
            raise BadModel(f"general.alignment is {alignment!r}, and not a multiple of 8; {AGAIN}")
        begin = -(-self._at // alignment) * alignment
        found, end, before = {}, begin, "the header"
        for name, (shape, kind, offset) in sorted(listed.items(), key=lambda item: item[1][2]):
            if not 0 < len(shape) <= 4 or min(shape) <= 0:
                raise BadModel(f"tensor {name} has the shape {list(shape)}; {AGAIN}")
            if kind not in self._sizes:
                raise BadModel(f"tensor {name} is of the unknown type {kind}; pip install -U gguf, or choose another")
            block, size = self._sizes[kind]
            if shape[-1] % block:
                raise BadModel(f"tensor {name} has rows of {shape[-1]}, no multiple of its type's {block}; {AGAIN}")
            size *= math.prod(shape) // block
            if begin + offset < end:
                raise BadModel(f"tensor {name} lies over {before}; {AGAIN}")
            if (end := begin + offset + size) > self._size:
                raise BadModel(f"it ends before tensor {name} does, at byte {self._size:,} of {end:,}; {AGAIN}")
            found[name], before = Stored(shape, kind, begin + offset, size), f"tensor {name}"
        return found

    def _take(self, count: int) -> bytes:
        if count > self._size - self._at:
            raise BadModel(f"it ends within its header, at byte {self._size:,}; {AGAIN}")
        self._at += count
        return self._bytes[self._at - count : self._at]

    def _fits(self, count: int, least: int, what: str) -> int:
        """`count`, if as many things of `least` bytes each can still follow."""
        if count * least > self._size - self._at:
            raise BadModel(f"it promises {count:,} {what}, more than its {self._size:,} bytes can hold; {AGAIN}")
        return count

    def _number(self, code: str):
        return struct.unpack(f"<{code}", self._take(struct.calcsize(f"<{code}")))[0]

    def _string(self) -> str:
        raw = self._take(self._number("Q"))
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as e:
            raise BadModel(f"its header holds text that is not UTF-8 ({raw[:20]!r}); {AGAIN}") from e

    def _value(self, kind: int, key: str):
        if kind in NUMBERS:
            return self._number(NUMBERS[kind])
        if kind == STRING:
            return self._string()
        if kind != ARRAY:
            raise BadModel(f"{key} is of the unknown type {kind}; {AGAIN}")
        kind, count = self._number("I"), self._number("Q")
        if kind == STRING:
            return [self._string() for _ in range(self._fits(count, 8, f"strings in {key}"))]
        if kind not in NUMBERS:
            raise BadModel(f"{key} is an array of the unknown type {kind}; {AGAIN}")
        code = f"<{NUMBERS[kind]}"
        width = struct.calcsize(code)
        return np.frombuffer(self._take(self._fits(count, width, f"numbers in {key}") * width), code).tolist()
