"""What an experiment shows, as plain data: numbers, findings, figures, tables, controls, omissions.

An experiment returns these pieces; the study puts them on one page; the report renders the page. A number is
kept as it was measured and becomes text in one place, `number`, so that html, terminal and sentences agree.
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

from lashley.core.visible import visible

_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]*")
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None, decimals: int | None = None) -> str:
    """A number as text, with as many digits as a reader can use (`decimals` fixes those after the point).

    >>> number(36864), number(0.4137), number(-0.0412), number(0.0000031), number(None)
    ('36,864', '0.41', '−0.041', '3.1 × 10⁻⁶', '–')
    """
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if isinstance(value, int):
        decimals = 0
    elif decimals is None and 0 < size < 1e-4:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}".replace("-", "−")
    elif decimals is None:
        decimals = 2 if not size else min(max(1 - math.floor(math.log10(size)), 0), 5)
        decimals = min(decimals, 2) if size >= 0.1 else decimals
    text = f"{value:,.{decimals}f}"
    return (text if text.strip("-0.,") else text.lstrip("-")).replace("-", "−")


def plural(n: int, noun: str) -> str:
    """How many, with the noun as it is of so many; a noun that comes as a plural loses its s at one.

    >>> plural(1, "prompt"), plural(1200, "template"), plural(1, "sub-layers"), plural(0, "heads")
    ('1 prompt', '1,200 templates', '1 sub-layer', '0 heads')
    """
    return f"{number(n)} {noun.removesuffix('s')}{'s' * (n != 1)}"


class Estimate(msgspec.Struct, frozen=True, omit_defaults=True):
    """A measured number, its interval, and from how many replicates. What is unknown is None, never NaN.

    >>> str(Estimate(0.4137, 0.331, 0.492, n=12))
    '0.41 [0.33, 0.49]'
    >>> str(Estimate(0.039, -0.002, 0.08))
    '0.039 [−0.002, 0.080]'
    >>> Estimate(0.41, 0.33, 0.49).clear(), Estimate(0.02, -0.01, 0.05).clear(), Estimate(0.02).clear(0.05)
    (True, False, False)
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        for field in ("value", "low", "high"):
            held = getattr(self, field)
            held = None if held is None or not math.isfinite(held) else float(held)
            msgspec.structs.force_setattr(self, field, held)
        if self.n is not None:
            msgspec.structs.force_setattr(self, "n", int(self.n))

    def __str__(self) -> str:
        if self.value is None or self.low is None or self.high is None:
            return number(self.value)
        width = self.high - self.low
        tiny = max(abs(self.low), abs(self.high)) < 1e-4
        least = (width <= 1) + (width <= 20)
        decimals = None if width <= 0 or tiny else min(max(math.ceil(0.6 - math.log10(width)), least), 5)
        while decimals and decimals < 5 and any(b and not round(b, decimals) for b in (self.low, self.high)):
            decimals += 1  # on which side of 0 a bound lies must be seen
        value, low, high = (number(v, decimals) for v in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"

    def clear(self, floor: float = 0.0) -> bool:
        """Whether it is told apart from 0: beyond the noise floor, and its interval, if any, leaves 0 out."""
        if self.value is None or abs(self.value) <= floor:
            return False
        return self.low is None or self.high is None or self.low > 0 or self.high < 0


class Finding(msgspec.Struct, frozen=True):
    """ONE sentence with its uncertainty. `basis` says what it rests on: the interval, the control."""

    sentence: str
    estimate: Estimate | None = None
    basis: str = ""

    def under(self) -> str:
        """What stands in small type under the sentence: n and the basis."""
        n = f"n = {number(self.estimate.n)}" if self.estimate and self.estimate.n is not None else ""
        return ". ".join(filter(None, (n, self.basis)))


class Figure(msgspec.Struct, frozen=True):
    """A picture as data.

    `name` becomes the file name; `title` is a sentence that says what is seen; `caption` how to read it (n,
    which interval, what is grey); `alt` says it in words; `spec` is Vega-Lite with its data inside.
    """

    name: str
    title: str
    caption: str
    spec: dict[str, Any]
    alt: str

    def __post_init__(self) -> None:
        if not _SLUG.fullmatch(self.name):
            raise ValueError(f"figure name {self.name!r} is no file name; use small letters, digits, - and _")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {self.title}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Notebooks draw it themselves; see `report.notebook` for those that cannot."""
        titled = self.spec | {"title": self.title}
        return {"application/vnd.vegalite.v6+json": titled, "text/plain": f"{self.title}. {self.caption}"}


class Column(msgspec.Struct, frozen=True):
    """The head of a column."""

    label: str
    unit: str = ""


Cell = Estimate | str | int | float | bool | None


class Table(msgspec.Struct, frozen=True):
    """Rows as long as `columns`; `title` is a sentence, `note` says how to read it and what was left out."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        if bad := next((row for row in self.rows if len(row) != len(self.columns)), None):
            raise ValueError(f"table {self.title!r}: {len(self.columns)} columns, a row of {len(bad)}: {bad}")


class Control(msgspec.Struct, frozen=True):
    """What a comparison gave (matched random sites, the identity edit, ...) and how to read it."""

    name: str
    estimate: Estimate
    reading: str


class Omission(msgspec.Struct, frozen=True):
    """What was asked for and not used, and why. Recorded, never dropped in silence."""

    what: str
    why: str


def plain(token: str) -> str:
    r"""A token as a label of one line: unseen characters written out, outer blanks left out.

    >>> plain(" France"), plain("a\n\n"), plain("   "), plain("<|im_start|>")
    ('France', 'a\\n\\n', '␣␣␣', '<|im_start|>')
    """
    return visible(token.strip(" ")) or "␣" * len(token)


def cell(value: Cell) -> str:
    """A table cell as text.

    >>> cell(Estimate(0.5, 0.25, 0.75)), cell(True), cell(None), cell(12), cell("L7.attn.h3")
    ('0.50 [0.25, 0.75]', 'yes', '–', '12', 'L7.attn.h3')
    """
    if isinstance(value, str | Estimate):
        return str(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value)
