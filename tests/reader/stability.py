"""Whether a map of damage is the same on other prompts: correlations, overlaps, components of variance, anew."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from . import arithmetic as a
from . import common
from .arithmetic import Value
from .known import Known
from .study import Shown

ONE = {"layers": "sub-layer", "heads": "head", "neurons": "neuron"}
DRAW, PARAPHRASE, CONTEXT, FOREIGN = (
    "another corruption draw",
    "another paraphrase",
    "another context",
    "another language",
)
PARTS = ("itself", "template", "context", "draw", "rest")
RUN = [*a.PROMPT, "pair", "seed"]


class Map(NamedTuple):
    """One fact: damage [units, runs], what each run is, and the units' names."""

    damage: np.ndarray
    runs: pd.DataFrame
    units: list[str]


def maps(rows: pd.DataFrame) -> list[Map]:
    """A map a fact, of the runs on which every unit is measured."""
    out = []
    for _, own in rows.groupby(["relation", "subject"], observed=True, sort=False):
        own = own.assign(run=own.groupby(RUN, dropna=False, sort=False).ngroup())
        wide = own.pivot(index="trial", columns="run", values="effect")
        full = wide.notna().sum()
        wide = wide[full.index[full == full.max()]].dropna()
        runs = own.drop_duplicates("run").set_index("run").loc[wide.columns, RUN].reset_index(drop=True)
        sites = own.drop_duplicates("trial").set_index("trial").loc[wide.index, "site"].tolist()
        out.append(Map(wide.to_numpy(float), runs.assign(context=runs["context"].fillna("")), sites))
    return out


def pairs(m: Map) -> dict[str, list[tuple[int, int]]]:
    """Which ordered pairs of runs differ in just this: before, after."""
    r = m.runs.to_dict("records")
    kinds = [k for k in dict.fromkeys(x["context"] for x in r) if k]
    out: dict[str, list[tuple[int, int]]] = {}
    for (i, x), (j, y) in itertools.permutations(enumerate(r), 2):
        plain = x["context"] == "" and x["pair"] == y["pair"]
        same = x["template"] == y["template"]
        if same and x["asked"] == y["asked"]:
            out.setdefault(DRAW, []).append((i, j))
        if plain and not same and y["context"] == "":
            out.setdefault(PARAPHRASE, []).append((i, j))
        if plain and same and y["context"]:
            out.setdefault(CONTEXT, []).append((i, j))
        for kind in kinds:
            if plain and y["context"] == kind and (same or kind == FOREIGN):
                out.setdefault(kind, []).append((i, j))
    return out


def rank_correlation(m: Map) -> np.ndarray:
    n = m.damage.shape[1]
    out = np.full((n, n), np.nan)
    if len(m.damage) >= 3:
        ranked = np.stack([stats.rankdata(c) for c in m.damage.T])
        with np.errstate(invalid="ignore", divide="ignore"):
            out = np.corrcoef(ranked)
    return out


def top_sets(m: Map, top: int) -> list[frozenset[int]]:
    return [frozenset(np.argsort(-c, kind="stable")[:top].tolist()) for c in m.damage.T]


def overlap(m: Map, top: int) -> np.ndarray:
    sets = top_sets(m, top)
    return np.array([[len(x & y) / len(x | y) for y in sets] for x in sets])


def by_chance(units: int, top: int) -> Value:
    """Jaccard overlap of two random sets of `top` units, expectation and 95% range: they share a hypergeometric h."""
    h = stats.hypergeom(units, top, top)
    mean = sum(h.pmf(s) * s / (2 * top - s) for s in range(top + 1))
    low, high = (s / (2 * top - s) for s in h.ppf([0.025, 0.975]))
    return Value(float(mean), float(low), float(high))


def jackknife(statistic, clusters: list[str], free: int) -> list[Value]:
    """Statistics with their 95% intervals, each cluster left out in turn (Arvesen 1969); none below six clusters."""
    labels = np.array(clusters)
    value = np.atleast_1d(statistic(np.ones(len(labels), bool)))
    names = sorted(set(clusters))
    if free < a.FEWEST:
        return [Value(float(v)) for v in value]
    without = np.stack([np.atleast_1d(statistic(labels != n)) for n in names])
    error = np.sqrt((len(names) - 1) / len(names) * ((without - without.mean(0)) ** 2).sum(0))
    half = stats.t.ppf(0.975, free - 1) * error
    return [Value(float(v), float(v - h), float(v + h)) for v, h in zip(value, half, strict=True)]


