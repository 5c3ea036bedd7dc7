"""Two studies of one experiment side by side: what was asked otherwise, and which effects differ, with intervals.

An effect is the mean over prompts in one cell: a unit, at a role, under an edit, read in one way. What a study has one
value of is no part of a cell, so that studies of different edits or positions can be compared. Where half of the
smaller study's prompts are the other's too, differences are taken prompt by prompt, on shared prompts alone, with a t
interval on their cluster means; otherwise between the two studies' means, with Welch's. Clusters are templates of one
fact, or subjects where a cell has several. Controls are not compared.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import scipy

from lashley.charts import scatter
from lashley.claims.grammar import topic
from lashley.core.errors import LashleyError
from lashley.core.figure import Column, Control, Estimate, Figure, Finding, Table, number
from lashley.report.page import Page
from lashley.stats import benjamini_hochberg, intervals
from lashley.study import Study
from lashley.summary import floor, measured

ALPHA = 0.05  # of the false discovery rate over all cells
SHOWN = 30  # cells on a page
FEWEST_RANKED = 5  # effects of which a rank correlation says something
KEYS = ["about", "unit", "role", "edit", "measure", "group", "window", "keys", "readout", "set"]
PROMPT = ["asked", "subject", "template"]
DRAW = ["pair", "seed", "prompt"]


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    `asked` are (field, in the first, in the second) where question, parameters or model differ. `table` has one row a
    cell that both studies measured: its keys, the mean effects `first` and `second`, their `difference` (second less
    first) with its interval `low`, `high` (NaN where there are too few prompts), `p`, `q` (Benjamini-Hochberg over all
    cells), whether it is told apart from 0 (`differs`: q at most 0.05, and beyond the noise floors), `n` prompts and
    `clusters` (of the smaller study, where they are not paired). `correlations` are Spearman's, by kind of effect, with
    the number of cells. `verdicts` are (claim, in the first, in the second), "" where it was not audited.
    """

    studies: tuple[Study, Study]
    asked: tuple[tuple[str, Any, Any], ...]
    paired: bool
    prompts: tuple[int, int, int]  # of the first, of the second, shared
    table: pd.DataFrame
    floor: float
    correlations: tuple[tuple[str, float, int], ...]
    verdicts: tuple[tuple[str, str, str], ...]

    @property
    def keys(self) -> list[str]:
        """The columns of the table that tell cells apart."""
        return [k for k in KEYS if k in self.table]

    def to_json(self) -> bytes:
        """All of it as JSON."""
        names = ("studies", "asked", "paired", "prompts", "floor", "correlations", "verdicts")
        held = {name: getattr(self, name) for name in names} | {"studies": [str(s.folder) for s in self.studies]}
        rows = self.table.astype(object).where(self.table.notna(), None).to_dict("records")
        return msgspec.json.encode({**held, "cells": rows}) + b"\n"

    def page(self) -> Page:
        """The comparison as a page, to be shown or written."""
        first, second = (str(s.folder) for s in self.studies)
        experiment = self.studies[0].ledger.spec.experiment
        return Page(
            title=f"{experiment}: {first} beside {second}",
            question=f"What is otherwise in {second} than in {first}?",
            finding=self._finding(),
            also=tuple(self._also()),
            figures=self._figures(),
            tables=tuple(self._tables()),
            controls=(Control("noise floor", Estimate(self.floor), "the larger of the two studies', as an effect"),),
            caveats=tuple(self._caveats()),
            not_tested=("Controls and exclusions of the two studies are not compared.",),
            command=shlex.join(["lashley", "compare", first, second]),
            study=f"{first} {second}",
            created=max(s.ledger.spec.created for s in self.studies),
        )

    def _basis(self) -> str:
        one, other, shared = map(number, self.prompts)
        if self.paired:
            return f"Paired by prompt: {shared} shared, of {one} and {other}; 95% t interval on cluster means."
        return f"{one} and {other} prompts, {shared} shared: not paired; 95% Welch interval on cluster means."

    def _finding(self) -> Finding:
        table, cells = self.table, number(len(self.table))
        if table["p"].isna().all():
            largest = table.iloc[0]
            sentence = (
                f"Of {cells} effects that both measured, {self._name(largest)} differs most; too few prompts to tell."
            )
            return Finding(sentence, _difference(largest), self._basis())
        apart = table[table["differs"]]
        if not len(apart):
            return Finding(f"None of {cells} effects that both measured is told apart.", None, self._basis())
        first = apart.iloc[0]
        sentence = (
            f"{number(len(apart))} of {cells} effects that both measured differ; the most {self._name(first)}: "
            f"{number(first['first'])} and {number(first['second'])}, a difference of {_difference(first)}."
        )
        return Finding(sentence, _difference(first), f"{self._basis()} Benjamini-Hochberg over all cells, q = {ALPHA}.")

    def _also(self) -> Iterator[Finding]:
        for what, rho, n in self.correlations:
            of = f" of {what}" if what else ""
            yield Finding(f"Spearman's rank correlation of the effects{of} is {number(rho)}, over {number(n)}.")
        changed = [v for v in self.verdicts if v[1] != v[2] and all(v)]
        if both := [v for v in self.verdicts if all(v)]:
            yield Finding(
                f"Of {number(len(both))} claims that both audited, {number(len(changed))} have another verdict."
            )

    def _tables(self) -> Iterator[Table]:
        heads = (Column("what"), Column("first"), Column("second"))
        rows = tuple((what, _short(a), _short(b)) for what, a, b in self.asked)
        yield Table("What was asked otherwise" if rows else "Both were asked the same", heads, rows)
        if self.verdicts:
            claims = (Column("claim"), Column("first"), Column("second"))
            yield Table(
                "What became of the claims", claims, tuple((c, a or None, b or None) for c, a, b in self.verdicts)
            )
        columns = [*self.keys, "first", "second", "difference", "q", "n"]
        lines = [
            (
                *(_word(row[k]) for k in self.keys),
                *(_number(row[k]) for k in ("first", "second")),
                _difference(row),
                _number(row["q"]),
                int(row["n"]),
            )
            for _, row in self.table.head(SHOWN).iterrows()
        ]
        note = (
            f"The {number(len(lines))} most different of {number(len(self.table))}; --json gives all. {self._basis()}"
        )
        yield Table("The effects that differ most", tuple(map(Column, columns)), tuple(lines), note)

    def _figures(self) -> tuple[Figure, ...]:
        drawn = self.table.assign(
            effect=self.table["second"],
            low=np.nan,
            high=np.nan,
            unit=[self._name(row) for _, row in self.table.iterrows()],
        )
        title = f"{number(int(self.table['differs'].sum()))} of {number(len(self.table))} effects differ"
        return (
            scatter(
                drawn, name="effects", title=title, measure="effect in the second study", x="first", label="unit",
                x_title="effect in the first study", floor=self.floor,
            ),
        )  # fmt: skip

    def _caveats(self) -> Iterator[str]:
        fields = {what for what, *_ in self.asked}
        if "model.weights" in fields:
            yield "The models differ: a unit of one name is not the same part in both."
        if not self.paired and self.prompts[2]:
            yield "Some prompts are shared, and were not paired: the intervals are rather too wide than too narrow."
        for study in self.studies:
            if not study.complete:
                yield f"{study.folder} is incomplete; `lashley resume {study.folder}` does the rest."

    def _name(self, row: pd.Series) -> str:
        return " ".join(filter(None, (_word(row[k]) for k in self.keys)))


