"""From single measurements to cells: means over prompts with their intervals.

The unit of replication is the prompt (template x context x corruption draw). Over one fact, prompts are clustered by
template; over several facts, by subject, so that the interval speaks about further facts of the relation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lashley.core.figure import Estimate
from lashley.facts.tasks import TASKS
from lashley.stats import intervals

if TYPE_CHECKING:
    import pandas as pd

REPLICATE = ["relation", "subject", "template", "context", "prompt", "pair", "seed"]


def measured(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that hold a measurement."""
    return table[~table["excluded"]]


def cluster(table: pd.DataFrame) -> str:
    """What the prompts of a table are clustered by."""
    return "subject" if table["subject"].nunique() > 1 else "template"


def cells(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Mean effect in every cell of `by`, with a clustered t interval: columns *by, effect, low, high, n.

    Where a prompt has several rows in a cell (positions in one role), their mean counts as one.
    """
    keys = list(dict.fromkeys([*by, *REPLICATE]))
    rows = table.groupby(keys, observed=True, dropna=False)["effect"].mean().reset_index()
    found = intervals(rows, by, "effect", cluster(table))
    return found.rename(columns={"mean": "effect"})


def centred(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with, for a window of layers, the layer in its middle."""
    if not rows["layer"].isna().any():
        return rows
    layers = rows["site"].astype(str).str.extractall(r"L(\d+)\.")[0].astype(int).groupby(level=0)
    middle = layers.apply(lambda x: x.iloc[(len(x) - 1) // 2])
    return rows.assign(layer=rows["layer"].fillna(middle))


def floor(table: pd.DataFrame) -> float:
    """The noise floor as an effect: the largest over the table's prompts, a share of the clean-corrupt gap."""
    gap = (table["clean"] - table["corrupt"]).abs()
    return float((table["noise_floor"] / gap).max())


def facts(table: pd.DataFrame) -> str:
    """What a table is about, in words: `capital(France) = Paris`, or `14 facts of capital`."""
    subjects = table["subject"].unique()
    if (task := str(table["relation"].iloc[0])) in TASKS:
        return f"{TASKS[task].title} ({len(table[['subject', 'template']].drop_duplicates())} items)"
    if len(subjects) > 1:
        return f"{len(subjects)} facts of {' and '.join(map(str, table['relation'].unique()))}"
    first = table.iloc[0]
    if first["relation"] == "prompt":
        return f"“{str(first['template']).replace('{}', str(first['subject']))} {first['object']}”"
    return f"{first['relation']}({first['subject']}) = {first['object']}"


def prompts(table: pd.DataFrame) -> str:
    """How many prompts a table rests on, in words."""
    n = len(table[REPLICATE].drop_duplicates())
    clusters = table[cluster(table)].nunique()
    word = "prompt" if n == 1 else "prompts"
    return f"{n} {word} ({clusters} {cluster(table)}{'s' * (clusters > 1)})"


def estimate(row: pd.Series) -> Estimate:
    """The mean effect of one row of `cells`."""
    return Estimate(row["effect"], row["low"], row["high"], row["n"], "share of the logit difference")


def share(e: Estimate) -> str:
    """An estimate in per cent.

    >>> share(Estimate(0.187, 0.158, 0.218)), share(Estimate(0.5))
    ('18.7% [15.8, 21.8]', '50%')
    """
    value, low, high = (None if x is None else 100 * x for x in (e.value, e.low, e.high))
    value, *interval = str(Estimate(value, low, high)).split(" [")
    return f"{value}%{''.join(' [' + x for x in interval)}"


def percent(e: Estimate) -> str:
    """The same, with what it is a share of."""
    return f"{share(e)} of the logit difference"
