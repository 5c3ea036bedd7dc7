"""One file an experiment, found by its name. Each offers

    QUESTION                       what it asks, with {facts} and {model}
    Params                         a frozen dataclass; the command line is made from it
    magnitudes(params, anatomy)    which (layer, kind) activations the plan matches controls by
    settled(params, anatomy)       -> Params       with what only a model says (optional)      pure
    asked(params, asked)           -> Asked        with more templates, or fewer (optional)      pure
    screen(params, material)       -> sweeps whose effects are estimated before the plan, as `material.estimates`
                                   (optional)      pure
    plan(params, material)         -> sweeps       pure; with their estimates, if any, as `Estimated`
    AMONG                          of so many noise draws a prompt the most central is kept (optional)
    topic(rows)                    what the rows are about, in words (optional)      pure
    further(params, anatomy, answers, arrays)
                                   -> sweeps that follow from what was answered, round after round, until none is new
                                   (optional; `answers` are all sweeps with their effects, `arrays` what the study
                                   keeps beside its plan)      pure
    annotated(params)              whether the operations of heads are scored and kept as arrays["operations"]
                                   (optional; judge, draw and export then take `arrays` too)
    judge(params, table)           -> Outcome      pure
    draw(params, table)            -> Drawing      pure data, no renderer imported
    export(params, table, arrays, model)
                                   -> the circuit that was found, as a file holds it (optional)      pure

and none imports torch or another experiment.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from lashley.core.errors import LashleyError


def names() -> list[str]:
    """Every experiment there is."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__))


def find(name: str) -> ModuleType:
    """The module of one experiment."""
    return importlib.import_module(f"{__name__}.{name}")


def at_least(least: int, **counts: int) -> None:
    """Refuse a parameter that is too small. Raises `LashleyError`."""
    for name, count in counts.items():
        if count < least:
            raise LashleyError(f"{name} {count} is too small; write {least} or more")
