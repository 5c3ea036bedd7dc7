"""Which units are knocked out, on which prompts: every unit alone, on every template x context x corruption draw."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from lashley.core.case import Material
from lashley.core.edit import Mean, Resample, Zero
from lashley.core.experiment import Door, Gathered
from lashley.core.question import Asked, Question
from lashley.core.site import KINDS, Kind, Site, Sites
from lashley.core.trial import Sweep
from lashley.experiments import at_least, pairs
from lashley.facts.contexts import with_contexts

KIND_OF: dict[str, tuple[Kind, ...]] = {"layers": ("attn", "mlp"), "heads": ("head",), "neurons": ("neuron",)}


@dataclass(frozen=True)
class Params:
    """Which units are knocked out, on which prompts.

    Parameters
    ----------
    units
        "layers" (every attention and MLP output), "heads", or "neurons": each alone, at all positions.
    edit
        What replaces the activation: "zero", the "mean" of its role, or another fact's ("resample").
    top
        The strongest so many units are compared as a set; at most half of all.
    contexts
        Prompts of each kind of context: unrelated text, distractor facts, another register or language, few-shot.
    templates
        Ask in so many of the templates, drawn at random; 0: all.
    corruption
        How the corrupted run, which is damage 1, is made: "replace" the subject, or "noise" on its embeddings.
    draws
        Corruptions of each prompt: other foils, or other noise.
    seed
        Seed of contexts, templates and noise.
    """

    units: Literal["layers", "heads", "neurons"] = "layers"
    edit: Literal["zero", "mean", "resample"] = "mean"
    top: int = 10
    contexts: int = 2
    templates: int = 0
    corruption: Literal["replace", "noise"] = "replace"
    draws: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(1, top=self.top, draws=self.draws)
        at_least(0, contexts=self.contexts, templates=self.templates)


def asked(params: Params, asked: Asked) -> Asked:
    """The question with its templates drawn, its contexts added, and the same foils tried first on every prompt, so
    that prompts can differ in one thing only."""
    if 0 < params.templates < len(asked.templates):
        some = random.Random(f"templates {params.seed}").sample(range(len(asked.templates)), params.templates)
        asked = msgspec.structs.replace(asked, templates=tuple(asked.templates[i] for i in sorted(some)))
    asked = with_contexts(asked, params.seed, params.contexts) if params.contexts else asked
    turns = params.draws * len(asked.templates)  # each prompt begins later in its list of foils: all at the first
    return msgspec.structs.replace(asked, foils={s: (*f[:1] * turns, *f[1:]) for s, f in asked.foils.items()})


def gather(params: Params, question: Question, door: Door) -> Gathered[Material]:
    """The pairs, in more templates and contexts. Raises `BadSite` where the model has no such units."""
    for kind in KIND_OF[params.units]:
        door.anatomy.check(Site(0, kind))
    return pairs(params, question, door, asked=asked)


def plan(params: Params, material: Material) -> Iterable[Sweep]:
    """Every unit, one by one, of every case."""
    anatomy = material.anatomy
    every = np.array(
        [
            (layer, KINDS.index(kind), unit if kind in ("head", "neuron") else -1)
            for kind in KIND_OF[params.units]
            for layer in range(anatomy.layers)
            for unit in range(anatomy.units(kind))
        ]
    )
    sites = Sites.pack(*every.T)
    for case in material.cases:
        edits = {"zero": Zero(), "mean": Mean(material.reference)}
        edit = Resample(case.other) if params.edit == "resample" else edits[params.edit]
        yield Sweep(case.clean, case.corrupt, "damage", (edit,), sites, case.readout, case.labels())
