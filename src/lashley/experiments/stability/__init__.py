"""Is a fact's map the same under another paraphrase, in another context, under another corruption?

Every unit is knocked out alone on every prompt: template x context x corruption draw. The maps of damage are then
compared prompt by prompt: by rank, by their strongest units, and by where their variance is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec
import numpy as np
import scipy

from lashley.core.case import Material
from lashley.core.edit import Mean, Resample, Zero
from lashley.core.experiment import Arrays, Door, Experiment, Gathered
from lashley.core.figure import Column, Control, Estimate, Finding, Table, number
from lashley.core.outcome import Drawing, Outcome
from lashley.core.question import Asked, Question
from lashley.core.site import KINDS, Kind, Site, Sites
from lashley.core.trial import Sweep
from lashley.experiments import at_least, pairs, unsplit
from lashley.facts.contexts import KINDS as CONTEXTS
from lashley.facts.contexts import with_contexts
from lashley.report.charts import DAMAGE, bars, heat
from lashley.stats.inference import FEWEST, interval
from lashley.stats.summary import PROMPT, REPLICATE, cells, facts, floor, measured, prompts, readings, share

if TYPE_CHECKING:
    import pandas as pd

QUESTION = "Is the map of what {model} needs to recall {facts} the same on every prompt?"
KIND_OF: dict[str, tuple[Kind, ...]] = {"layers": ("attn", "mlp"), "heads": ("head",), "neurons": ("neuron",)}
ONE = {"layers": "sub-layer", "heads": "head", "neurons": "neuron"}
DRAW, PARAPHRASE, CONTEXT = "another corruption draw", "another paraphrase", "another context"
FOREIGN = "another language"
LABEL = 42  # characters of a prompt beside a map
COMPONENTS = ("unit", "unit x template", "unit x context", "unit x draw", "rest")


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


class Map(NamedTuple):
    """One fact's damage by unit and prompt, [units, prompts], and what each prompt is: `REPLICATE` a row. A column is
    one draw of a prompt; where several are measured, "prompts" here are their draws."""

    units: np.ndarray
    damage: np.ndarray
    prompts: pd.DataFrame

    def codes(self, *columns: str) -> np.ndarray:
        """A number for what each prompt is in these columns, [prompts]."""
        return self.prompts.groupby(list(columns), observed=True, dropna=False).ngroup().to_numpy()

    def count(self, some: np.ndarray | slice = slice(None)) -> int:
        """How many prompts there are among some columns: draws of a prompt are one."""
        return len(self.prompts[some][["template", "prompt"]].drop_duplicates())

    def same(self, *columns: str) -> np.ndarray:
        """Which pairs of prompts agree in these columns, bool [prompts, prompts]."""
        return np.equal.outer(codes := self.codes(*columns), codes)


def maps(rows: pd.DataFrame) -> list[Map]:
    """One map a fact, of the prompts whose every unit is measured."""
    found = []
    for _, own in rows.groupby(["relation", "subject"], observed=True, sort=False):
        each = own.groupby(REPLICATE, observed=True, dropna=False, sort=False).ngroup()
        wide = own.assign(each=each).pivot(index="trial", columns="each", values="effect")
        counts = wide.notna().sum()
        wide = wide[counts.index[counts == counts.max()]].dropna()
        first = own.assign(each=each).drop_duplicates("each").set_index("each").loc[wide.columns, REPLICATE]
        first["context"] = first["context"].astype(object).fillna("").astype(str)
        sites = own.drop_duplicates("trial").set_index("trial")["site"].loc[wide.index]
        found.append(Map(sites.astype(str).to_numpy(), wide.to_numpy(float), first.reset_index(drop=True)))
    return found


def changes(found: Map) -> dict[str, np.ndarray]:
    """What may change from one prompt to another: pairs [before, after] for each change, bool [prompts, prompts].

    A paraphrase is another template, neither in a context; a context stands before the same template (for another
    language: instead of it); the foil is the same in both. Another draw is another foil, or noise, of the same prompt.
    """
    context = found.prompts["context"].to_numpy()
    template, prompt, plain = found.same("template"), found.same("template", "prompt"), context == ""
    before = found.same("pair") & plain[:, None]
    pairs = {
        DRAW: prompt & ~np.eye(len(context), dtype=bool),
        PARAPHRASE: before & ~template & plain,
        CONTEXT: before & template & ~plain,
    }
    for kind in CONTEXTS:
        pairs[kind] = before & (template | (kind == FOREIGN)) & (context == kind)
    return {name: mask for name, mask in pairs.items() if mask.any()}


def ranks(damage: np.ndarray) -> np.ndarray:
    """Spearman correlation over units between every two prompts, [prompts, prompts]; NaN for fewer than 3 units."""
    if len(damage) < 3:
        return np.full((damage.shape[1],) * 2, np.nan)
    ranked = scipy.stats.rankdata(damage, axis=0)
    ranked -= ranked.mean(0)
    size = np.sqrt((ranked**2).sum(0))
    with np.errstate(invalid="ignore"):
        return ranked.T @ ranked / (size[:, None] * size)


def strongest(damage: np.ndarray, top: int) -> np.ndarray:
    """Whether a unit is among the `top` of largest damage on each prompt, bool [units, prompts]."""
    chosen = np.zeros(damage.shape, bool)
    np.put_along_axis(chosen, np.argsort(-damage, axis=0, kind="stable")[:top], True, axis=0)
    return chosen


def jaccard(chosen: np.ndarray) -> np.ndarray:
    """Shared units over all units of the sets of every two prompts, [prompts, prompts]."""
    shared = chosen.T.astype(float) @ chosen
    size = chosen.sum(0)
    return shared / np.maximum(size[:, None] + size - shared, 1)


def by_chance(units: int, top: int) -> Estimate:
    """The Jaccard overlap of two random sets of `top` of the units: its expectation and 95% range.

    They share a hypergeometric number h, and J = h / (2 top - h).

    >>> str(by_chance(48, 10))
    '0.12 [0.00, 0.25]'
    """
    h = scipy.stats.hypergeom(units, top, top)
    shared = np.arange(top + 1)
    low, high = (q / (2 * top - q) for q in h.ppf([0.025, 0.975]))
    return Estimate(float((h.pmf(shared) * shared / (2 * top - shared)).sum()), low, high)


def split(damage: np.ndarray, template: np.ndarray, context: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """The variance of damage between units, in parts that are `COMPONENTS`, as shares that sum to 1, [5].

    `damage` is [units, prompts]; the labels [prompts] say which columns share a template, a kind of context, a draw.
    Random effects: D = mean of the prompt + unit + unit x template + unit x context + unit x draw + rest (all higher
    interactions). The covariance of two prompts over the units is then the sum of those components that the two
    share; least squares over all pairs, each prompt with itself among them, gives them back without bias however
    unbalanced the design, and so also below 0 where one is next to nothing. NaN: not told apart from those before it
    (no second draw, or no context).

    Source: moments by products of pairs, as in Haseman & Elston 1972 (Behav. Genet. 2), which is MINQUE(0) with an
    identity weight (Rao 1971, J. Multivar. Anal. 1); generalizability theory names such components (Brennan 2001).
    """
    shares = np.full(len(COMPONENTS), np.nan)
    count = damage.shape[1]
    if len(damage) < 2 or not count:
        return shares
    centred = damage - damage.mean(0)
    upper = np.triu_indices(count)
    covariance = (centred.T @ centred / (len(damage) - 1))[upper]
    same = [np.equal.outer(label, label)[upper] for label in (template, context, draw, np.arange(count))]
    design = np.stack([np.ones(len(covariance)), *same], axis=1).astype(float)
    patterns = np.unique(design, axis=0)
    kept: list[int] = []
    for part in range(design.shape[1]):
        if np.linalg.matrix_rank(patterns[:, [*kept, part]]) > len(kept):
            kept.append(part)
    parts = np.linalg.lstsq(design[:, kept], covariance, rcond=None)[0]
    shares[kept] = parts / parts.sum() if parts.sum() > 0 else np.nan
    return shares


def jackknife(statistic: Callable[[np.ndarray], np.ndarray], clusters: np.ndarray, free: int | None = None):
    """A statistic and its 95% interval when each cluster of prompts is left out in turn: (value, low, high).

    `statistic` takes which prompts to use, bool [prompts], and gives any number of values. t interval with one
    degree of freedom less than `free` clusters (all, unless given); without bounds (NaN) below `FEWEST`.
    Source: Arvesen 1969 (Ann. Math. Stat. 40) for statistics of pairs; the variance errs to the large side
    (Efron & Stein 1981, Ann. Stat. 9). Simulated for templates drawn anew, with units, kinds of context and foils held:
    a nominal 95% covers 95 to 99% of the shares of variance with 8 or 16 templates (91 to 97% with heavy tails), and
    93 to 96% of mean correlations and overlaps with 6 to 16.
    """
    value = np.atleast_1d(statistic(np.ones(len(clusters), bool)))
    names = np.unique(clusters)
    free = len(names) if free is None else free
    if free < FEWEST:
        return value, np.full_like(value, np.nan), np.full_like(value, np.nan)
    without = np.stack([np.atleast_1d(statistic(clusters != name)) for name in names])
    spread = ((without - without.mean(0)) ** 2).sum(0)
    half = scipy.stats.t.ppf(0.975, free - 1) * np.sqrt((len(names) - 1) / len(names) * spread)
    return value, value - half, value + half


def _shares(found: Sequence[Map], corruption: str) -> list[Estimate]:
    """The components of variance as shares of their sum, each with its interval; every prompt has noise of its own."""
    drawn = ("pair",) if corruption == "replace" else ("template", "prompt", "seed")

    def of(one: Map, keep: np.ndarray) -> np.ndarray:
        labels = (one.codes(*columns)[keep] for columns in (("template",), ("context",), drawn))
        return split(one.damage[:, keep], *labels)

    if len(found) == 1:
        one = found[0]
        bounds = zip(*jackknife(lambda keep: of(one, keep), one.codes("template")), strict=True)
        return [Estimate(*each, n=one.count()) for each in bounds]
    each = np.stack([of(one, np.ones(one.damage.shape[1], bool)) for one in found])
    return [_over_facts(column) for column in each.T]


def _mean(found: Sequence[Map], matrices: Sequence[np.ndarray], change: str) -> Estimate:
    """Mean over the pairs of prompts of one change; n counts the changed prompts, or of several facts these."""
    masks = [changes(one).get(change) for one in found]
    if len(found) > 1:
        return _over_facts([m[mask].mean() for m, mask in zip(matrices, masks, strict=True) if mask is not None])
    (matrix,), (mask,), templates = matrices, masks, found[0].codes("template")
    if mask is None:
        return Estimate(None)
    part, changed = mask.any(0) | mask.any(1), mask.any(0)
    matrix, mask = matrix[part][:, part], mask[part][:, part]
    value, low, high = jackknife(
        lambda keep: matrix[mask & keep[:, None] & keep].mean(), templates[part], len(np.unique(templates[changed]))
    )
    return Estimate(*value, *low, *high, n=_changed(found, change))


def _changed(found: Sequence[Map], change: str) -> int:
    """How many prompts are changed so."""
    each = ((one, changes(one).get(change)) for one in found)
    return sum(one.count(np.atleast_1d(mask.any(0))) for one, mask in each if mask is not None)


def _over_facts(values: Sequence[float] | np.ndarray) -> Estimate:
    found = interval(values)
    return Estimate(found.mean, found.low, found.high, found.n)


class Compared(NamedTuple):
    """All that is judged and drawn: what stays the same under which change, and where the variance is."""

    units: int
    top: int
    ranks: dict[str, Estimate]
    overlap: dict[str, Estimate]
    chance: Estimate
    shares: dict[str, Estimate]
    changed: dict[str, int]  # how many prompts
    always: list[int]  # for each fact, how many units are among the strongest on every prompt
    often: pd.DataFrame  # for each unit, the share of prompts on which it is among the strongest


def compare(params: Params, rows: pd.DataFrame) -> Compared:
    """The maps of every fact beside each other."""
    import pandas as pd

    found = maps(rows)
    units = min(len(one.units) for one in found)
    top = max(min(params.top, units // 2), 1)
    chosen = [strongest(one.damage, top) for one in found]
    names = list(dict.fromkeys(name for one in found for name in changes(one)))
    rank, overlap = [ranks(one.damage) for one in found], [jaccard(c) for c in chosen]
    often = pd.concat([pd.DataFrame({"site": f.units, "often": c.mean(1)}) for f, c in zip(found, chosen, strict=True)])
    return Compared(
        units,
        top,
        {name: _mean(found, rank, name) for name in names},
        {name: _mean(found, overlap, name) for name in names},
        by_chance(units, top),
        {name: e for name, e in zip(COMPONENTS, _shares(found, params.corruption), strict=True) if e.value is not None},
        {name: _changed(found, name) for name in names},
        [int(c.all(1).sum()) for c in chosen],
        often.groupby("site", sort=False)["often"].mean().reset_index(),
    )


def judge(params: Params, table: pd.DataFrame, arrays: Arrays) -> Outcome:
    """How far the strongest units stay the same, and how much of the map belongs to the units themselves."""
    rows = measured(table)
    found, what, least = compare(params, rows), facts(rows), floor(rows)
    several, drawn = rows["subject"].nunique() > 1, _drawn(rows)
    who = f"The {number(found.top)} strongest of {number(found.units)} {_word(params)}"
    basis = (
        f"{params.edit.capitalize()} knockout at all positions, over {prompts(rows)}; overlap is shared units over all "
        f"units of two sets (Jaccard), averaged over pairs of prompts{' of one fact' * several}; "
        f"{_method(found, several)}."
    )
    same = [
        f"{'to ' * (not i)}{share(found.overlap[name])} under {name}"
        for i, name in enumerate(n for n in (PARAPHRASE, CONTEXT, DRAW) if n in found.overlap)
    ]
    parts = [f"{share(e)} to {_component(params, name)}" for name, e in found.shares.items() if name != "unit"]
    own = found.shares.get("unit")
    variance = f"{share(own)} of the variance of the effects belongs to the {ONE[params.units]} itself" if own else ""
    variance += f", {', '.join(parts)}" if parts and own else ""
    main = next((found.overlap[n] for n in (PARAPHRASE, CONTEXT, DRAW) if n in found.overlap), None)
    if main is None:
        sentence = f"{who} for recalling {what} can be compared with none: only one prompt is measured."
        return Outcome((Finding(sentence, None, basis),), _controls(found, least))
    sentence = (
        f"{who} for recalling {what} are the same {', '.join(same)} (Jaccard; chance {share(_bare(found.chance))})"
        f"{'; ' + variance if variance else ''}."
    )
    always = sum(found.always) / len(found.always)
    count = f"On average {number(float(always))}" if several else number(found.always[0]) if always else "None"
    also = [
        Finding(
            f"{count} of the {number(found.top)} strongest {_word(params)}{' of a fact' * several} "
            f"{'is' if always == 1 else 'are'} among the strongest on every one of its prompts{' and draws' * drawn}."
        )
    ]
    if PARAPHRASE in found.ranks:
        ordered = sorted(found.ranks, key=lambda name: found.ranks[name].value or 0.0)
        ends = {"least": ordered[0], "most": ordered[-1]}
        ends = [f"{end} under {_change(n)} ({found.ranks[n]})" for end, n in ends.items() if n != PARAPHRASE]
        also.append(
            Finding(
                f"All {number(found.units)} {_word(params)} keep their rank under {PARAPHRASE} with a Spearman "
                f"correlation of {'; '.join([str(found.ranks[PARAPHRASE]), ', '.join(ends)]).rstrip('; ')}.",
                msgspec.structs.replace(found.ranks[PARAPHRASE], n=None),
                "Mean over pairs of prompts.",
            )
        )
    foils = ", ".join(map(str, rows["foil"].value_counts().index[:6]))
    caveats = [
        f"Few foils were tried, the same on every prompt where they fit: {foils}.",
        "The text before a prompt is knocked out too: a unit may matter for reading the context, not the fact.",
        "Components of variance are means over pairs of prompts, without bias and so not kept from falling below 0; "
        "their intervals speak about further templates, with the kinds of context that were tried.",
    ]
    if params.corruption == "noise":
        caveats.append(
            "Noise changes only what damage is divided by: another draw cannot change a ranking, and its part of the "
            "variance is that of the divisor. Ask with --corruption replace for draws that could."
        )
    if params.edit == "zero":
        caveats.append("Zero takes the model off its data and can make decoys look necessary; compare with resample.")
    not_tested = (
        "Whether the units that stay are enough for recall (see locate), and sets of units (see knockout).",
        "Kinds of context that could not be made, and prompts on which the object does not rank first: see exclusions.",
    )
    main = msgspec.structs.replace(main, n=None)
    return Outcome((Finding(sentence, main, basis), *also), _controls(found, least), tuple(caveats), not_tested)


def draw(params: Params, table: pd.DataFrame, arrays: Arrays) -> Drawing:
    """The strongest units on every prompt, the correlation under every change, and the parts of the variance."""
    rows = measured(table)
    found, what, least = compare(params, rows), facts(rows), floor(rows)
    several, drawn = rows["subject"].nunique() > 1, _drawn(rows)
    noun = "facts" if several else "prompts"
    about = f"recall of {what}, {prompts(rows)}"
    method = _method(found, several)
    site = cells(rows, ["site"]).sort_values("effect", ascending=False).merge(found.often, on="site", how="left")
    best = site["site"].head(found.top).tolist()
    grid = cells(rows[rows["site"].isin(best)], ["context", "template", "site"])
    figures = [
        heat(
            _grid(grid, best),
            name="map",
            title=f"How far the {_word(params)} that {what} needs most are the same on every prompt",
            measure=DAMAGE,
            x="site",
            y="prompt",
            panel=None,
            floor=least,
            of="prompts",
            about=f"the {len(best)} {_word(params)} of the largest mean damage, in that order; {about}",
        )
    ]
    ranked = _frame(found.ranks)
    if len(ranked):
        figures.append(
            bars(
                ranked.assign(change=[_change(c) for c in ranked["name"]]),
                name="correlation",
                title=f"How well the ranking of {_word(params)} for {what} survives each change",
                measure="Spearman correlation of damage over units (1 = the same ranking)",
                label="change",
                of=noun,
                about=f"means over pairs of prompts that differ in this; {about}; {method}",
            )
        )
    parts = _frame(found.shares)
    if len(parts) > 1:
        figures.append(
            bars(
                parts.assign(part=[_component(params, c) for c in parts["name"]]),
                name="variance",
                title=f"Whose the differences between {_word(params)} in recalling {what} are",
                measure="share of the variance of damage between units",
                label="part",
                of=noun,
                about=f"components of variance by the moments of pairs of prompts; {about}; {method}",
            )
        )
    columns = (
        Column("change"),
        Column("changed prompts"),
        Column("ranking", "Spearman correlation"),
        Column(f"strongest {number(found.top)}", "Jaccard overlap"),
        Column("by chance", "Jaccard overlap"),
    )
    lines = tuple(
        (_change(c), found.changed[c], e, found.overlap[c], _bare(found.chance)) for c, e in found.ranks.items()
    )
    heads = (Column("site"), Column("damage", "share of the logit difference"))
    heads += (Column(f"among the strongest {number(found.top)}", "share of prompts" + " and draws" * drawn),)
    units = tuple(
        (r["site"], Estimate(r["effect"], r["low"], r["high"], r["n"]), float(r["often"]))
        for r in site.head(max(12, found.top)).to_dict("records")
    )
    tables = (
        Table("What stays the same under which change", columns, lines, f"{method[0].upper()}{method[1:]}."),
        Table("The strongest units, and how often they are among the strongest", heads, units),
        *readings(rows, rows[rows["site"] == best[0]], f"{best[0]} knocked out ({params.edit}) in the clean run"),
    )
    return Drawing(tuple(figures), tables)


def _grid(grid: pd.DataFrame, best: list[str]) -> pd.DataFrame:
    """Cells of context, template and site, in reading order: no context first, the strongest site first; with a short
    name of the prompt."""
    order = ("", *CONTEXTS)
    context = grid["context"].astype(object).fillna("").astype(str).tolist()
    prompt = [" · ".join(filter(None, pair)) for pair in zip(context, grid["template"].astype(str), strict=True)]
    short = {p: p if len(p) <= LABEL else p[: LABEL - 1].rstrip() + "…" for p in prompt}
    clear = len(set(short.values())) == len(short)
    grid = grid.assign(
        prompt=[short[p] if clear else p for p in prompt],
        kind=[order.index(c) if c in order else len(order) for c in context],
        rank=[best.index(s) for s in grid["site"]],
    )
    return grid.sort_values(["kind", "template", "rank"])


def _controls(found: Compared, least: float) -> tuple[Control, ...]:
    return (
        Control("identity edit", Estimate(least), "the numerical noise floor; smaller effects say nothing"),
        Control(
            "two random sets",
            found.chance,
            f"Jaccard overlap of {number(found.top)} of {number(found.units)} random units, mean and 95% range",
        ),
    )


def _frame(estimates: dict[str, Estimate]) -> pd.DataFrame:
    import pandas as pd

    rows = [(c, e.value, e.low, e.high, e.n) for c, e in estimates.items() if e.value is not None]
    names = ["name", "effect", "low", "high", "n"]
    return pd.DataFrame(rows, columns=names).astype({"effect": float, "low": float, "high": float})


def _drawn(rows: pd.DataFrame) -> bool:
    """Whether prompts have several draws."""
    return len(rows[REPLICATE].drop_duplicates()) > len(rows[PROMPT].drop_duplicates())


def _method(found: Compared, several: bool) -> str:
    among = "facts" if several else "templates"
    if not any(e.low is not None for e in (*found.overlap.values(), *found.shares.values())):
        return f"no interval, for that takes six {among}"
    how = "over facts" if several else "by a jackknife over templates"
    return f"95% t interval {how}, none for fewer than six {among}"


def _bare(e: Estimate) -> Estimate:
    return Estimate(e.value)


def _word(params: Params) -> str:
    return "sub-layers" if params.units == "layers" else params.units


def _change(name: str) -> str:
    """A change as a noun.

    >>> _change("few-shot"), _change("another language"), _change("another paraphrase")
    ('few-shot before it', 'another language', 'another paraphrase')
    """
    return f"{name} before it" if name in CONTEXTS and name != FOREIGN else name


def _component(params: Params, name: str) -> str:
    """A component of variance in words.

    >>> [_component(Params(units="heads"), name) for name in ("unit", "unit x template", "rest")]
    ['the head itself', 'head x template', 'the rest']
    """
    one = ONE[params.units]
    return {"unit": f"the {one} itself", "rest": "the rest"}.get(name, name.replace("unit", one))


EXPERIMENT = Experiment(
    name="stability",
    about=__doc__,
    question=QUESTION,
    Params=Params,
    gather=gather,
    plan=plan,
    **unsplit(judge, draw),
    topic=lambda params, rows: facts(rows),
)
