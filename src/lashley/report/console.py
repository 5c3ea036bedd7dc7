"""Where words leave for a terminal: nothing steers it but what we mean to, and what it cannot show is spelt out."""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from lashley.core.visible import visible

LAYOUT = "\n\t"  # what a terminal may get of the unseen
_LIKE = {
    "-": "–—−─━╸╺",
    "'": "‘’",
    '"': "“”„",
    ".": "…·",
    "*": "•",
    "x": "×✗",
    "v": "✓",
    "|": "│┃",
    ">=": "≥",
    "<=": "≤",
    "->": "→",
    "<-": "←",
    "#": "█▏▎▍▌▋▊▉",
    "+": "┼╇┏┓┗┛┡┩└┘┌┐├┤┬┴",
}
_PLAIN = str.maketrans({character: like for like, characters in _LIKE.items() for character in characters})


class Console(rich.console.Console):
    """A console of rich's that shows unseen characters of what it is given, and takes no text for markup."""

    def __init__(self, **options: Any):
        super().__init__(markup=False, emoji=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        if isinstance(renderable, Text) and (seen := visible(renderable.plain, LAYOUT)) != renderable.plain:
            renderable = renderable.copy()
            renderable.plain = seen  # before it is wrapped, so that lines are no longer than they should be
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(visible(text, LAYOUT), style)

    def on_broken_pipe(self) -> None:
        raise


def say(text: object, *, error: bool = False) -> None:
    """A line on standard output, or standard error."""
    print(visible(str(text), LAYOUT), file=sys.stderr if error else sys.stdout)


def say_json(data: bytes) -> None:
    """JSON on standard output, in UTF-8 whatever the terminal speaks; it escapes what steers one, but for a few."""
    escaped = re.sub(rb"\x7f|\xc2[\x80-\x9f]", lambda c: b"\\u%04x" % c[0][-1], data)
    sys.stdout.flush()
    sys.stdout.buffer.write(escaped.removesuffix(b"\n") + b"\n")
    sys.stdout.buffer.flush()


def _spelt(error: UnicodeError) -> tuple[str, int]:
    """For a terminal that lacks a character: one like it, or its number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", "backslashreplace").decode(), error.end


codecs.register_error("lashley", _spelt)


def spelt_out() -> None:
    """Let standard output and error never fail for a character that they lack."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):
            stream.reconfigure(errors="lashley")  # pyright: ignore[reportAttributeAccessIssue]
