"""Numbers in a text: what is printed, to how many digits, beside which interval and before which noun."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

SUPERSCRIPT = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
NUMBER = r"[−+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?: × 10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?|[−+-]?∞"
PATTERN = re.compile(
    rf"(?<![\w.@−-])(?P<number>{NUMBER})(?P<percent>\s?%)?(?: \[(?P<low>{NUMBER}), (?P<high>{NUMBER})\])?"
)
# Names that hold digits: they are looked up as names, never read as numbers.
NAMES = re.compile(
    r"“[^”]*”"
    r"|`[^`]*`"
    r"|\bblocks\.\d+[\w.\[\]]*"
    r"|\bL\d+(?:-\d+)?\.\w+(?:\.[hn]\d+)?(?:@\w+)?(?:\.[qkv])?"
    r"|\b[\w-]*[A-Za-z_][\w-]*\([^()]*\)(?: = [^\s,;.]+)?"  # capital(France) = Paris
    r"|\b[A-Za-z_]\w*\d[\w-]*"  # k1, gpt2, a1b2
    r"|\b\d{4}-\d\d-\d\d\S*"
    r"|\b[A-Z][a-z]+(?: (?:and|&|et al\.?) ?[A-Z]?[a-z]*)*,? (?:18|19|20)\d\d\b"  # Fieller et al. 1957
    r"|\b\d{4}\.\d{5}\b"  # arXiv
    r"|\([01] = [^()]*\)|(?:apart from|below|above|set to) 0\b"  # what an axis means
    r"|\bn = \d[\d,–]*"  # of figures, and looked at there
)
LEADS = r" (?:of|of the|of all|and|to|out of|or) |–"


@dataclass(frozen=True)
class Printed:
    """A number as a text has it. `half` is half a unit of its last digit: how far the true value may be from it."""

    value: float
    half: float
    text: str
    interval: tuple[tuple[float, float], tuple[float, float]] | None = None  # (value, half) of both bounds
    percent: bool = False
    after: str = ""  # the words that follow it, as far as the next number or stop
    before: str = ""
    span: tuple[int, int] = (0, 0)

    @property
    def whole(self) -> bool:
        """Whether it is printed as a count is."""
        return self.interval is None and not self.percent and re.fullmatch(r"[\d,]+", self.text) is not None

    def is_(self, value: float | None, slack: float = 1e-9) -> bool:
        return value is not None and _near(value, self.value, self.half + slack)

    def counts(self, value: float) -> bool:
        """Whether it is that number where it is printed as a count is: nothing below 10 is rounded so."""
        return self.is_(value) and (value == round(value) or abs(value) >= 9.5)

    def within(self, low: float | None, high: float | None) -> bool:
        """Whether it has just this interval; none where it has none."""
        if self.interval is None:
            return low is None and high is None
        (a, ha), (b, hb) = self.interval
        return low is not None and high is not None and _near(low, a, ha + 1e-9) and _near(high, b, hb + 1e-9)


def _near(x: float, y: float, room: float) -> bool:
    return x == y if math.isinf(x) or math.isinf(y) else abs(x - y) <= room * (1 + 1e-6)


def one(text: str) -> tuple[float, float]:
    """A number and half a unit of its last digit.

    >>> one("1,984"), one("−0.040"), one("3.1 × 10⁻⁶")
    ((1984.0, 0.5), (-0.04, 0.0005), (3.1e-06, 5e-08))
    """
    plain = text.replace(",", "").replace("−", "-")
    if "∞" in plain:
        return float(plain.replace("∞", "inf")), 0.0
    mantissa, _, power = plain.partition(" × 10")
    scale = 10.0 ** int(power.translate(SUPERSCRIPT)) if power else 1.0
    decimals = len(mantissa.partition(".")[2])
    return float(f"{float(mantissa) * scale:.12g}"), float(f"{0.5 * 10.0**-decimals * scale:.12g}")


def masked(text: str) -> str:
    """The text with its names blotted out, as long as before."""
    return NAMES.sub(lambda m: "\x00" * len(m[0]), text)


def numbers(text: str) -> list[Printed]:
    """Every number of a text.

    >>> [(n.value, n.percent, n.after) for n in numbers("restores 56.7% [51.4, 62.0] at L0.mlp, over 16 prompts")]
    [(0.567, True, 'at'), (16.0, False, 'prompts')]
    """
    plain = masked(text)
    found = list(PATTERN.finditer(plain))
    out = []
    for i, m in enumerate(found):
        end = found[i + 1].start() if i + 1 < len(found) else len(plain)
        if i + 1 < len(found) and re.fullmatch(LEADS, plain[m.end() : end]):  # "12 of 48 rows" counts rows twice
            start, end = found[i + 1].end(), found[i + 2].start() if i + 2 < len(found) else len(plain)
            after = plain[start:end]
        else:
            after = plain[m.end() : end]
        scale = 0.01 if m["percent"] else 1.0
        value, half, *rest = (x * scale for x in (*one(m["number"]), *_bounds(m)))
        interval = ((rest[0], rest[1]), (rest[2], rest[3])) if rest else None
        out.append(
            Printed(
                float(f"{value:.12g}"),
                half,
                m["number"],
                interval,
                bool(m["percent"]),
                re.split(r"[.;:\x00(),]", after)[0].strip(),
                re.split(r"[.;:\x00(]", plain[max(0, m.start() - 60) : m.start()])[-1].strip(),
                m.span(),
            )
        )
    return out


def _bounds(m: re.Match[str]) -> tuple[float, ...]:
    return (*one(m["low"]), *one(m["high"])) if m["low"] else ()
