"""A function for each experiment, made of its record once: every word of its question and of its parameters stands in
the signature, with its type and default, and in the docstring, with its meaning.

What a type checker sees of those that ship stands in `doors.pyi`; `python tools/doors.py` writes it.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Sequence
from functools import cache
from inspect import Parameter as Argument
from inspect import Signature
from typing import Any, get_args, get_origin

from lashley import api, experiments
from lashley.core import parameters
from lashley.core.errors import LashleyError
from lashley.core.experiment import AnyExperiment
from lashley.core.parameters import Parameter, meant, typed
from lashley.core.question import words
from lashley.core.site import Site
from lashley.study.study import Study

ASK: dict[str, Callable[..., Study]] = {"facts": api.about_facts, "claims": api.about_claims}
GIVEN = ("prompt", "claims")  # words that these take without a name


def __getattr__(name: str) -> Callable[..., Study]:
    if name not in experiments.names():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return door(experiments.find(name))


def ask(experiment: str, *given: Any, **words: Any) -> Study:
    """Run the experiment of that name: `ask("locate", bench, ...)` is `locate(bench, ...)`. Raises `LashleyError`."""
    if experiment not in (names := experiments.names()):
        raise LashleyError(f"no experiment {experiment!r}{meant(experiment, names)}; there are {', '.join(names)}")
    return door(experiments.find(experiment))(*given, **words)


@cache
def door(experiment: AnyExperiment) -> Callable[..., Study]:
    """What asks this experiment from Python."""
    ask = ASK[experiment.asks]
    taken = signature(experiment)
    names = [p.name for p in taken.parameters.values()]

    def asked(*given: Any, **named: Any) -> Study:
        for word in named:
            if word not in names:
                raise LashleyError(f"{experiment.name} has no {word}{meant(word, names)}; it takes {', '.join(names)}")
        return ask(experiment.name, *given, **named)

    asked.__name__ = asked.__qualname__ = experiment.name
    asked.__module__ = api.__name__
    asked.__doc__ = documented(experiment)
    asked.__annotations__ = {p.name: p.annotation for p in taken.parameters.values()} | {"return": Study}
    vars(asked)["__signature__"] = taken
    return asked


def taken_by(experiment: AnyExperiment) -> list[Parameter]:
    """The words beside those of `ask`: of the question, and of the experiment."""
    own = [p._replace(kind=_loose(p)) for p in parameters.parameters(experiment.Params) if p.name not in GIVEN]
    return [*(p for p in words(experiment.Params) if experiment.asks == "facts" and p.name not in GIVEN), *own]


def _loose(parameter: Parameter) -> Any:
    """What is taken for it: of several, a list too; of sites, also `Site`."""
    if (parameter.name, parameter.kind) == ("units", str):
        return str | Sequence[str | Site]
    return Sequence[get_args(parameter.kind)[0]] if get_origin(parameter.kind) is tuple else parameter.kind


def signature(experiment: AnyExperiment) -> Signature:
    """All that it takes from Python."""
    _, *common = inspect.signature(ASK[experiment.asks], eval_str=True).parameters.values()
    named = [Argument(p.name, Argument.KEYWORD_ONLY, default=p.usual, annotation=p.kind) for p in taken_by(experiment)]
    first = [p for p in common if p.kind in (Argument.POSITIONAL_OR_KEYWORD, Argument.VAR_POSITIONAL)]
    last = [p for p in common if p.kind is Argument.KEYWORD_ONLY]
    return Signature([*first, *named, *last], return_annotation=Study)


def documented(experiment: AnyExperiment) -> str:
    """What it does, and every parameter with its type, its default and its meaning."""
    told = parameters.meanings(ASK[experiment.asks].__doc__) | {p.name: p.meaning for p in taken_by(experiment)}
    lines = [inspect.cleandoc(experiment.about or ""), "", "Parameters", "----------"]
    for p in signature(experiment).parameters.values():
        star = "*" * (p.kind is Argument.VAR_POSITIONAL)
        usual = "" if p.default is Argument.empty else f", default {p.default!r}"
        lines.append(f"{star}{p.name} : {typed(p.annotation)}{usual}")
        lines += textwrap.wrap(told[p.name], 110, initial_indent="    ", subsequent_indent="    ")
    lines += ["", "Returns", "-------", "Study", "    Complete; `result` has its numbers, `table` every measurement."]
    lines += ["", "Raises", "------", "LashleyError", "    One line that says what is wrong, and what to do."]
    return "\n".join(lines)