def compare(first: Study | str | Path, second: Study | str | Path) -> Comparison:
    """Two studies of one experiment, or their folders, side by side. Needs neither model nor torch.

    Raises `LashleyError` for studies of different experiments, and where nothing was measured in both.
    """
    one, other = (s if isinstance(s, Study) else Study.open(s) for s in (first, second))
    names = [s.ledger.spec.experiment for s in (one, other)]
    if names[0] != names[1]:
        raise LashleyError(f"{one.folder} holds {names[0]!r} and {other.folder} {names[1]!r}; compare two of one kind")
    rows = [_rows(study) for study in (one, other)]
    keys = [k for k in KEYS if any(r[k].nunique(dropna=False) > 1 for r in rows) or k == "unit"]
    a, b = (_each(r, keys) for r in rows)
    both = a[keys].drop_duplicates().merge(b[keys].drop_duplicates(), on=keys)
    if not len(both):
        raise LashleyError(
            f"{one.folder} and {other.folder} measured no effect in common; ask both about the same units"
        )
    a, b = (each.merge(both, on=keys) for each in (a, b))
    prompts = [set(map(tuple, each[PROMPT].drop_duplicates().to_numpy())) for each in (a, b)]
    shared = len(prompts[0] & prompts[1])
    paired = 2 * shared >= min(map(len, prompts))
    table = (_paired if paired else _apart)(a, b, keys)
    edge = max(float(np.nan_to_num(floor(r))) for r in rows)
    table["q"] = benjamini_hochberg(table["p"].to_numpy())
    table["differs"] = (table["q"] <= ALPHA) & (table["difference"].abs() > edge)
    order = table["difference"].abs().sort_values(ascending=False, kind="stable").index
    table = table.loc[order].sort_values("differs", ascending=False, kind="stable").reset_index(drop=True)
    return Comparison(
        (one, other),
        tuple(_asked(one, other)),
        paired,
        (len(prompts[0]), len(prompts[1]), shared),
        table,
        edge,
        tuple(_correlations(table)),
        tuple(_verdicts(one, other)),
    )


