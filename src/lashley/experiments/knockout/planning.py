"""What is knocked out: parameters, what is asked of the model beforehand, and the plan."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lashley.core.anatomy import Anatomy
from lashley.core.case import Case, Estimated, Material
from lashley.core.edit import Edit, Mean, Noise, Resample, Zero
from lashley.core.errors import BadSite
from lashley.core.experiment import Door, Gathered
from lashley.core.figure import number
from lashley.core.placed import placed
from lashley.core.question import Question
from lashley.core.site import ROLES, Kind, Site, Sites, parse_sites
from lashley.core.trial import Sweep
from lashley.experiments import at_least, pairs
from lashley.stats.peers import matched
from lashley.stats.screening import SAMPLE

KIND_OF: dict[str, tuple[Kind, ...]] = {"layers": ("attn", "mlp"), "heads": ("head",), "neurons": ("neuron",)}
RANDOM = "matched random"


@dataclass(frozen=True)
class Params:
    """What is knocked out, how, and where.

    Parameters
    ----------
    units
        "layers" (every attention and MLP output), "heads", "neurons" (every one), or sites: "L4.mlp.n173+L5.mlp.n2",
        "L7.attn.h*", "L3.mlp.n1-20" (see: lashley claims).
    edit
        What replaces the activation: "zero", the "mean" of its role, another fact's ("resample"), or "noise".
    at
        Where: "all" positions, or a role such as "subject_last". Sites with their own @ keep it.
    controls
        Matched random sets (same layers and kinds, nearest mean activation) beside a named set.
    corruption
        How the corrupted run, which is damage 1, is made: "replace" the subject, or "noise" on its embeddings.
    draws
        Corruptions of each prompt: other foils, or other noise.
    seed
        Seed of random sets, samples and noise.
    screen
        Measure only so many of the units exactly, those of the largest damage by gradients; 0: all.
    sample
        Units drawn at random from those that the screen left out, and measured too.
    """

    units: str = "layers"
    edit: Literal["zero", "mean", "resample", "noise"] = "mean"
    at: str = "all"
    controls: int = 20
    corruption: Literal["replace", "noise"] = "replace"
    draws: int = 1
    seed: int = 0
    screen: int = 0
    sample: int = 128

    def __post_init__(self) -> None:
        at_least(1, draws=self.draws)
        at_least(0, controls=self.controls, screen=self.screen, sample=self.sample)
        if self.screen and self.units not in KIND_OF:
            raise BadSite(f"a screen chooses among all {', '.join(KIND_OF)}, not among {self.units!r}; leave one out")


def named(params: Params, anatomy: Anatomy) -> tuple[Site, ...]:
    """The named set, checked, or () for a whole kind. Raises `BadSite`."""
    if params.at != "all" and params.at not in (*ROLES, "subject"):
        raise BadSite(f"--at {params.at!r}: write all, subject, {', '.join(ROLES)}")
    if params.units in KIND_OF:
        for kind in KIND_OF[params.units]:
            anatomy.check(Site(0, kind))
        return ()
    if "." not in params.units:
        raise BadSite(f"--units {params.units!r}: write {', '.join(KIND_OF)}, or sites as L4.mlp.n173+L5.mlp.n2")
    for site in parse_sites(params.units, anatomy):
        anatomy.check(site)
    return sites_of(params, anatomy)


def sites_of(params: Params, anatomy: Anatomy | None = None) -> tuple[Site, ...]:
    """The sites of a named set where they are knocked out, each once."""
    return tuple(dict.fromkeys(_at(params, site) for site in parse_sites(params.units, anatomy)))


def settled(params: Params, anatomy: Anatomy) -> Params:
    """The same with all that the model has in place of a `*`: a study is read without its model. Raises `BadSite`."""
    if "*" not in params.units:
        return params
    return replace(params, units="+".join(map(str, parse_sites(params.units, anatomy))))


def gather(params: Params, question: Question, door: Door) -> Gathered[Material]:
    """The pairs, and the activations in the layers of the named heads and neurons. Raises `BadSite`."""
    sites = named(params, door.anatomy)
    where: list[tuple[int, Kind]] = sorted({(s.layer, s.kind) for s in sites if s.unit is not None})
    return pairs(params, question, door, magnitudes=where, screen=screen)


def screen(params: Params, material: Material) -> Iterable[Sweep]:
    """Every unit of every case, where units are to be screened."""
    if params.screen:
        yield from (_sweep(params, material, *each, "") for each in _whole(params, material))


def plan(params: Params, material: Material) -> Iterable[Sweep | Estimated]:
    """One sweep a case; for a named set, its sites one by one and together, then as many random sets; after a
    screen, the units that it chose and a sample of the others."""
    chosen = named(params, material.anatomy)
    if chosen:
        for number_, case in enumerate(material.cases):
            every = placed(case.clean, [*((s,) for s in chosen), chosen])
            yield _sweep(params, material, number_, every, "")
            if random_sets := _random(params, material, chosen):
                yield _sweep(params, material, number_, placed(case.clean, random_sets), RANDOM)
    elif params.screen:
        yield from _screened(params, material)
    else:
        yield from (_sweep(params, material, *each, "") for each in _whole(params, material))


def _random(params: Params, material: Material, chosen: tuple[Site, ...]) -> list[tuple[Site, ...]]:
    if any(s.unit is None for s in chosen):
        return []
    return matched(chosen, material.magnitudes, params.controls, f"{params.seed} {params.units}")


def _screened(params: Params, material: Material) -> Iterator[Estimated]:
    """The units of the largest mean damage by their estimates, and a sample of the others, the same in every case."""
    shares = [estimated / gap for estimated, gap in zip(material.estimates, material.gaps, strict=True)]
    size = np.abs(np.mean(shares, axis=0))
    order = np.argsort(-np.where(np.isfinite(size), size, np.inf), kind="stable")
    rest = order[params.screen :].tolist()
    drawn = random.Random(f"screen {params.seed}").sample(rest, min(params.sample, len(rest)))
    for number_, sites in _whole(params, material):
        for units, control in ((order[: params.screen], ""), (np.array(drawn, int), SAMPLE)):
            if len(units):
                units = np.sort(units)
                some = _taken(sites, units)
                sweep = _sweep(params, material, number_, some, control, population=str(len(sites)))
                yield Estimated(sweep, material.estimates[number_][units])


def _taken(sites: Sites, trials: np.ndarray) -> Sites:
    """The sets of some trials, given in order."""
    sizes = np.diff(sites.bounds)
    chosen = np.isin(np.arange(len(sites)), trials)
    return Sites.pack(*sites.table[:, np.repeat(chosen, sizes)], sizes=sizes[trials])


def _whole(params: Params, material: Material) -> Iterator[tuple[int, Sites]]:
    """Every unit, of every case."""
    position = None if params.at == "all" else params.at
    every = [
        (Site(layer, kind, unit if kind in ("head", "neuron") else None, position),)
        for kind in KIND_OF[params.units]
        for layer in range(material.anatomy.layers)
        for unit in range(material.anatomy.units(kind))
    ]
    made: dict[tuple[Site, ...], Sites] = {}  # one table for all cases where the role has the same place
    for number_, case in enumerate(material.cases):
        place = case.clean.resolve(every[0][0])
        if place not in made:
            made[place] = placed(case.clean, every)
        yield number_, made[place]


def _sweep(params: Params, material: Material, number_: int, sites: Sites, control: str, **labels: str) -> Sweep:
    case = material.cases[number_]
    return Sweep(
        clean=case.clean,
        corrupt=case.corrupt,
        effect="damage",
        edits=(_edit(params, material, case, number_),),
        sites=sites,
        readout=case.readout,
        labels=case.labels(control=control, **labels),
    )


def _edit(params: Params, material: Material, case: Case, draw: int) -> Edit:
    match params.edit:
        case "zero":
            return Zero()
        case "mean":
            return Mean(material.reference)
        case "resample":
            return Resample(case.other)
        case "noise":
            return Noise(material.reference, params.seed * 10_007 + draw)


def _at(params: Params, site: Site) -> Site:
    if site.position is not None or params.at == "all":
        return site
    return Site(site.layer, site.kind, site.unit, params.at)


def joined(params: Params) -> str:
    """A named set in words."""
    sites = sites_of(params)
    return "+".join(map(str, sites)) if len(sites) <= 3 else f"the {number(len(sites))} named sites together"


def where(params: Params) -> str:
    """The positions, in words."""
    return "all positions" if params.at == "all" else f"the role {params.at}"


def word(params: Params) -> str:
    """The plural of a whole kind's units."""
    return "sub-layers" if params.units == "layers" else params.units
