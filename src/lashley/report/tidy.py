"""From tidy frames to plain rows, and the words that go with them.

Every frame has a column `effect`, and may have `low` and `high` (its interval), `n` (replicates) and `site` (its
address as text).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lashley.core.figure import Cell, Column, Estimate, Table, number

if TYPE_CHECKING:
    from pandas import DataFrame

Row = dict[str, Any]


def table(frame: DataFrame, title: str, columns: dict[str, str | Column], *, limit: int = 20, note: str = "") -> Table:
    """The first `limit` rows as a table; `columns` maps fields to heads. `effect` takes its interval and n along."""
    heads = tuple(Column(c) if isinstance(c, str) else c for c in columns.values())

    def cell(row: Row, field: str) -> Cell:
        value = _plain(row.get(field))
        return Estimate(value, *(_plain(row.get(k)) for k in ("low", "high", "n"))) if field == "effect" else value

    rows = tuple(tuple(cell(r, f) for f in columns) for r in frame.head(limit).to_dict("records"))
    cut = f"The first {limit} of {len(frame):,} rows; all are in the study's ledger." if len(frame) > limit else ""
    return Table(title, heads, rows, " ".join(filter(None, (note, cut))))


def _plain(value: Any) -> Any:
    """A number of numpy or pandas as Python's own; not-a-number as None."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def records(frame: DataFrame, floor: float, **fields: str | None) -> list[Row]:
    """Records under fixed names: x, y, panel as asked for, and effect, low, high, n, site, text, clear."""
    wanted = {k: v for k, v in fields.items() if v in frame.columns}
    wanted |= {k: k for k in ("effect", "low", "high", "n", "site") if k in frame.columns}
    cut = frame[list(dict.fromkeys(wanted.values()))].to_dict("records")
    rows = [{"panel": "", "y": "", **{k: _plain(r[v]) for k, v in wanted.items()}} for r in cut]
    rows = [r for r in rows if r["effect"] is not None]
    known = any(r.get("low") is not None for r in rows)
    for r in rows:
        estimate = Estimate(r["effect"], r.get("low"), r.get("high"))
        r["text"] = str(estimate)
        r["clear"] = estimate.clear(floor) and (not known or r.get("low") is not None)
    return rows


def span(rows: list[Row]) -> tuple[float, float]:
    effects = [r["effect"] for r in rows] or [0.0]
    return min(effects), max(effects)


def caption(about: str, rows: list[Row], floor: float, how: str, shape: bool = False) -> str:
    """What was measured, how to read it, what the interval and n are, and the noise floor."""
    replicates = sorted({r["n"] for r in rows if r.get("n") is not None})
    n = f"n = {'–'.join(number(int(v)) for v in dict.fromkeys(replicates[:1] + replicates[-1:]))}" * bool(replicates)
    floor_words = f"noise floor {number(floor)}" if floor else ""
    parts = (about.rstrip("."), how, "; ".join(filter(None, (n, floor_words))))
    return " ".join(f"{p[0].upper() if p is not parts[2] else p[0]}{p[1:]}." for p in parts if p)


def alt_text(title: str, rows: list[Row], measure: str) -> str:
    if not rows:
        return f"{title} No data."
    first, last = max(rows, key=lambda r: r["effect"]), min(rows, key=lambda r: r["effect"])
    where = [str(r.get("site") or " ".join(str(r.get(k, "")) for k in ("panel", "y", "x")).strip()) for r in (first, last)]
    return f"{title} {measure}: largest {first['text']} at {where[0]}, smallest {last['text']} at {where[1]}."
