"""The protocol of an experiment: what each file in `experiments/` offers, and what it may ask of a model.

    gather -> plan -> (measured; further -> measured) -> measure -> tell, draw

`measure` makes a frozen result of the measurements, numbers with their intervals; what is said and drawn follows from
it. `gather` alone touches a model, through a `Door`; all else is pure, and none of it needs torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

import numpy as np

from lashley.core.anatomy import Anatomy
from lashley.core.case import Case, Dossier, Estimated, Exclusion, Material
from lashley.core.claim import Topic
from lashley.core.outcome import Drawing, Outcome
from lashley.core.question import Asked, Question
from lashley.core.site import Kind
from lashley.core.trial import Sweep

if TYPE_CHECKING:
    import pandas as pd

Arrays = Mapping[str, Mapping[str, np.ndarray]]  # what a study keeps beside its plan, by name
Answers = Sequence[tuple[Sweep, np.ndarray]]  # sweeps with their effects, float64 [trials]; NaN: not answered yet

P = TypeVar("P")  # parameters: a frozen dataclass
M = TypeVar("M")  # what a plan is made from
R = TypeVar("R")  # its result: a frozen struct of numbers with their intervals, n and units


class Door(Protocol):
    """What an experiment may ask of a model before it plans. What is answered is kept, in case it is interrupted."""

    @property
    def anatomy(self) -> Anatomy: ...

    def pairs(
        self,
        asked: Sequence[Asked],
        *,
        corruption: str,
        draws: int,
        seed: int,
        magnitudes: Sequence[tuple[int, Kind]] = (),
        screen: Callable[[Material], Iterable[Sweep]] | None = None,
        among: int = 1,
    ) -> Material:
        """Clean and corrupt runs of the facts that the model knows; see `prompts.pairs.prepare`."""
        ...

    def dossiers(
        self,
        topics: Sequence[Topic],
        *,
        searched: bool,
        draws: int,
        others: int,
        corruption: str,
        unknown: bool,
        seed: int,
        chat: bool,
    ) -> list[Dossier]:
        """Of each topic what an audit is planned from; see `prompts.dossier.gather`."""
        ...

    def operations(self, cases: Sequence[Case], seed: int) -> Mapping[str, np.ndarray]:
        """What heads do, beside untrained copies; see `features.operations`."""
        ...


@dataclass(frozen=True)
class Gathered(Generic[M]):
    """What was asked of the model: what the plan is made from; the cases whose answers are known beforehand, what was
    left out, and arrays to be kept."""

    material: M
    cases: Sequence[Case]
    exclusions: tuple[Exclusion, ...]
    arrays: Arrays = field(default_factory=dict[str, Mapping[str, np.ndarray]])


@dataclass(frozen=True)
class Experiment(Generic[P, M, R]):
    """One experiment; its file in `experiments/` names it.

    `question` is what it asks, with {facts} and {model}. `Params` is a frozen dataclass, whose docstring documents each
    field: the command line and `lashley.NAME` are made from it. It is asked about "facts", by a `Question`, or about
    the "claims" of its parameters.
    """

    name: str
    about: str | None  # its module's docstring
    question: str
    Params: type[P]
    gather: Callable[[P, Question, Door], Gathered[M]]
    plan: Callable[[P, M], Iterable[Sweep | Estimated]]
    measure: Callable[[P, pd.DataFrame, Arrays], R]
    tell: Callable[[P, R], Outcome]
    draw: Callable[[P, R, pd.DataFrame], Drawing]
    topic: Callable[[P, pd.DataFrame], str] | None = None  # what some rows are about, in words; None: their facts
    asks: Literal["facts", "claims"] = "facts"
    settled: Callable[[P, Anatomy], P] = lambda params, anatomy: params  # with what only a model says
    further: Callable[[P, Anatomy, Answers, Arrays], Iterable[Sweep]] | None = None  # rounds, until none is new
    exports: Mapping[str, Callable[[P, R, str], bytes]] = field(  # by format; with the model's name
        default_factory=dict[str, Callable[[P, R, str], bytes]]
    )

    def __hash__(self) -> int:
        return hash(self.name)


AnyExperiment = Experiment[Any, Any, Any]