def over_facts(values: list[float]) -> Value:
    """A mean over facts with Student's interval, none for fewer than six."""
    x = np.array([v for v in values if np.isfinite(v)])
    if not len(x):
        return Value(float("nan"))
    if len(x) < a.FEWEST:
        return Value(float(x.mean()))
    half = stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
    return Value(float(x.mean()), float(x.mean() - half), float(x.mean() + half))


def over_pairs(found: list[Map], matrices: list[np.ndarray], change: str) -> tuple[Value, int]:
    """The mean over the pairs of one change with its interval, and how many prompts are changed."""
    every = [pairs(m).get(change) for m in found]
    changed = sum(len({m.runs["asked"][j] for _, j in p}) for m, p in zip(found, every, strict=True) if p)
    if len(found) > 1:
        means = [float(np.mean([x[i, j] for i, j in p])) for x, p in zip(matrices, every, strict=True) if p]
        return over_facts(means), changed
    (matrix,), (m,), own = matrices, found, every[0]
    template = m.runs["template"].tolist()
    involved = sorted({i for p in own for i in p})

    def mean(keep: np.ndarray) -> np.ndarray:
        kept = {i for i, k in zip(involved, keep, strict=True) if k}
        return np.array([np.mean([matrix[i, j] for i, j in own if i in kept and j in kept])])

    free = len({template[j] for _, j in own})
    return jackknife(mean, [template[i] for i in involved], free)[0], changed


def components(found: list[Map], noise: bool) -> dict[str, Value]:
    """The variance of damage between units, in parts, as shares: moments of pairs of runs (Haseman & Elston 1972)."""
    draw = ["template", "asked", "seed"] if noise else ["pair"]

    def of(m: Map, keep: np.ndarray) -> np.ndarray:
        x, r = m.damage[:, keep], m.runs[keep]
        n = x.shape[1]
        x = x - x.mean(0)
        cov = x.T @ x / (len(x) - 1)
        at = [(i, j) for i in range(n) for j in range(i, n)]
        labels = [r.groupby(c, dropna=False).ngroup().tolist() for c in (["template"], ["context"], draw)]
        columns = [[1.0] * len(at), *[[float(la[i] == la[j]) for i, j in at] for la in (*labels, list(range(n)))]]
        kept: list[int] = []
        for c in range(len(columns)):  # a part that cannot be told from those before it is left out
            trial = np.array([columns[k] for k in [*kept, c]]).T
            if np.linalg.matrix_rank(trial) > len(kept):
                kept.append(c)
        parts = np.linalg.lstsq(np.array([columns[k] for k in kept]).T, np.array([cov[p] for p in at]), rcond=None)[0]
        out = np.full(len(PARTS), np.nan)
        out[kept] = parts / parts.sum() if parts.sum() > 0 else np.nan
        return out

    if len(found) == 1:
        (m,) = found
        templates = m.runs["template"].tolist()
        each = jackknife(lambda keep: of(m, keep), templates, len(set(templates)))
    else:
        whole = np.stack([of(m, np.ones(m.damage.shape[1], bool)) for m in found])
        each = [over_facts(column.tolist()) for column in whole.T]
    return {name: v for name, v in zip(PARTS, each, strict=True) if np.isfinite(v.value)}


