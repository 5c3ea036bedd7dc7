"""Effects of two studies, cell by cell: their differences with intervals, and how alike they rank.

An effect is the mean over prompts in one cell: a unit, at a role, under an edit, read in one way. What a study has one
value of is no part of a cell, so that studies of different edits or positions can be compared. Where half of a cell's
prompts, in the study that has fewer of them, are the other's too, its difference is taken prompt by prompt, on shared
prompts alone, with a t interval on their cluster means; otherwise between the two studies' means, with Welch's.
Clusters are templates of one fact, or subjects where a cell has several. Controls are not compared.
"""

# Of a column of groups pandas' stubs know no type.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import scipy  # pyright: ignore[reportMissingTypeStubs]

from lashley.stats.inference import intervals

FEWEST_RANKED = 5  # effects of which a rank correlation says something
INNER = ("random", "shuffled", "fit", "constant")  # measures that are controls, or what a knockout is chosen by
KEYS = ["about", "unit", "role", "edit", "measure", "group", "window", "keys", "readout", "set"]
PROMPT = ["asked", "subject", "template"]
DRAW = ["pair", "seed", "prompt"]


def effects(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The effect of every cell on every prompt: first over what a draw has in a cell, then over its draws."""
    group: dict[str, Any] = {"observed": True, "dropna": False, "sort": False}
    draws = rows.groupby([*keys, *PROMPT, *DRAW], **group)["effect"].mean().reset_index()
    return draws.groupby([*keys, *PROMPT], **group)["effect"].mean().reset_index()


def _clustered(each: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    several = each.groupby(keys, dropna=False)["subject"].transform("nunique") > 1
    one = each["template"].where(each["template"].notna(), each["asked"])  # unrelated text has no template
    return each.assign(cluster=each["subject"].where(several, one))


def differences(a: pd.DataFrame, b: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """What the effects of the second study (`effects`) are beyond those of the first, in every cell that both have."""
    found = [frame for frame in (_paired(a, b, keys), _apart(a, b, keys)) if len(frame)]
    return pd.concat(found, ignore_index=True)


def _shared(a: pd.DataFrame, b: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The cells of which half of the prompts, in the study that has fewer, are shared."""
    both = a.merge(b, on=[*keys, *PROMPT])
    each = [
        frame.groupby(keys, dropna=False).size().rename(name).reset_index()
        for name, frame in zip("abs", (a, b, both), strict=True)
    ]
    counts = each[0].merge(each[1], on=keys).merge(each[2], on=keys, how="left").fillna({"s": 0})
    return counts[2 * counts["s"] >= counts[["a", "b"]].min(axis=1)][keys]


def _paired(a: pd.DataFrame, b: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    both = a.merge(b, on=[*keys, *PROMPT], suffixes=("_a", "_b")).merge(_shared(a, b, keys), on=keys)
    both = _clustered(both.assign(difference=both["effect_b"] - both["effect_a"]), keys)
    found = intervals(both, keys, "difference", "cluster").rename(columns={"mean": "difference"})
    for name, column in (("first", "effect_a"), ("second", "effect_b")):
        found[name] = intervals(both, keys, column, "cluster")["mean"]
    return _tested(found.assign(paired=True), _error(found, "difference"), found["clusters"] - 1)[[*keys, *_NUMBERS]]


def _apart(a: pd.DataFrame, b: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Welch 1947 (Biometrika 34): errors of the two means add, with Satterthwaite's degrees of freedom."""
    paired = _shared(a, b, keys).assign(paired=True)
    left = [each.merge(paired, on=keys, how="left") for each in (a, b)]
    some = [intervals(_clustered(each[each["paired"].isna()], keys), keys, "effect", "cluster") for each in left]
    found = some[0].merge(some[1], on=keys, suffixes=("_a", "_b"))
    parts = [_error(found, "mean" + end, end) ** 2 for end in ("_a", "_b")]
    degrees = [np.maximum(found["clusters" + end] - 1, 1) for end in ("_a", "_b")]
    total = parts[0] + parts[1]
    free = total**2 / (parts[0] ** 2 / degrees[0] + parts[1] ** 2 / degrees[1])
    found = found.assign(
        first=found["mean_a"],
        second=found["mean_b"],
        difference=found["mean_b"] - found["mean_a"],
        n=found[["n_a", "n_b"]].min(axis=1),
        clusters=found[["clusters_a", "clusters_b"]].min(axis=1),
        paired=False,
    )
    return _tested(found, total**0.5, free.fillna(1.0))[[*keys, *_NUMBERS]]


_NUMBERS = ["first", "second", "difference", "low", "high", "p", "n", "clusters", "paired"]


def _error(found: pd.DataFrame, mean: str, end: str = "") -> pd.Series:
    """The standard error of a mean, from its interval; NaN where it has none."""
    free = np.maximum(found["clusters" + end] - 1, 1)
    return (found["high" + end] - found[mean]) / scipy.stats.t.ppf(0.975, free)


def _tested(found: pd.DataFrame, error: pd.Series, free: pd.Series) -> pd.DataFrame:
    """With the interval and the two-sided p of the difference, an error of nothing being certain."""
    size, half = found["difference"].abs(), error * scipy.stats.t.ppf(0.975, np.maximum(free, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        p = 2 * scipy.stats.t.sf(size / error, np.maximum(free, 1))
    p = np.where(error.isna(), np.nan, np.where(error > 1e-12 * size, p, np.where(size > 0, 0.0, 1.0)))
    return found.assign(low=found["difference"] - half, high=found["difference"] + half, p=p)


def correlations(table: pd.DataFrame) -> Iterator[tuple[str, float, int]]:
    """Of each kind of effect in words, Spearman's correlation of `first` with `second`, and of how many cells."""
    kinds = [k for k in ("about", "measure", "edit", "group") if k in table]
    groups: Any = table.groupby(kinds, dropna=False) if kinds else [((), table)]
    for what, some in groups:
        if len(some) >= FEWEST_RANKED and some["first"].nunique() > 1 and some["second"].nunique() > 1:
            words = " ".join(filter(None, map(word, what)))
            yield words, float(scipy.stats.spearmanr(some["first"], some["second"]).statistic), len(some)


def word(value: Any) -> str | None:
    """A key as text."""
    return None if pd.isna(value) else str(value)
