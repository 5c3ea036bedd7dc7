"""Write what type checkers see of the experiments that ship, src/lashley/api/doors.pyi; `--check` only compares."""

from __future__ import annotations

import sys
from inspect import Parameter
from pathlib import Path

from lashley import experiments
from lashley.api import doors
from lashley.core.experiment import AnyExperiment
from lashley.core.parameters import typed

FILE = Path(__file__).parents[1] / "src/lashley/api/doors.pyi"
HEAD = '''"""The functions of the experiments that ship, as type checkers see them. Written by tools/doors.py."""

from collections.abc import Callable, Sequence
from inspect import Signature
from pathlib import Path
from typing import Any, Literal

from lashley.core.claim import Claim
from lashley.core.experiment import AnyExperiment
from lashley.core.site import Site
from lashley.engine.bench import Bench
{results}from lashley.study.study import Study

def ask(experiment: str, *given: Any, **words: Any) -> Study[Any]: ...
def door(experiment: AnyExperiment) -> Callable[..., Study[Any]]: ...
def signature(experiment: AnyExperiment) -> Signature: ...
'''


def declared() -> str:
    """The whole file."""
    found = [experiments.find(name) for name in experiments.names()]
    imports = [
        f"from {e.measure.__module__} import {name} as {e.name.title()}{name}\n" for e in found for name in results(e)
    ]
    functions = [declaration(e, " | ".join(e.name.title() + n for n in results(e)) or "Any") for e in found]
    return HEAD.format(results="".join(sorted(imports))) + "".join(functions)


def results(experiment: AnyExperiment) -> list[str]:
    """The structs that its `measure` is declared to make."""
    return [name for name in experiment.measure.__annotations__.get("return", "Any").split(" | ") if name != "Any"]


def declaration(experiment: AnyExperiment, result: str) -> str:
    """One function, a parameter a line."""
    lines, named = [], False
    for p in doors.signature(experiment).parameters.values():
        if p.kind is Parameter.KEYWORD_ONLY and not named and "*" not in "".join(lines):
            lines.append("*")
        named = named or p.kind is Parameter.KEYWORD_ONLY
        star = "*" * (p.kind is Parameter.VAR_POSITIONAL)
        usual = "" if p.default is Parameter.empty else f" = {p.default!r}".replace("'", '"')
        lines.append(f"{star}{p.name}: {typed(p.annotation)}{usual}".replace("'", '"'))
    return f"def {experiment.name}(\n" + "".join(f"    {line},\n" for line in lines) + f") -> Study[{result}]: ...\n"


if __name__ == "__main__":
    if sys.argv[1:] != ["--check"]:
        FILE.write_text(declared(), encoding="utf-8")
    elif FILE.read_text(encoding="utf-8") != declared():
        sys.exit(f"{FILE} is out of date; run python {sys.argv[0]}")