def _rows(study: Study) -> pd.DataFrame:
    """The measurements that are no controls, with the unit that each is of and, of claims, what it is about."""
    rows = measured(study.table)
    measure = rows["measure"].astype(object).fillna("").astype(str)
    rows = rows[rows["control"].isna() & rows["copy"].isna() & ~measure.str.startswith(("random", "shuffled"))]
    rows = rows[np.isfinite(rows["effect"].astype(float))]
    if not len(rows):
        raise LashleyError(f"nothing is measured in {study.folder} yet; `lashley resume {study.folder}` does it")
    units = [re.sub(r"@-?\w+", "", str(site)) for site in rows["site"]]
    about: list[str | None] = [None] * len(rows)
    if hasattr(study.experiment, "asks"):
        topics = [topic(t.about) for t in study.experiment.asks(study.params)]
        about = [topics[int(q)] for q in rows["question"].astype(str)]
        rows = rows.assign(set=None)  # numbers of the sets of one topic
    words = {k: rows[k].astype(object).where(rows[k].notna(), None) for k in (*KEYS, *PROMPT, *DRAW) if k in rows}
    return rows.assign(**words, unit=units, about=about)


def _each(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The effect of every cell on every prompt: first over what a draw has in a cell, then over its draws."""
    group: dict[str, Any] = {"observed": True, "dropna": False, "sort": False}
    draws = rows.groupby([*keys, *PROMPT, *DRAW], **group)["effect"].mean().reset_index()
    return draws.groupby([*keys, *PROMPT], **group)["effect"].mean().reset_index()


def _clustered(each: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    several = each.groupby(keys, dropna=False)["subject"].transform("nunique") > 1
    return each.assign(cluster=each["subject"].where(several, each["template"]))


def _paired(a: pd.DataFrame, b: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    both = a.merge(b, on=[*keys, *PROMPT], suffixes=("_a", "_b"))
    both = _clustered(both.assign(difference=both["effect_b"] - both["effect_a"]), keys)
    found = intervals(both, keys, "difference", "cluster").rename(columns={"mean": "difference"})
    for name, column in (("first", "effect_a"), ("second", "effect_b")):
        found[name] = intervals(both, keys, column, "cluster")["mean"]
    free = found["clusters"] - 1
    return _tested(found, _error(found, "difference"), free)[[*keys, *_NUMBERS]]


def _apart(a: pd.DataFrame, b: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Welch 1947 (Biometrika 34): errors of the two means add, with Satterthwaite's degrees of freedom."""
    some = [intervals(_clustered(each, keys), keys, "effect", "cluster") for each in (a, b)]
    found = some[0].merge(some[1], on=keys, suffixes=("_a", "_b"))
    parts = [_error(found, "mean" + end, end) ** 2 for end in ("_a", "_b")]
    degrees = [np.maximum(found["clusters" + end] - 1, 1) for end in ("_a", "_b")]
    total = parts[0] + parts[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        free = total**2 / (parts[0] ** 2 / degrees[0] + parts[1] ** 2 / degrees[1])
    found = found.assign(
        first=found["mean_a"],
        second=found["mean_b"],
        difference=found["mean_b"] - found["mean_a"],
        n=found[["n_a", "n_b"]].min(axis=1),
        clusters=found[["clusters_a", "clusters_b"]].min(axis=1),
    )
    return _tested(found, total**0.5, free.fillna(1.0))[[*keys, *_NUMBERS]]


_NUMBERS = ["first", "second", "difference", "low", "high", "p", "n", "clusters"]


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


def _correlations(table: pd.DataFrame) -> Iterator[tuple[str, float, int]]:
    kinds = [k for k in ("about", "measure", "edit", "group") if k in table]
    groups: Any = table.groupby(kinds, dropna=False) if kinds else [((), table)]
    for what, some in groups:
        if len(some) >= FEWEST_RANKED and some["first"].nunique() > 1 and some["second"].nunique() > 1:
            words = " ".join(filter(None, map(_word, what)))
            yield words, float(scipy.stats.spearmanr(some["first"], some["second"]).statistic), len(some)


def _asked(one: Study, other: Study) -> Iterator[tuple[str, Any, Any]]:
    """Where what makes them these studies differs; names of the model too."""
    flat = [dict(_flat({**s.ledger.spec.identity(), "name": s.ledger.spec.model["name"]}, "")) for s in (one, other)]
    for what in flat[0] | flat[1]:
        first, second = (held.get(what) for held in flat)
        if first != second:
            yield ("model.name" if what == "name" else what), first, second


def _flat(value: Any, at: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _flat(part, f"{at}.{key}".lstrip("."))
    else:
        yield at, value


def _verdicts(one: Study, other: Study) -> Iterator[tuple[str, str, str]]:
    if hasattr(one.experiment, "asks"):
        each = [{v.claim: v.outcome for v in s.page().verdicts} for s in (one, other)]
        for claim in each[0] | each[1]:
            yield claim, each[0].get(claim, ""), each[1].get(claim, "")


def _difference(row: pd.Series) -> Estimate:
    return Estimate(row["difference"], row["low"], row["high"], row["n"])


def _word(value: Any) -> str | None:
    return None if pd.isna(value) else str(value)


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _short(value: Any) -> str:
    text = "–" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:45]}…{text[-14:]}"
