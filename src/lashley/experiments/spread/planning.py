"""What counts as a unit, on which prompts is searched and on which confirmed, and the first round of measurements."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import msgspec
import numpy as np

from lashley.claims.topics import foils
from lashley.core.anatomy import Anatomy
from lashley.core.case import Case, Estimated, Material
from lashley.core.edit import Edit, Mean, Patch, Resample, Zero
from lashley.core.errors import BadSite
from lashley.core.experiment import Door, Gathered
from lashley.core.fact import Fact
from lashley.core.question import Asked, Question
from lashley.core.readout import Loss
from lashley.core.site import Kind, Sites
from lashley.core.trial import Sweep
from lashley.experiments import at_least, pairs
from lashley.experiments.spread.search import Effect, Units, doubling
from lashley.stats.inference import clipped
from lashley.stats.screening import SAMPLE

MAIN = "0"  # the question that is asked; others stand beside it
RANDOM, MATCHED = "random", "matched random"  # controls: any units of the kind; and of like layer and activation
CURVES = 4  # random sets a size, along the curve
KINDS_OF: dict[str, tuple[Kind, ...]] = {"layers": ("attn", "mlp"), "heads": ("head", "mlp"), "neurons": ("neuron",)}
AMONG = 5  # noise draws a prompt, of which the most central is kept
SEARCHED, CONFIRMED = (4, 2), (12, 4)  # prompts, at most: of what is asked about, and of each fact beside it
BESIDE = 96  # units that are searched for each of the other facts
UNITS = {"layers": "sub-layers", "heads": "heads and MLPs", "neurons": "neurons"}


@dataclass(frozen=True)
class Params:
    """What counts as a unit, and how far the search goes.

    Parameters
    ----------
    units
        "layers" (attention and MLP outputs), "heads" (and MLPs), "neurons", or single "weights".
    edit
        What a knockout puts in place of the activation: the "mean" of its role, "zero", or another fact's ("resample").
    screen
        Search among so many units, those of the largest effects by gradients; 0: among all.
    sample
        Units drawn at random from those that the screen left out, and measured too.
    beside
        Other facts of the relation, for the interference matrix.
    budget
        Joint trials that each proof by exhaustion may take.
    corruption
        How the corrupted run is made: "noise" on the subject's embeddings (damage 1 is recall lost), or "replace".
    draws
        Corruptions of each prompt.
    seed
        Seed of prompts, random sets and noise.
    """

    units: Literal["layers", "heads", "neurons", "weights"] = "neurons"
    edit: Literal["mean", "zero", "resample"] = "mean"
    screen: int = 512
    sample: int = 128
    beside: int = 3
    budget: int = 500
    corruption: Literal["noise", "replace"] = "noise"
    draws: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(1, draws=self.draws)
        at_least(0, screen=self.screen, sample=self.sample, beside=self.beside, budget=self.budget)


def gather(params: Params, question: Question, door: Door) -> Gathered[Material]:
    """The pairs, other facts beside, and activations of every unit, to match random sets by: these are kept for later
    rounds, [units] by "LAYER KIND". Raises `BadSite` where the model has no such units."""
    anatomy, kinds = door.anatomy, KINDS_OF.get(params.units, ())
    for kind in kinds:
        if not anatomy.units(kind):
            raise BadSite(f"{anatomy.family} has no {kind} sites; choose --units layers or heads")
    where: list[tuple[int, Kind]] = [(layer, kind) for layer in range(anatomy.layers) for kind in kinds]
    found = pairs(params, question, door, asked=asked, magnitudes=where, screen=screen, among=AMONG)
    kept = {f"{layer} {kind}": x for (layer, kind), x in found.material.magnitudes.items()}
    return replace(found, arrays={"magnitudes": kept})


def asked(params: Params, asked: Asked) -> Asked:
    """One fact with others of its relation beside it; a whole relation as it is."""
    relation, (first, *more) = asked.relation, asked.facts
    if more or not params.beside or relation.name == "prompt":
        return asked
    others = [f for f in relation.facts() if f.subject != first.subject and f.object != first.object]
    chosen = random.Random(f"beside {params.seed} {first}").sample(others, min(params.beside + 2, len(others)))
    own = asked.foils | {f.subject: foils(relation, f, params.seed) for f in chosen}
    return Asked(relation, (first, *chosen), asked.templates, own, beside=len(chosen))


class Prompts(msgspec.Struct, frozen=True):
    """One fact or relation: numbers of the cases it is searched on, and of those that confirm."""

    searched: tuple[int, ...]
    confirmed: tuple[int, ...]


def questions(params: Params, material: Material) -> list[Prompts]:
    """What is asked about first, and a few of the known facts beside it. Prompts of one fact are divided by template,
    those of a relation by subject."""
    own: list[int] = []
    beside: dict[Fact, list[int]] = {}
    for i, case in enumerate(material.cases):
        if case.fact in material.facts:
            own.append(i)
        else:
            beside.setdefault(case.fact, []).append(i)
    groups = [own, *list(beside.values())[: params.beside]]
    return [_divided(material.cases, group, bool(i), f"{params.seed}") for i, group in enumerate(groups)]


def _divided(cases: Sequence[Case], group: Sequence[int], beside: bool, seed: str) -> Prompts:
    many = len({cases[i].fact for i in group}) > 1
    key = {i: cases[i].fact.subject if many else cases[i].template.text for i in group}
    words = list(dict.fromkeys(key.values()))
    searched = set(words[:: 2 if many else 4])
    apart = len(words) > 1
    return Prompts(
        _drawn([i for i in group if key[i] in searched], SEARCHED[beside], seed),
        _drawn([i for i in group if key[i] not in searched or not apart], CONFIRMED[beside], seed),
    )


def _drawn(numbers: Sequence[int], most: int, seed: str) -> tuple[int, ...]:
    return tuple(sorted(random.Random(seed).sample(numbers, min(most, len(numbers)))))


def screen(params: Params, material: Material) -> Iterable[Sweep]:
    """Knockout and restoration of every unit, on the prompts that are searched."""
    every = units_of(params, material.anatomy)
    if params.units != "weights" and _screened(params, every):
        for i in (i for q in questions(params, material) for i in q.searched):
            for effect in ("damage", "restoration"):
                yield _sweep(params, material, material.cases[i], effect, every)


def units_of(params: Params, anatomy: Anatomy) -> Sites:
    """Every unit, a trial each."""
    tables = [anatomy.every(kind).table for kind in KINDS_OF.get(params.units, ())]
    return Sites.pack(*np.concatenate(tables, 1)) if tables else Sites.of(())


def _screened(params: Params, every: Sites) -> bool:
    return 0 < params.screen < len(every)


def plan(params: Params, material: Material) -> Iterator[Sweep | Estimated]:
    """The first round: every unit searched, alone; a sample of the others; and random sets on all other prompts."""
    every = units_of(params, material.anatomy)
    estimates = iter(material.estimates)
    for turn, question in enumerate(questions(params, material)):
        label = {"question": str(turn), "population": str(len(every))}
        units, left = np.arange(len(every)), np.empty(0, int)
        guesses: dict[int, dict[str, np.ndarray]] = {}
        if _screened(params, every):
            guesses = {i: {e: next(estimates) for e in ("damage", "restoration")} for i in question.searched}
            units, left = _chosen(params, material, guesses, BESIDE if turn else params.screen)
        for i in question.searched:
            case = material.cases[i]
            for effect in ("damage", "restoration"):
                sweep = _sweep(params, material, case, effect, taken(every, units), measure="alone", **label)
                yield Estimated(sweep, guesses[i][effect][units]) if guesses else sweep
            if len(left) and not turn:
                words = {**label, "control": SAMPLE}
                sweep = _sweep(params, material, case, "damage", taken(every, left), measure="alone", **words)
                yield Estimated(sweep, guesses[i]["damage"][left])
        sizes = (1,) if turn else doubling(len(units))
        sets = drawn(sizes, 1 if turn else CURVES, len(every), f"random {params.seed}")
        for i in question.confirmed:
            words = {**label, "group": "confirm", "measure": "curve", "control": RANDOM}
            yield _sweep(params, material, material.cases[i], "damage", joined(every, sets), **words)
    one = joined(every, drawn((1,), 1, len(every), f"text {params.seed}"))
    for run in material.texts:
        labels = {"question": MAIN, "group": "text", "measure": "curve", "control": RANDOM}
        yield Sweep(run, None, "damage", (_mean(material),), one, Loss(), labels)


def _chosen(
    params: Params, material: Material, guesses: Mapping[int, Mapping[str, np.ndarray]], most: int
) -> tuple[np.ndarray, np.ndarray]:
    """By turns the units of the largest damage, of the largest restoration, and of the largest change whatever its sign
    (one that cancels another's disturbance is needed, though to first order it looks harmful), by their estimates, of
    which no prompt's counts for more than all of the recall: a slope may be wild at a noisy run; and a sample of the
    others."""
    damage = np.mean([clipped(-g["damage"] / material.gaps[i]) for i, g in guesses.items()], axis=0)
    restored = np.mean([clipped(g["restoration"] / material.gaps[i]) for i, g in guesses.items()], axis=0)
    turns = np.stack([np.argsort(-x, kind="stable") for x in (damage, restored, np.abs(damage))], 1).ravel()
    chosen = np.array(list(dict.fromkeys(turns.tolist()))[:most])
    left = np.setdiff1d(np.arange(len(damage)), chosen)
    drawn = random.Random(f"sample {params.seed}").sample(left.tolist(), min(params.sample, len(left)))
    return np.sort(chosen), np.array(sorted(drawn), int)


def _sweep(
    params: Params, material: Material, case: Case, effect: Effect, sites: Sites, *, group: str = "search", **words: str
) -> Sweep:
    edit: Edit = Patch(case.clean)
    if effect == "damage":
        edit = Zero() if params.edit == "zero" else _mean(material)
        edit = Resample(case.other) if params.edit == "resample" else edit
    labels = case.labels(group=group, **words)
    return Sweep(case.clean, case.corrupt, effect, (edit,), sites, case.readout, labels)


def _mean(material: Material) -> Mean:
    return Mean(material.reference)


def name(effect: Effect, tau: float) -> str:
    """`k_n(0.5)`: the smallest set whose knockout costs half; `k_s(0.5)`: whose restoration brings half back."""
    return f"k_{'n' if effect == 'damage' else 's'}({tau:g})"


def taken(units: Sites, numbers: np.ndarray) -> Sites:
    """Some of a table of single units."""
    return Sites.pack(*units.table[:, numbers])


def joined(units: Sites, sets: Sequence[Sequence[int]]) -> Sites:
    """Sets of units, given by their numbers in a table of single ones."""
    flat = np.fromiter((u for s in sets for u in s), np.int64)
    return Sites.pack(*units.table[:, flat], sizes=[len(s) for s in sets])


def drawn(sizes: Sequence[int], draws: int, units: int, seed: str) -> list[Units]:
    """`draws` random sets of each size."""
    rng = random.Random(seed)
    return [tuple(rng.sample(range(units), k)) for k in sizes for _ in range(draws)]
