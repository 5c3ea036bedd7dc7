"""Pages with one number changed: what a reader that reads must notice."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Iterator
from typing import Any

from .printed import PATTERN, masked

Path = tuple[Any, ...]


def numbers(page: dict[str, Any]) -> Iterator[Path]:
    """Where a page has numbers: the way to each, and for one in a text its place there."""
    for name in ("finding", "also", "tables", "controls", "figures", "verdicts"):
        yield from _within(page[name], (name,))


def _within(x: Any, path: Path) -> Iterator[Path]:
    if isinstance(x, dict):
        if path[-1:] == ("spec",):
            for i, row in enumerate(x.get("data", {}).get("values", [])):
                yield from ((*path, "data", "values", i, k) for k in ("effect", "low", "high") if row.get(k))
            return
        for key, value in x.items():
            if key not in ("name", "evidence", "unit", "caveats", "claim"):
                yield from _within(value, (*path, key))
    elif isinstance(x, list):
        for i, value in enumerate(x):
            yield from _within(value, (*path, i))
    elif isinstance(x, str):
        yield from ((*path, m.span("number")) for m in PATTERN.finditer(masked(x)))
    elif isinstance(x, int | float) and not isinstance(x, bool):
        yield path


def one(page: dict[str, Any], path: Path) -> dict[str, Any]:
    """The page with that number another."""
    page = copy.deepcopy(page)
    *way, last = path if not isinstance(path[-1], tuple) else path[:-1]
    at = page
    for step in way:
        at = at[step]
    at[last] = _changed(at[last]) if not isinstance(path[-1], tuple) else _rewritten(at[last], path[-1])
    return page


def _changed(x: float) -> float:
    return x + 1 if isinstance(x, int) else x * 1.03 + 1e-3


def _rewritten(text: str, span: tuple[int, int]) -> str:
    a, b = span
    digit = re.search(r"[1-9]|0", text[a:b])
    if not digit:
        return text
    at = a + digit.start()
    return text[:at] + str((int(text[at]) + 3) % 10) + text[at + 1 :]


def some(page: dict[str, Any], most: int, seed: int = 0) -> list[Path]:
    every = list(numbers(page))
    return random.Random(seed).sample(every, min(most, len(every)))
