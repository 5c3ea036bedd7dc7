"""Means, intervals and tests from their textbook definitions."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

FEWEST = 6  # prompts below which no interval is given (README)
# What makes a prompt: `asked` is the text of its clean run. Draws of noise or foils lie within.
PROMPT = ["relation", "subject", "template", "context", "asked"]
DRAW = [*PROMPT, "pair", "seed"]


class Value(NamedTuple):
    """A number with its interval (None where there is none) and what it was averaged over."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None


def cluster(rows: pd.DataFrame) -> str:
    """Prompts of one fact are clustered by template, of several by subject (README)."""
    return "subject" if rows["subject"].nunique() > 1 else "template"


def prompts(rows: pd.DataFrame) -> int:
    return len(rows[PROMPT].drop_duplicates())


def draws(rows: pd.DataFrame) -> tuple[int, int]:
    """Corruptions of a prompt: the fewest and the most."""
    each = rows[DRAW].drop_duplicates().groupby(PROMPT, observed=True, dropna=False).size()
    return int(each.min()), int(each.max())


RUN = [*DRAW, "prompt"]  # one of its runs, which is edited


def interval_over(rows: pd.DataFrame) -> str:
    """What intervals are over: "clusters" of six prompts or more, or the "draws" of each prompt where these are six or
    more; "" where there is none (ARCHITECTURE, README)."""
    each = rows[DRAW].drop_duplicates().groupby(PROMPT, observed=True, dropna=False).size()
    if len(each) >= FEWEST and rows[cluster(rows)].nunique() > 1:
        return "clusters"
    return "draws" if len(each) and each.min() >= FEWEST else ""


def values(
    rows: pd.DataFrame, by: list[str], column: str = "effect", of: str = "", level: float = 0.95, over: str = "clusters"
) -> dict[tuple, Value]:
    """For every cell of `by` the mean of the cluster means of the prompts' means, with Student's interval: over
    clusters, where a cell has six prompts and two clusters; or over the draws of its prompts (Satterthwaite 1946)."""
    of = of or cluster(rows)

    def mean(frame: pd.DataFrame, keys: list[str], name: str) -> pd.DataFrame:
        """Mean, variance and number of the values under each key."""
        found = frame.groupby(list(dict.fromkeys(keys)), observed=True, dropna=False, sort=False)[name]
        return found.agg(mean_="mean", var_="var", n_="size").reset_index()

    runs = mean(rows, [*by, of, *RUN], column)
    prompts_ = mean(runs, [*by, of, *PROMPT], "mean_")
    clusters = mean(prompts_, [*by, of], "mean_")
    cells = mean(clusters, by, "mean_")
    counted = mean(prompts_, by, "mean_")["n_"]
    inside = _inside(prompts_, clusters, by, of, level) if over == "draws" else {}
    found = {}
    keys = cells[by].itertuples(index=False, name=None)
    for key, x, var, k, n in zip(keys, cells["mean_"], cells["var_"], cells["n_"], counted, strict=True):
        half = stats.t.ppf(0.5 + level / 2, k - 1) * math.sqrt(var / k) if n >= FEWEST and k > 1 else math.nan
        half = inside.get(key, half)
        ends = (None, None) if math.isnan(half) else (x - half, x + half)
        found[key] = Value(float(x), *ends, int(n))
    return found


def _inside(prompts_: pd.DataFrame, clusters: pd.DataFrame, by: list[str], of: str, level: float) -> dict:
    """Half the interval of each cell over the draws of its prompts."""
    group = list(dict.fromkeys([*by, of]))
    each = prompts_.merge(clusters[[*group, "n_"]], on=group, how="left", suffixes=("", "prompts"))
    out = {}
    for key, cell in each.groupby(by, observed=True, dropna=False, sort=False):
        share = 1 / (len(cell[group].drop_duplicates()) * cell["n_prompts"].to_numpy())
        draws_ = cell["n_"].to_numpy()
        part = share**2 * cell["var_"].to_numpy() / draws_
        total = part.sum()
        free = total**2 / (part**2 / (draws_ - 1)).sum() if total else 1.0
        out[key] = float(stats.t.ppf(0.5 + level / 2, max(free, 1.0)) * math.sqrt(total))
    return out


def value(
    rows: pd.DataFrame, of: str = "", column: str = "effect", level: float = 0.95, over: str = "clusters"
) -> Value:
    """`values` of all rows together."""
    return next(iter(values(rows.assign(_all=0), ["_all"], column, of, level, over).values()))


