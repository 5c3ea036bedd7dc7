r"""Text that can be shown anywhere: what steers a terminal, kills a renderer or turns a line around is written out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, cast

_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # controls
    "\u2028-\u202e\u2066-\u2069"  # line separators, and what overrides the direction of text
    "\ud800-\udfff\ufdd0-\ufdef"  # unpaired surrogates, and what is no character
    + "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
    + "]"
)


def visible(text: str, keep: str = "") -> str:
    r"""The text with unseen characters as a Python string has them; those to `keep` stay.

    >>> visible("a\x1b[2J\n\ufffe"), visible("a\nb\x07", keep="\n")
    ('a\\x1b[2J\\n\\ufffe', 'a\nb\\x07')
    """
    return _UNSEEN.sub(lambda c: c[0] if c[0] in keep else c[0].encode("unicode_escape").decode(), text)


def everywhere(value: Any, change: Callable[[str], str] = visible) -> Any:
    """Plain data (lists, tuples, dicts and their keys) with every string of it made visible, or changed otherwise."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        pairs = cast("dict[Any, Any]", value).items()
        return {everywhere(key, change): everywhere(held, change) for key, held in pairs}
    if isinstance(value, list | tuple):
        return [everywhere(held, change) for held in cast("Sequence[Any]", value)]
    return value
