"""What to type for a study, made from its typed parameters alone."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields
from typing import Any, cast

import msgspec

USUAL = {"model": "embedded", "dtype": "float32", "device": "cpu", "memory": "512MiB"}
BARE = ("prompt", "claims")  # words that are typed without an option


def command(
    experiment: str, params: Any, question: Any, *, study: str | os.PathLike[str] | None = None, **on: str
) -> str:
    """The words of which the command line makes this experiment, these `params` (a dataclass) and this `question` (a
    struct), in the folder `study` where one is given, `on` a model with its dtype, device and memory. What is as usual
    is left out.

    >>> from lashley.core.question import Question
    >>> from lashley.experiments.circuit import Params
    >>> command("circuit", Params(operations=False), Question("{} is", subject="-x"), model="gemma3-270m")
    "lashley circuit '{} is' --subject=-x --no-operations --model gemma3-270m"
    """
    bare: list[str] = []
    typed: list[str] = []
    for name, value in (*_asked(question, params), *_chosen(params)):
        if name in BARE:
            bare += [value] if isinstance(value, str) else value
        else:
            typed += _option(name, value)
    for name, value in {**on, "study": study}.items():
        if value is not None and value != USUAL.get(name):
            typed += _option(name, os.fspath(value))
    words = ["--", *bare] if any(word.startswith("-") for word in bare) else bare
    told = [*typed, *words] if words[:1] == ["--"] else [*words, *typed]
    return shlex.join(["lashley", experiment, *map(_utf8, told)])


def _asked(question: Any, params: Any) -> Iterator[tuple[str, Any]]:
    """What is asked; its seed where it is another than the one of the parameters."""
    own = {f.name: getattr(params, f.name) for f in fields(params)}
    usual = {f.name: f.default for f in msgspec.structs.fields(question)}
    names: dict[str, str] = {}
    if "seed" in own and "claims" not in own:  # claims name their facts: none are drawn by the question's seed
        usual["seed"], names["seed"] = own["seed"], "question_seed"
    for name, default in usual.items():
        if (value := getattr(question, name)) != default:
            yield names.get(name, name), value


def _chosen(params: Any) -> Iterator[tuple[str, Any]]:
    for f in fields(params):
        default = f.default if f.default_factory is MISSING else f.default_factory()
        if (value := getattr(params, f.name)) != default:
            yield f.name, value


def _option(name: str, value: Any) -> list[str]:
    """An option with its value; a list is the option again for each."""
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{option}" if value else f"--no-{option}"]
    if isinstance(value, tuple | list):
        return [word for each in cast("Sequence[Any]", value) for word in _option(name, each)] or [f"--empty-{option}"]
    text = str(value)
    return [f"--{option}={text}"] if text.startswith("-") or not text else [f"--{option}", text]


def _utf8(word: str) -> str:
    """A word with bytes that are not UTF-8 spelt out."""
    return word.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
