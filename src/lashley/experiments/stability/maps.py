"""One map of damage a fact, and which of its prompts differ in one thing only."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lashley.facts.contexts import KINDS as CONTEXTS
from lashley.stats.basis import REPLICATE

if TYPE_CHECKING:
    import pandas as pd

DRAW, PARAPHRASE, CONTEXT = "draw", "paraphrase", "context"  # codes of changes; a kind of context is one, too
FOREIGN = "another language"


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
