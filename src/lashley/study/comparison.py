"""Two studies of one experiment side by side: what was asked otherwise, and which effects differ, with intervals.

How effects are compared is told in `lashley.stats.differences`.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from lashley.claims.grammar import parse, topic
from lashley.core.claim import About
from lashley.core.errors import LashleyError
from lashley.core.figure import Column, Control, Estimate, Figure, Finding, Table, number, plural
from lashley.core.site import Site
from lashley.experiments import audit
from lashley.report.charts import scatter
from lashley.report.page import Page
from lashley.stats.differences import DRAW, INNER, KEYS, PROMPT, correlations, differences, effects, word
from lashley.stats.inference import benjamini_hochberg
from lashley.stats.summary import floor, measured
from lashley.study.study import Study

ALPHA = 0.05  # of the false discovery rate over all cells
SHOWN = 30  # cells on a page


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    `asked` are (field, in the first, in the second) where question, parameters or model differ. `table` has one row a
    cell that both studies measured: its keys, the mean effects `first` and `second`, their `difference` (second less
    first) with its interval `low`, `high` (NaN where there are too few prompts), `p`, `q` (Benjamini-Hochberg over all
    cells), whether it is told apart from 0 (`differs`: q at most 0.05, and beyond the noise floors), whether it is
    `paired`, and of how many prompts (`n`) and `clusters` (where not paired, of the study that has fewer).
    `correlations` are Spearman's, by kind of effect, with the number of cells. `verdicts` are (claim, in the first, in
    the second), "" where it was not audited; claims that differ in spelling or options alone are one.
    """

    studies: tuple[Study, Study]
    asked: tuple[tuple[str, Any, Any], ...]
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
        names = ("studies", "asked", "floor", "correlations", "verdicts")
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
        paired, cells = int(self.table["paired"].sum()), len(self.table)
        if paired == cells:
            return "Paired by prompt; 95% t intervals on cluster means of the differences."
        welch = "Welch's 95% intervals on the cluster means of the two studies"
        if not paired:
            return f"Not paired, since fewer than half of the prompts are shared; {welch}."
        return f"{number(paired)} of {number(cells)} are paired by prompt (t intervals); of the others {welch}."

    def _finding(self) -> Finding:
        table, both = self.table, f"{plural(len(self.table), 'effect')} that both measured"
        if table["p"].isna().all():
            largest = table.iloc[0]
            sentence = f"Of {both}, {self._name(largest)} differs most; too few prompts to tell."
            return Finding(sentence, _difference(largest), self._basis())
        apart = table[table["differs"]]
        if not len(apart):
            return Finding(f"None of {both} is told apart.", None, self._basis())
        first = apart.iloc[0]
        sentence = (
            f"{number(len(apart))} of {both} differ{'s' * (len(apart) == 1)}; the most {self._name(first)}: "
            f"{number(first['first'])} and {number(first['second'])}, a difference of {_difference(first)}."
        )
        return Finding(sentence, _difference(first), f"{self._basis()} Benjamini-Hochberg over all cells, q = {ALPHA}.")

    def _also(self) -> Iterator[Finding]:
        if not self.asked:
            yield Finding("Both were asked the same.")
        for what, rho, n in self.correlations:
            of = f" of {what}" if what else ""
            yield Finding(f"Spearman's rank correlation of the effects{of} is {number(rho)}, over {number(n)}.")
        changed = [v for v in self.verdicts if v[1] != v[2] and all(v)]
        if both := [v for v in self.verdicts if all(v)]:
            words = f"{number(len(changed))} of {number(len(both))} claim{'s' * (len(both) > 1)} that both audited"
            yield Finding(f"{words} came to another verdict.")

    def _tables(self) -> Iterator[Table]:
        heads = (Column("what"), Column("first"), Column("second"))
        rows = tuple((what, _short(a), _short(b)) for what, a, b in self.asked)
        if rows:
            yield Table("What was asked otherwise", heads, rows)
        if self.verdicts:
            claims = (Column("claim"), Column("first"), Column("second"))
            yield Table(
                "What became of the claims", claims, tuple((c, a or None, b or None) for c, a, b in self.verdicts)
            )
        columns = ["effect", "first", "second", "difference", "q", "n"]
        lines = [
            (
                self._name(row),
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
        apart = int(self.table["differs"].sum())
        title = f"{number(apart)} of {plural(len(self.table), 'effect')} differ{'s' * (apart == 1)}"
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
        for study in self.studies:
            if not study.complete:
                yield f"{study.folder} is incomplete; `lashley resume {study.folder}` does the rest."

    def _name(self, row: pd.Series) -> str:
        return " ".join(filter(None, (word(row[k]) for k in self.keys if k != "readout")))


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
    a, b = (effects(r, keys) for r in rows)
    both = a[keys].drop_duplicates().merge(b[keys].drop_duplicates(), on=keys)
    if not len(both):
        raise LashleyError(
            f"{one.folder} and {other.folder} measured no effect in common; ask both about the same units"
        )
    a, b = (frame.merge(both, on=keys) for frame in (a, b))
    table = differences(a, b, keys)
    edge = max(float(np.nan_to_num(floor(r))) for r in rows)
    table["q"] = benjamini_hochberg(table["p"].to_numpy())
    table["differs"] = (table["q"] <= ALPHA) & (table["difference"].abs() > edge)
    order = table["difference"].abs().sort_values(ascending=False, kind="stable").index
    table = table.loc[order].sort_values("differs", ascending=False, kind="stable").reset_index(drop=True)
    ranked = () if one.experiment.asks == "claims" else correlations(table)  # claims are of a few units
    return Comparison((one, other), tuple(_asked(one, other)), table, edge, tuple(ranked), tuple(_verdicts(one, other)))


def _rows(study: Study) -> pd.DataFrame:
    """The measurements that are no controls, with the unit that each is of and, of claims, what it is about."""
    rows = measured(study.table)
    said = {k: rows[k].astype(object).where(rows[k].notna(), "") for k in ("control", "copy", "measure")}
    own = (said["control"] == "") & (said["copy"] == "")
    rows = rows[own & ~said["measure"].str.startswith(INNER)]
    rows = rows[np.isfinite(rows["effect"].astype(float))]
    if not len(rows):
        raise LashleyError(f"nothing is measured in {study.folder} yet; `lashley resume {study.folder}` does it")
    units = [re.sub(r"@-?\w+", "", str(site)) for site in rows["site"]]
    about: Any = None
    if isinstance(study.params, audit.Params):
        topics = [topic(t.about) for t in audit.asks(study.params)]
        about = [topics[int(q)] for q in rows["question"].astype(str)]
        rows = rows.assign(set=None)  # numbers of the sets of one topic
    named = [k for k in (*KEYS, *PROMPT, *DRAW) if k in rows]
    words = {k: rows[k].astype(object).where(rows[k].notna() & (rows[k] != ""), None) for k in named}
    return rows.assign(**words | {"unit": units, "about": about})


def _asked(one: Study, other: Study) -> Iterator[tuple[str, Any, Any]]:
    """Where what makes them these studies differs; names of the model too."""
    flat = [dict(_flat({**s.identity, "name": s.ledger.spec.model["name"]}, "")) for s in (one, other)]
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
    if one.experiment.asks == "claims":
        first, second = ({v.claim: v.outcome for v in s.page().verdicts} for s in (one, other))
        alike = _alike(first, second)
        for claim in first:
            its = alike.get(claim, claim)
            words = claim if its == claim else f"{claim} (in the second: {its})"
            yield words, first[claim], second.get(its, "")
        for claim in second:
            if claim not in first and claim not in alike.values():
                yield claim, "", second[claim]


def _alike(first: Iterable[str], second: Iterable[str]) -> dict[str, str]:
    """Of claims that only the first study has, the one of the second that claims the same (sites, predicate, what it is
    about), written otherwise or with other options; none where several do."""
    apart = [[c for c in own if c not in other] for own, other in ((first, second), (second, first))]
    mine, its = (Counter(map(_claimed, claims)) for claims in apart)
    named = {_claimed(claim): claim for claim in apart[1]}
    once = {c: _claimed(c) for c in apart[0] if mine[_claimed(c)] == its[_claimed(c)] == 1}
    return {claim: named[same] for claim, same in once.items()}


def _claimed(claim: str) -> tuple[frozenset[Site], str, About]:
    """What a claim claims, however it is written and whatever it asks for."""
    read = parse(claim)
    return frozenset(read.sites), read.predicate, read.about


def _difference(row: pd.Series) -> Estimate:
    return Estimate(row["difference"], row["low"], row["high"], row["n"])


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _short(value: Any) -> str:
    text = "–" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:45]}…{text[-14:]}"
