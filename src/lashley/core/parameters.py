"""What a dataclass or a struct of parameters takes: of each its type, its default, and its meaning, which its docstring
has under `Parameters`. The command line and the signatures of Python are made of it."""

from __future__ import annotations

import difflib
import inspect
import re
import types
import typing
from collections.abc import Iterable
from typing import Any, NamedTuple


class Parameter(NamedTuple):
    """One of them."""

    name: str
    kind: Any  # its type
    usual: Any  # its default
    meaning: str  # in one line


def parameters(kind: type) -> tuple[Parameter, ...]:
    """Every parameter of a dataclass or struct in which all have defaults, in order."""
    usual, told = kind(), meanings(kind.__doc__)
    hints = typing.get_type_hints(kind)
    return tuple(Parameter(name, hint, getattr(usual, name), told.get(name, "")) for name, hint in hints.items())


def meanings(doc: str | None) -> dict[str, str]:
    """What the `Parameters` of a docstring say, each in one line.

    >>> meanings("Two.\\n\\nParameters\\n----------\\nat\\n    Where: one role,\\n    or all.\\nseed\\n    A draw.")
    {'at': 'Where: one role, or all.', 'seed': 'A draw.'}
    """
    *_, told = inspect.cleandoc(doc or "").partition("Parameters\n----------\n")
    found = re.findall(r"^(\w+)\n((?:[ ]{4}.*(?:\n|$))+)", told, re.MULTILINE)
    return {name: " ".join(lines.split()) for name, lines in found}


def meant(word: str, names: Iterable[str]) -> str:
    """What is near to a word that is none of the names, in brackets; or nothing.

    >>> meant("unit", ["units", "edit"]), meant("colour", ["units"])
    (" (did you mean 'units'?)", '')
    """
    near = difflib.get_close_matches(word[:60], list(names), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def typed(kind: Any) -> str:
    """A type as it is written.

    >>> typed(typing.Literal["heads", "layers"] | None)
    "Literal['heads', 'layers'] | None"
    """
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " | ".join("None" if each is types.NoneType else typed(each) for each in typing.get_args(kind))
    shown = inspect.formatannotation(kind).replace("typing.", "")
    return re.sub(r"\b(?:collections\.abc|pathlib|lashley(?:\.\w+)+)\.(?=[A-Z])", "", shown)
