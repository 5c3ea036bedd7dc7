"""What a study is: the question, the model, and everything that was fixed before anything was measured."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from lashley.core.errors import StudyConflict
from lashley.core.files import replacing
from lashley.core.trouble import explained

SCHEMA = 1
_ABSENT = msgspec.UNSET

Usual = Mapping[str, Mapping[str, Any]]  # of "question" and "params", the values that they have by default
NOTHING: Usual = MappingProxyType({})


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Spec(msgspec.Struct, frozen=True):
    """The frozen heading of a study, as it stands in `spec.json`.

    `model` holds `name`, `weights` and `tokenizer` (hashes), `family`, `dtype`, `device` and the anatomy.
    `versions` holds those of lashley, torch, transformers, python and platform. `created` is ISO 8601, UTC.
    """

    experiment: str
    params: dict[str, Any]
    question: dict[str, Any]
    model: dict[str, Any]
    versions: dict[str, str]
    command: str
    created: str = msgspec.field(default_factory=_now)
    schema: int = SCHEMA

    def identity(self, usual: Usual = NOTHING) -> dict[str, Any]:
        """What makes two studies the same one, as plain JSON data; names, devices and versions may differ. What is
        recorded of neither question nor parameters is as `usual`."""
        model = {part: self.model.get(part) for part in ("weights", "tokenizer", "dtype")}
        whole = {
            "experiment": self.experiment,
            "model": model,
            "question": {**usual.get("question", {}), **self.question},
            "params": {**usual.get("params", {}), **self.params},
        }
        return msgspec.json.decode(msgspec.json.encode(whole))


def difference(made: Spec, now: Spec, usual: Usual = NOTHING) -> str | None:
    """The first thing that sets two studies apart, or None. A parameter that one of them lacks, since its lashley did
    not have it, is as `usual`.

    >>> made = Spec("locate", {"edit": "zero"}, {}, {}, {}, "")
    >>> difference(made, Spec("locate", {"edit": "mean"}, {}, {}, {}, ""))
    "params.edit = 'zero', now 'mean'"
    """
    return _first(made.identity(usual), now.identity(usual), "")


def _first(made: Any, now: Any, at: str) -> str | None:
    if isinstance(made, dict) and isinstance(now, dict):
        parts = ((f"{at}.{k}".lstrip("."), made.get(k, _ABSENT), now.get(k, _ABSENT)) for k in made | now)
        return next((line for name, a, b in parts if (line := _first(a, b, name))), None)
    if type(made) is type(now) and isinstance(made, list) and len(made) == len(now):
        parts = ((f"{at}[{i}]", a, b) for i, (a, b) in enumerate(zip(made, now, strict=True)))
        return next((line for name, a, b in parts if (line := _first(a, b, name))), None)
    if made == now and isinstance(made, bool) == isinstance(now, bool):
        return None
    return f"{at} = {_short(made)}, now {_short(now)}"


def _short(value: Any) -> str:
    text = "nothing" if value is _ABSENT else repr(value)
    return text if len(text) <= 60 else f"{text[:45]}…{text[-14:]}"


def read(path: Path) -> tuple[Spec, bytes]:
    """The spec in a `spec.json`, and its bytes. Raises `BrokenStudy`, or `StudyConflict` where it is of a newer
    lashley."""
    with explained(path):
        data = path.read_bytes()
        schema = msgspec.json.decode(data, type=_Schema).schema
        if schema > SCHEMA:
            raise StudyConflict(
                f"{path} has schema {schema}, and this lashley knows {SCHEMA}; update lashley to open it"
            )
        return msgspec.json.decode(data, type=Spec), data


def write(path: Path, spec: Spec) -> None:
    """Write a `spec.json` for people to read: whole, or not at all."""
    with replacing(path) as draft:
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(spec), indent=2) + b"\n")


class _Schema(msgspec.Struct):
    schema: int = SCHEMA
