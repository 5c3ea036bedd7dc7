"""What an independent reader has worked out of a study, and whether a printed number is among it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .arithmetic import Value
from .printed import Printed, numbers

# What numbers count, in the singular. A count before one of these has to be one that is known of it.
NOUNS = (
    "prompt", "template", "subject", "fact", "draw", "set", "peer", "unit", "neuron", "head", "layer",
    "sub-layer", "cell", "row", "edge", "round", "item", "site", "sublayer", "effect", "point", "sample",
    "foil", "corruption", "paraphrase", "pair", "context", "language", "group", "claim", "criterion", "copy",
    "weight", "token", "node", "question", "level", "repeat", "window", "position", "permutation", "shuffle",
    "domain", "spread", "size", "relation", "plant", "control", "trial", "subset", "circuit", "operation",
    "text", "largest", "strongest", "others", "knockout",
)  # fmt: skip
PLURAL = {"criteria": "criterion", "copies": "copy", "sub-layers": "sub-layer"}
MOST_DIGITS = 8  # after the point
Tag = str | tuple[str, ...]


def singular(word: str) -> str:
    word = word.lower().strip("’'\"")
    return PLURAL.get(word, word[:-1] if word.endswith("s") and word[:-1] in NOUNS else word)


@dataclass(frozen=True)
class Fact:
    """A number, where it comes from, and which names a text must hold that speaks of it (alternatives in a tuple)."""

    value: Value
    name: str
    about: tuple[Tag, ...] = ()
    slack: float = 0.0  # how far a number that was drawn at random may be off

    def in_(self, text: str) -> bool:
        return all(any(_mentions(text, a) for a in ((tag,) if isinstance(tag, str) else tag)) for tag in self.about)


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w.+]){re.escape(name)}(?![\w@]|\.\w|\+)", text, re.IGNORECASE) is not None


@dataclass
class Known:
    """Everything that a page may print of a study."""

    facts: list[Fact] = field(default_factory=list)
    counts: dict[str, set[int]] = field(default_factory=dict)  # what is counted, in the singular
    cells: dict[str, Value] = field(default_factory=dict)  # by the name of the site or set
    # of figures whose rows are not told by a site alone: the value of a row, by the figure's name
    of_row: dict[str, Callable[[dict[str, Any]], Value | None]] = field(default_factory=dict)
    drawn: dict[str, int] = field(default_factory=dict)  # how many rows a figure has to have
    elsewhere: tuple[str, ...] = ()  # tables of what no export holds
    reasons: set[str] = field(default_factory=set)  # why facts were left out
    checks: list[Callable[[dict[str, Any]], list[str]]] = field(default_factory=list)  # of a page, beside its numbers
    identifiers: dict[str, int] = field(default_factory=dict)  # "layer" -> how many there are: 0 .. n - 1 are names

    def row(self, figure: str, row: dict[str, Any]) -> tuple[str, Value | None]:
        """What a row of a figure is called, and its value; None where nobody measured it."""
        name = str(row.get("site") or row.get("name") or row.get("y"))
        if figure in self.of_row:
            return f"{name} {row.get('y', '')}", self.of_row[figure](row)
        return name, self.cells.get(name)

    def add(self, value: Value | float | None, name: str, *about: Tag, slack: float = 0.0) -> None:
        if value is not None:
            self.facts.append(Fact(value if isinstance(value, Value) else Value(float(value)), name, about, slack))

    def count(self, noun: str, *of: int) -> None:
        for each in noun.split() or [""]:
            self.counts.setdefault(each, set()).update(int(n) for n in of)

    def holds(self, value: Value, text: str) -> bool:
        """Whether an estimate given in full is known, its interval and n included."""
        return any(_same(f.value, value, f.slack) and f.in_(text) for f in self.facts)

    def unknown(self, text: str, context: str = "") -> list[str]:
        """The printed numbers of a text that nobody knows. `context` is what the text stands beside."""
        for reason in self.reasons:
            text = text.replace(reason, "")
        whole = f"{text} {context}"
        return [f"{p.text}{' %' if p.percent else ''}{_ends(p)} in “{_around(text, p)}”"
                for p in numbers(text) if not self.knows(p, whole)]  # fmt: skip

    def knows(self, p: Printed, text: str) -> bool:
        if len(p.text.partition(" ")[0].partition(".")[2]) > MOST_DIGITS:  # the arithmetic's, not the measurement's
            return False
        if p.interval:
            return any(p.is_(f.value.value) and p.within(f.value.low, f.value.high) and f.in_(text) for f in self.facts)
        if p.whole:
            before = re.search(r"\b(layer|head|position)s?(?: \d+)?(?: (?:and|to))?$", p.before)
            if before and before[1] in self.identifiers:
                return 0 <= p.value < self.identifiers[before[1]]
            words = p.after.split()[:5]
            if noun := next((w for w in map(singular, words) if w in NOUNS), None):
                if int(p.value) in self.counts.get(noun, ()):
                    return True
                return any(f.about and p.counts(f.value.value) and f.in_(text) for f in self.facts)
            if int(p.value) in self.counts.get("", ()):
                return True
        is_ = p.counts if p.whole else p.is_
        return any(f.value.low is None and is_(f.value.value) and f.in_(text) for f in self.facts)


def _same(known: Value, given: Value, slack: float) -> bool:
    """Equal to nine digits, and from as many replicates where it is said from how many."""
    if given.n is not None and known.n != given.n:
        return False
    return all(close(a, b, slack=max(slack, 1e-9)) for a, b in zip(known[:3], given[:3], strict=True))


def close(a: float | None, b: float | None, rel: float = 1e-9, slack: float = 1e-9) -> bool:
    if a is None or b is None:
        return a is b
    return a == b or (math.isfinite(a) and math.isfinite(b) and abs(a - b) <= max(rel * max(abs(a), abs(b)), slack))


def _ends(p: Printed) -> str:
    return f" [{p.interval[0][0]:g}, {p.interval[1][0]:g}]" if p.interval else ""


def _around(text: str, p: Printed) -> str:
    a, b = p.span
    return ("…" * (a > 45) + text[max(0, a - 45) : b + 45] + "…" * (b + 45 < len(text))).replace("\n", " ")
