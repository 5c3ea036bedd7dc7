"""From tidy frames to plain rows, and the words that go with them.

Every frame has a column `effect`, and may have `low` and `high` (its interval), `n` (replicates) and `site`
(its address as text).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lashley.core.figure import Cell, Column, Estimate, Table, number

if TYPE_CHECKING:
    from pandas import DataFrame

Row = dict[str, Any]
NUMBERS = ("effect", "low", "high", "control", "control_low", "control_high")


def table(frame: DataFrame, title: str, columns: dict[str, str | Column], *, limit: int = 20, note: str = "") -> Table:
    """The first `limit` rows; `columns` maps fields to heads, and `effect` takes its interval and n along."""
    heads = tuple(Column(c) if isinstance(c, str) else c for c in columns.values())
    rows = tuple(tuple(_cell(r, f) for f in columns) for r in _dicts(frame.head(limit)))
    cut = f"The first {limit} of {len(frame):,} rows; all are in the study's ledger."
    return Table(title, heads, rows, " ".join(filter(None, (note, cut * (len(frame) > limit)))))


def _cell(row: Row, field: str) -> Cell:
    if field != "effect":
        return row.get(field)
    return Estimate(row["effect"], row.get("low"), row.get("high"), row.get("n"))


def _dicts(frame: DataFrame) -> list[Row]:
    """Records of Python's own numbers, not-a-number as None."""
    names = [str(name) for name in frame.columns]
    columns = [[_plain(v) for v in frame[name].tolist()] for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def records(frame: DataFrame, floor: float, **fields: str | None) -> list[Row]:
    """What a figure draws, under fixed names: the fields asked for, effect, low, high, n, site, text, clear.

    Numbers have six digits, enough for any picture. `clear` is whether the effect is told apart from 0.
    """
    wanted = {k: v for k, v in fields.items() if v is not None and v in frame.columns}
    wanted |= {k: k for k in ("effect", "low", "high", "n", "site") if k in frame.columns}
    cut = _dicts(frame.loc[:, list(dict.fromkeys(wanted.values()))])
    rows: list[Row] = [{"panel": "", "y": ""} | {k: r[v] for k, v in wanted.items()} for r in cut]
    rows = [r for r in rows if r["effect"] is not None]
    known = any(r.get("low") is not None for r in rows)
    for r in rows:
        estimate = Estimate(r["effect"], r.get("low"), r.get("high"))
        r["text"] = str(estimate)
        r["clear"] = estimate.clear(floor) and (not known or r.get("low") is not None)
        r |= {k: float(f"{r[k]:.6g}") for k in NUMBERS if r.get(k) is not None}
    return rows


def apart(rows: list[Row]) -> str:
    """What "clear" effects are, in words."""
    known = any(r.get("low") is not None for r in rows)
    return "told apart from 0" if known else "beyond the numerical noise (there is no interval)"


def span(rows: list[Row]) -> tuple[float, float]:
    """The smallest and the largest effect."""
    effects = [r["effect"] for r in rows] or [0.0]
    return min(effects), max(effects)


def caption(about: str, how: str, note: str) -> str:
    """What was measured, how to read the picture, and what `basis` says, as sentences."""
    return " ".join(f"{part[0].upper()}{part[1:].rstrip('.')}." for part in (about, how, note) if part)


def basis(rows: list[Row], floor: float, of: str = "") -> str:
    """How many replicates a value has (`of` what, as a plural), and the noise floor."""
    n = sorted({int(r["n"]) for r in rows if r.get("n") is not None})
    counts = "–".join(number(v) for v in dict.fromkeys((*n[:1], *n[-1:])))
    counts = f"{counts} {of.removesuffix('s') if counts == '1' else of}".rstrip()
    parts = (f"each value from n = {counts}" if n else "", f"noise floor {number(floor)}" if floor else "")
    return "; ".join(filter(None, parts))


def alt_text(title: str, rows: list[Row], measure: str) -> str:
    """The picture in words: its title, its largest and its smallest value."""
    if not rows:
        return f"{title}. No data."
    ends = [(r["text"], r.get("site") or _where(r)) for r in sorted(rows, key=lambda r: -r["effect"])]
    (high, at), (low, there) = ends[0], ends[-1]
    return f"{title.rstrip('.')}. {measure}: largest {high} at {at}, smallest {low} at {there}."


def _where(row: Row) -> str:
    words = (row.get(k) for k in ("panel", "y", "x"))
    return " ".join(w if isinstance(w, str) else number(w) for w in words if w not in (None, ""))