def by_prompt(rows: pd.DataFrame, column: str = "effect") -> list[float]:
    """The mean of every prompt."""
    return rows.groupby(PROMPT, observed=True, dropna=False, sort=False)[column].mean().tolist()


def floor(rows: pd.DataFrame) -> float:
    """The largest effect of an identity edit, as a share of its sweep's gap."""
    return float((rows["noise_floor"] / (rows["clean"] - rows["corrupt"]).abs()).max())


def middle(each: list[float]) -> Value:
    """Mean and 95% range of some sets' effects."""
    low, high = np.quantile(each, [0.025, 0.975])
    return Value(float(np.mean(each)), float(low), float(high), len(each))


def permutation(one: float, others: list[float]) -> float:
    """One-sided p of a value among others, with the +1."""
    return (1 + sum(o >= one - 1e-12 for o in others)) / (1 + len(others))


def participation(effects: list[float]) -> float:
    positive = np.clip(effects, 0, None)
    return float(positive.sum() ** 2 / max((positive**2).sum(), 1e-12))


def spearman(x: pd.Series, y: pd.Series) -> Value:
    """Spearman's correlation with the interval of Fieller, Hartley and Pearson (1957)."""
    n = len(x)
    rho = float(stats.spearmanr(x, y).statistic)
    if n < FEWEST or not math.isfinite(rho):
        return Value(rho, n=n)
    z, half = np.arctanh(np.clip(rho, -1 + 1e-12, 1 - 1e-12)), 1.96 * math.sqrt(1.06 / (n - 3))
    return Value(rho, float(np.tanh(z - half)), float(np.tanh(z + half)), n)


def exact_upper(k: int, n: int, level: float = 0.95) -> float:
    """Clopper and Pearson's one-sided upper bound."""
    return float(stats.beta.ppf(level, k + 1, n - k)) if k < n else 1.0


def exact(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's two-sided bounds."""
    tail = (1 - level) / 2
    low = float(stats.beta.ppf(tail, k, n - k + 1)) if k else 0.0
    high = float(stats.beta.ppf(1 - tail, k + 1, n - k)) if k < n else 1.0
    return low, high


class Test(NamedTuple):
    """One-sided p values of a mean's being at most a threshold (`above`), and at least (`below`); `needed` is how many
    more prompts, as these are spread, would tell it from the threshold. None on too few prompts."""

    above: float | None
    below: float | None
    needed: int = 0


MANY = 2_000  # clusters: as good as never


def t_test(rows: pd.DataFrame, threshold: float, of: str, column: str = "effect", level: float = 0.95) -> Test:
    """Student's t test of the cluster means against a threshold."""
    v = value(rows, of, column, level)
    keys = list(dict.fromkeys([of, *PROMPT]))
    each = rows.groupby(keys, observed=True, dropna=False)[column].mean().reset_index()
    means = each.groupby(of, observed=True, dropna=False)[column].mean().to_numpy(float)
    k = len(means)
    if v.low is None:
        return Test(None, None, max(FEWEST - len(each), 2 - k, 0))
    room, error = means.mean() - threshold, means.std(ddof=1) / math.sqrt(k)
    if error <= 1e-12 * max(abs(means.mean()), abs(threshold)):
        return Test(*((0.0, 1.0) if room > 0 else (1.0, 0.0) if room < 0 else (1.0, 1.0)))
    above, below = float(stats.t.sf(room / error, k - 1)), float(stats.t.cdf(room / error, k - 1))
    if 2 * min(above, below) <= 1 - level:
        return Test(above, below)
    sizes = np.arange(k + 1, MANY + 1)
    enough = stats.t.ppf(0.5 + level / 2, sizes - 1) * means.std(ddof=1) / np.sqrt(sizes) < abs(room)
    size = int(sizes[np.argmax(enough)]) if enough[-1] else MANY
    return Test(above, below, math.ceil((size - k) * len(each) / k))


def holm(p: dict[str, float]) -> dict[str, float]:
    """Holm's adjusted p values (1979)."""
    out, worst = {}, 0.0
    for rank, name in enumerate(sorted(p, key=p.__getitem__)):
        worst = max(worst, min(1.0, p[name] * (len(p) - rank)))
        out[name] = worst
    return out


def benjamini_hochberg(p: list[float]) -> list[float]:
    """Benjamini and Hochberg's adjusted p values (1995)."""
    order = sorted(range(len(p)), key=lambda i: -p[i])
    out, least = [0.0] * len(p), 1.0
    for place, i in enumerate(order):
        least = min(least, p[i] * len(p) / (len(p) - place))
        out[i] = least
    return out
