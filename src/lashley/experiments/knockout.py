"""What does recall need? Units are knocked out one at a time, or as a named set, and the damage is read.

D = (LD_clean - LD_edited) / (LD_clean - LD_corrupt). Zero ablation alone is never evidence: it takes the model
off its data and makes decoys look necessary (Li & Janson 2409.09951); compare with mean and resample.

Many units can be screened: gradients estimate every one's damage, the highest are measured exactly, and a random
sample of the others tells what the screen may have missed.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec
import numpy as np

from lashley.core.anatomy import Anatomy
from lashley.core.case import Case, Estimated, Material
from lashley.core.edit import Edit, Mean, Noise, Resample, Zero
from lashley.core.errors import BadSite
from lashley.core.experiment import Arrays, Door, Experiment, Gathered
from lashley.core.figure import Column, Control, Estimate, Finding, Table, number, plural
from lashley.core.outcome import Drawing, Outcome
from lashley.core.question import Question
from lashley.core.site import ROLES, Kind, Site, Sites, parse_sites
from lashley.core.trial import Sweep
from lashley.experiments import at_least, pairs, unsplit
from lashley.report.charts import DAMAGE, bars, heat, ranks, scatter, table_of
from lashley.stats.inference import participation, permutation
from lashley.stats.peers import different, matched, placed
from lashley.stats.screening import BIG, SAMPLE, Screening, screening
from lashley.stats.summary import (
    against,
    cells,
    estimate,
    facts,
    floor,
    measured,
    percent,
    ranged,
    readings,
    resting,
    share,
)

if TYPE_CHECKING:
    import pandas as pd

QUESTION = "What does {model} need in order to recall {facts}?"
KIND_OF: dict[str, tuple[Kind, ...]] = {"layers": ("attn", "mlp"), "heads": ("head",), "neurons": ("neuron",)}
RANDOM = "matched random"
DECIDE = 19  # random sets without which no p is 0.05 or less


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
    return _named(params, anatomy)


def _named(params: Params, anatomy: Anatomy | None = None) -> tuple[Site, ...]:
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


def judge(params: Params, table: pd.DataFrame, arrays: Arrays) -> Outcome:
    """How much the strongest unit, or the named set, costs, beside its controls."""
    rows = measured(table)
    own = rows[rows["control"] == ""]
    least = floor(rows)
    cell = _units(own, params)
    controls = [Control("identity edit", Estimate(least), "the numerical noise floor; smaller effects say nothing")]
    basis = f"{params.edit.capitalize()} knockout at {_where(params)}, over {resting(own)}"
    what = facts(own)
    also: list[Finding] = []
    chance = None
    if params.units in KIND_OF:
        best = _strongest(cell)
        found = estimate(best)
        sentence = _one_by_one(params, own, cell, best, what)
        basis += f" It is the largest of {number(len(cell))}, chosen on the same prompts."
        if params.screen:
            screened = _screening(params, rows)
            also.append(screened.finding)
            controls += screened.controls
    else:
        joint = _joint(cell, params)
        if joint is None:
            sentence = f"What knocking out {_set(params)} costs the recall of {what} is not measured yet."
            return Outcome((Finding(sentence, None, basis),), tuple(controls))
        found = estimate(joint)
        sentence = f"Knocking out {_set(params)} costs the recall of {what} "
        if joint["effect"] >= 0:
            sentence += percent(found)
        else:
            apart = "so recall gains" if found.clear(least) else "not told apart from 0"
            sentence += f"nothing: a damage of {percent(found)}, {apart}"
        if (chance := _chance(params, rows, joint)) is not None:
            controls.append(Control(RANDOM, chance.damage, chance.reading))
            range_ = " (mean and 95% range)" * (chance.sets > 1)
            sentence += (
                f"; {chance.words} {'has' if chance.sets == 1 else 'have'} a damage of {share(chance.damage)}{range_}"
            )
        sentence += "."
    caveats = [
        "Damage by one kind of knockout is not yet necessity: a claim needs zero, mean, resample and noise to agree.",
        "Knockouts one by one are blind to redundancy and self-repair: a unit with a backup costs nothing alone.",
    ]
    if params.screen:
        caveats.insert(
            0,
            "The screen is a first-order estimate (attribution patching), exact for small changes only. Its blind spot "
            "is saturation: where the response levels off (attention's softmax, norms, gates, a backup that takes "
            "over), a strong unit may be estimated weak. Of what it left out only the random sample is measured.",
        )
    if params.edit == "zero":
        caveats.insert(0, "Zero ablation takes the model off its data, and alone is never evidence.")
    if params.units not in KIND_OF and chance is None:
        caveats.append("No matched random control: too few other units of the kind in a layer, or none were asked for.")
    if chance is not None and chance.sets < DECIDE:
        caveats.append(
            f"Only {number(chance.sets)} different matched random {'set was' if chance.sets == 1 else 'sets were'} "
            f"measured, so p cannot be below {number(1 / (chance.sets + 1))}: whether the named set costs more than "
            "chance cannot be decided."
        )
    not_tested = (
        "Damage to other facts and to unrelated text, joint sets beyond the named one, editing.",
        "An untrained copy of the model and label-shuffled facts: these controls come with claims.",
    )
    return Outcome((Finding(sentence, found, basis), *also), tuple(controls), tuple(caveats), not_tested)


def _one_by_one(params: Params, own: pd.DataFrame, cell: pd.DataFrame, best: pd.Series, what: str) -> str:
    """The headline of a whole kind: the unit that costs most, the one that helps more than that, and how spread out."""
    ratio = participation(cell["effect"].to_numpy())
    big = int((cell["effect"] >= BIG).sum())
    many = "none costs" if not big else f"{number(big)} cost{'s' * (big == 1)}"
    unit = _word(params)
    among = f"Of {plural(len(cell), unit)}"
    if params.screen:
        among = f"Of the {plural(len(cell), unit)} that gradients rank highest among {number(_population(own))}"
    if best["effect"] <= 0:
        sentence = f"{among}, knocked out one by one, none costs the recall of {what} anything"
    else:
        sentence = (
            f"{among}, knocked out one by one, {best['site']} costs the recall of {what} most, "
            f"{percent(estimate(best))}; {many} 10% or more, "
            f"and the positive damage is spread as over {number(ratio)} equal {unit} (participation ratio)"
        )
    if (other := against(cell, best)) is not None:
        sentence += f"; {other['site']} does more, the other way: a damage of {share(estimate(other))}, so recall gains"
    return f"{sentence}."


class Chance(NamedTuple):
    """Matched random sets: their damage (mean and, of several, 95% range), how many different ones, in words, and how
    to read it."""

    damage: Estimate
    sets: int
    words: str
    reading: str


def _chance(params: Params, rows: pd.DataFrame, joint: pd.Series) -> Chance | None:
    """What random sets cost beside the named one, each set once; None where there are none."""
    drawn = different(rows[rows["control"] == RANDOM])
    if not len(drawn):
        return None
    each = cells(drawn, ["trial"])["effect"].to_numpy()
    n = len(each)
    p = permutation([float(joint["effect"])], each, side="greater")
    words = f"{number(n)} {'different ' * (n < params.controls)}matched random set{'s' * (n != 1)}"
    reading = f"{number(n)} random set{'s' * (n != 1)} of the same layers, kinds and mean activation"
    reading += f" (of {number(params.controls)} asked for, no more are different)" * (n < params.controls)
    reading += f"; p = {p:.3f} (one-sided, +1)" + "; with so few it cannot be 0.05 or less" * (n < DECIDE)
    return Chance(ranged(each) if n > 1 else Estimate(float(each[0]), n=n), n, words, reading)


def draw(params: Params, table: pd.DataFrame, arrays: Arrays) -> Drawing:
    """Bars of the strongest units, the named set before its controls, and the map or the ranking of all of them."""
    rows = measured(table)
    own = rows[rows["control"] == ""]
    cell = _units(own, params)
    what = facts(own)
    common = {
        "of": "prompts",
        "measure": DAMAGE,
        "floor": floor(rows),
        "about": f"{params.edit} knockout of {what}, at {_where(params)}; over {resting(own)}",
    }
    best, edited = (_strongest(cell), "") if params.units in KIND_OF else (_joint(cell, params), _set(params))
    shown = cell
    if best is not None and params.units not in KIND_OF and (chance := _chance(params, rows, best)) is not None:
        band = zip(("control", "control_low", "control_high"), msgspec.structs.astuple(chance.damage), strict=False)
        shown = cell.assign(**{name: np.where(cell["trial"] == best["trial"], x, np.nan) for name, x in band})
    title = f"What each knockout costs the recall of {what}"
    figures = [bars(shown, name="bars", title=title, **common)]
    if params.units == "heads":
        heads = f"Which heads the recall of {what} needs"
        figures.append(heat(cell.assign(head=cell["unit"]), name="heads", title=heads, y="head", panel=None, **common))
    elif params.units == "layers":
        layers = f"Which layers' outputs the recall of {what} needs"
        figures.append(heat(cell, name="layers", title=layers, y="kind", panel=None, **common))
    elif len(cell) > 30:
        every = "every confirmed unit's" if params.screen else "every unit's"
        all_units = f"Few or many: {every} damage to the recall of {what}, by rank"
        figures.append(ranks(cell, name="ranks", title=all_units, **common))
    tables: list[Table] = []
    if params.screen:
        found = _screening(params, rows)
        tables += [found.table] if found.table else []
        guessed = f"How well gradients ranked the {_word(params)} that the recall of {what} needs"
        about = {**common, "about": f"{common['about']} Beside its first-order estimate"}
        estimated = f"estimated by gradients: {DAMAGE}"
        figures.append(scatter(found.units, name="screen", title=guessed, x_title=estimated, by="chosen", **about))
    columns = {
        "site": "site",
        "effect": Column("damage", "share of the logit difference"),
        "n": Column("n", "prompts"),
    }
    top = cell.sort_values("effect", ascending=False, key=abs)
    if best is not None:
        done = f"{edited or best['site']} knocked out ({params.edit}) in the clean run"
        tables += readings(rows, own[own["trial"] == best["trial"]], done)
    else:
        tables += readings(rows)
    return Drawing(tuple(figures), (table_of(top, "The strongest effects", columns, limit=12), *tables))


def _strongest(cell: pd.DataFrame) -> pd.Series:
    return cell.sort_values("effect").iloc[-1]


def _joint(cell: pd.DataFrame, params: Params) -> pd.Series | None:
    """The cell of a named set together; the trials before it are its sites one by one. None where it is unmeasured."""
    together = cell[cell["trial"] == len(_named(params))]
    return together.iloc[0] if len(together) else None


def _set(params: Params) -> str:
    """A named set in words."""
    sites = _named(params)
    return "+".join(map(str, sites)) if len(sites) <= 3 else f"the {number(len(sites))} named sites together"


def _units(own: pd.DataFrame, params: Params) -> pd.DataFrame:
    """Mean damage of every trial over the prompts, with its address; a named set of one site is there once."""
    first = own.drop_duplicates("trial")[["trial", "site", "layer", "kind", "unit"]]
    if params.units in KIND_OF:
        at = "" if params.at == "all" else f"@{params.at}"
        names = [f"{str(s).split('+')[0].split('@')[0]}{at}" for s in first["site"]]
    else:
        sites = _named(params)
        every = [*map(str, sites), _set(params)]
        names = [every[t] for t in first["trial"]]
        first = first[(first["trial"] > 0) | (len(sites) > 1)]
        names = names[-len(first) :] if len(first) else []
    return cells(own, ["trial"]).merge(first.assign(site=names), on="trial")


def _where(params: Params) -> str:
    return "all positions" if params.at == "all" else f"the role {params.at}"


def _word(params: Params) -> str:
    return "sub-layers" if params.units == "layers" else params.units


def _population(own: pd.DataFrame) -> int:
    """How many units a screen chose among."""
    return int(own["population"].iloc[0])


def _screening(params: Params, rows: pd.DataFrame) -> Screening:
    """How well the screen ranked, from the units that it chose and those drawn at random from the others."""
    top, drawn = (_guessed(rows[rows["control"] == control], params) for control in ("", SAMPLE))
    return screening(top, drawn, _population(rows[rows["control"] == ""]), _word(params))


def _guessed(rows: pd.DataFrame, params: Params) -> pd.DataFrame:
    """`_units`, with the mean estimate of each."""
    guess = cells(rows.assign(effect=rows["estimate"]), ["trial"])[["trial", "effect"]]
    return _units(rows, params).merge(guess.rename(columns={"effect": "estimate"}), on="trial")


EXPERIMENT = Experiment(
    name="knockout",
    about=__doc__,
    question=QUESTION,
    Params=Params,
    gather=gather,
    plan=plan,
    **unsplit(judge, draw),
    topic=lambda params, rows: facts(rows),
    settled=settled,
)
