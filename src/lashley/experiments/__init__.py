"""One file an experiment, found by its name: each names an `EXPERIMENT` (see `core/experiment.py`).

None imports torch or another experiment.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol, TypeVar

from lashley.core.case import Material
from lashley.core.errors import LashleyError
from lashley.core.experiment import AnyExperiment, Door, Gathered
from lashley.core.question import Asked, Question
from lashley.core.site import Kind
from lashley.core.trial import Sweep
from lashley.facts.question import resolve_all


def names() -> list[str]:
    """Every experiment there is."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__))


def find(name: str) -> AnyExperiment:
    """The experiment of that name."""
    return importlib.import_module(f"{__name__}.{name}").EXPERIMENT


class Corrupted(Protocol):
    """Parameters of how the corrupted runs are made, which every experiment on facts has."""

    @property
    def corruption(self) -> str: ...

    @property
    def draws(self) -> int: ...


P = TypeVar("P", bound=Corrupted)


def pairs(
    params: P,
    question: Question,
    door: Door,
    *,
    asked: Callable[[P, Asked], Asked] = lambda params, asked: asked,
    magnitudes: Sequence[tuple[int, Kind]] = (),
    screen: Callable[[P, Material], Iterable[Sweep]] | None = None,
    among: int = 1,
) -> Gathered[Material]:
    """Clean and corrupt runs of what a question asks about: `asked` may add templates or facts to it, `magnitudes` are
    the activations that controls are matched by, `screen` the sweeps that are estimated, and of `among` noise draws a
    prompt the most central is kept. Raises `BadFact`, `BadPrompt` or `BadSite`."""
    material = door.pairs(
        [asked(params, one) for one in resolve_all(question, params.corruption)],
        corruption=params.corruption,
        draws=params.draws,
        seed=question.seed,
        magnitudes=magnitudes,
        screen=partial(screen, params) if screen else None,
        among=among,
    )
    return Gathered(material, material.cases, material.exclusions)


def at_least(least: int, **counts: int) -> None:
    """Refuse a parameter that is too small. Raises `LashleyError`."""
    for name, count in counts.items():
        if count < least:
            raise LashleyError(f"{name} {count} is too small; write {least} or more")