def read(shown: Shown) -> tuple[Known, list[str]]:
    rows, params = shown.table, shown.params
    rows = rows.assign(context=rows["context"].fillna(""))
    k = common.known(shown, rows)
    found = maps(rows)
    units = min(len(m.units) for m in found)
    top, one = max(min(int(params["top"]), units // 2), 1), ONE[params["units"]]
    k.count(f"{one} unit", units, top)
    k.count("strongest", top)
    k.add(top, "so many strongest", "strongest")
    k.add(by_chance(units, top), "chance", ("random", "by chance"))
    k.add(by_chance(units, top).value, "chance", ("chance", "random"))
    ranks, sets = [rank_correlation(m) for m in found], [overlap(m, top) for m in found]
    out: list[str] = []
    every = [pairs(m) for m in found]
    for change in dict.fromkeys(c for p in every for c in p):
        for matrices, words in ((ranks, ("Spearman", "rank")), (sets, ("same", "Jaccard", "strongest"))):
            v, changed = over_pairs(found, matrices, change)
            v = v._replace(n=sum(change in p for p in every) if len(found) > 1 else changed)
            k.add(v, f"{words[0]} under {change}", change, words)
            k.add(v.value, f"{words[0]} under {change}", change, words) if v.low is None else None
            if words[0] == "Spearman":
                k.cells |= dict.fromkeys((change, f"{change} before it"), v)
        k.count("prompt", changed)
        out += _counted(shown.page, change, changed, sum(change in p for p in every), len(found) > 1)
    noise = params["corruption"] == "noise"
    for name, v in components(found, noise).items():
        words = {"itself": f"the {one} itself", "rest": "the rest"}.get(name, f"{one} x {name}")
        k.add(v, words, (words, "belongs to"))
        k.cells[words] = v
    _strongest(k, rows, found, top, one)
    return k, [*out, *_pictures(shown, rows, k, top)]


def _strongest(k: Known, rows: pd.DataFrame, found: list[Map], top: int, one: str) -> None:
    cells = a.values(rows, ["site"], over=a.interval_over(rows))
    often = {}
    for m in found:
        sets = top_sets(m, top)
        for i, unit in enumerate(m.units):
            often.setdefault(unit, []).append(np.mean([i in s for s in sets]))
    logits = a.values(rows, ["site"], "value", over=a.interval_over(rows))
    for (site,), v in cells.items():
        k.add(v, site, site)
        common.edited(k, site, logits[site,], site)
        k.add(float(np.mean(often[site])), f"{site} among the strongest", site, "among the strongest")
    always = [len(frozenset.intersection(*top_sets(m, top))) for m in found]
    k.add(float(np.mean(always)), "always among the strongest", "on every one of its prompts")


def _counted(page: dict, change: str, prompts: int, facts: int, several: bool) -> list[str]:
    """In the table of changes, n is what the head of its column says."""
    out = []
    for table in page["tables"]:
        heads = [f"{c['label']} {c['unit']}" for c in table["columns"]]
        for row in table["rows"]:
            if row[0] not in (change, f"{change} before it"):
                continue
            for head, cell in zip(heads, row, strict=True):
                wanted = prompts if "prompt" in head else facts if "fact" in head else None
                if isinstance(cell, int) and wanted is not None and cell != wanted:
                    out.append(f"table “{table['title']}”: {head.strip()} of {change} is {cell}, it is {wanted}")
                if isinstance(cell, dict) and cell.get("n") not in (None, facts if several else prompts):
                    out.append(f"table “{table['title']}”: n of {change} is {cell['n']}")
    return out


def _pictures(shown: Shown, rows: pd.DataFrame, k: Known, top: int) -> list[str]:
    """The map: the strongest units on every prompt."""
    out = []
    cells = a.values(rows, ["site"], over=a.interval_over(rows))
    best = sorted((s for (s,) in cells), key=lambda s: -cells[s,].value)[:top]
    for figure in shown.page["figures"]:
        if figure["name"] not in ("map", "correlation", "variance"):
            out.append(f"figure {figure['name']}: no reader reads it")
        if figure["name"] != "map":
            continue
        drawn = figure["spec"]["data"]["values"]
        if {r["site"] for r in drawn} != set(best):
            out.append(f"figure map: draws {sorted({r['site'] for r in drawn})}, the strongest are {best}")
        strong = rows[rows["site"].isin(best)]
        grid = a.values(strong, ["context", "template", "site"], over=a.interval_over(strong))
        if len(drawn) != len(grid):
            out.append(f"figure map: {len(drawn)} cells of {len(grid)}")
        named = [
            (site, " · ".join(filter(None, (context, template))), v) for (context, template, site), v in grid.items()
        ]
        k.of_row["map"] = lambda row, named=named: _placed(row, named)
        ends = [max(grid.values()), min(grid.values())]
        for v in ends:
            k.add(v, "largest or smallest of the map", ("largest", "smallest"))
    return out


def _placed(row: dict, named: list[tuple[str, str, Value]]) -> Value | None:
    """The cell of a row, whose prompt may be cut short."""
    start = row["y"].rstrip("…")
    there = [v for site, prompt, v in named if site == row["site"] and (prompt == row["y"] or prompt.startswith(start))]
    return min(there, key=lambda v: abs(v.value - row["effect"]), default=None)
