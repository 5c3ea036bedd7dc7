"""What means over prompts rest on: how many prompts, in how many clusters, with how many corruptions of each.

The unit of replication is the prompt (template x context of one fact); see `summary`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from lashley.core.figure import plural
from lashley.stats.inference import FEWEST

if TYPE_CHECKING:
    import pandas as pd

PROMPT = ["relation", "subject", "template", "context", "asked"]
REPLICATE = ["relation", "subject", "template", "context", "prompt", "pair", "seed"]  # a draw of a prompt


class Basis(msgspec.Struct, frozen=True):
    """What a mean over prompts rests on.

    `prompts` of one fact are clustered by template, those of several by subject: `cluster` is which, `clusters` how
    many. Each prompt has from `fewest` to `most` corruption draws, which are `noise` or other foils. `over` is what the
    95% intervals are over: "clusters" (where prompts are six or more, in two clusters or more), "draws" of each prompt
    (where they are six or more), or "": there are none.
    """

    prompts: int
    cluster: Literal["subject", "template"]
    clusters: int
    fewest: int
    most: int
    noise: bool
    over: Literal["clusters", "draws", ""]

    def __str__(self) -> str:
        """How many prompts, and how many corruptions of each where they are several: `12 prompts (12 templates)`."""
        words = f"{plural(self.prompts, 'prompt')} ({plural(self.clusters, self.cluster)})"
        if self.most > 1:
            word = "noise draw" if self.noise else "foil"
            each = "each" if self.prompts > 1 else "of it"
            fewest = f"{self.fewest} to " if self.fewest < self.most else ""
            words += f", {fewest}{plural(self.most, word)} {each}"
        return words

    @property
    def resting(self) -> str:
        """The same, and what the intervals are over."""
        own = "this prompt" if self.prompts == 1 else "these prompts"
        how = {
            "clusters": f"95% t interval on {self.cluster} means",
            "draws": f"95% t interval over the draws of {own}, which says nothing about further ones",
            "": f"No interval: that takes six prompts or more, of two {self.cluster}s or more",
        }[self.over]
        return f"{self}{'; ' if how.startswith('95') else '. '}{how}."


def basis(table: pd.DataFrame) -> Basis:
    """What means over the rows of a table rest on."""
    draws, own = _draws(table), cluster(table)
    return Basis(
        prompts=len(draws),
        cluster=own,
        clusters=int(table[own].nunique()),
        fewest=min(draws, default=0),
        most=max(draws, default=0),
        noise=bool((table["corruption"] == "noise").all()),
        over=spread_over(table),
    )


def cluster(table: pd.DataFrame) -> Literal["subject", "template"]:
    """What the prompts of a table are clustered by."""
    return "subject" if table["subject"].nunique() > 1 else "template"


def spread_over(table: pd.DataFrame) -> Literal["clusters", "draws", ""]:
    """What the intervals of a table are over: see `Basis`."""
    draws = _draws(table)
    if len(draws) >= FEWEST and table[cluster(table)].nunique() > 1:
        return "clusters"
    return "draws" if len(draws) and min(draws) >= FEWEST else ""


def _draws(table: pd.DataFrame) -> list[int]:
    """How many corruptions each prompt of a table has."""
    each = table[[*PROMPT, "pair", "seed"]].drop_duplicates()  # whichever of its runs is edited
    return each.groupby(PROMPT, observed=True, dropna=False).size().tolist()
