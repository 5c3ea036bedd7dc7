"""From single measurements to cells: means over prompts with their intervals, and the words that say what they rest on.

The unit of replication is the prompt (template x context of one fact). Corruption draws of one prompt, other foils or
other noise, are averaged within it. Over one fact, prompts are clustered by template; over several facts, by subject,
so that the interval speaks about further facts of the relation. Where there are too few prompts for that, yet enough
draws of each, the interval is over the draws and speaks about these prompts alone; the words say so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy  # pyright: ignore[reportMissingTypeStubs]

from lashley.core.figure import Cell, Column, Estimate, Table, number
from lashley.core.run import NOISE_SDS
from lashley.facts.tasks import TASKS
from lashley.stats.basis import PROMPT, REPLICATE, basis, cluster, spread_over
from lashley.stats.inference import clipped, intervals

if TYPE_CHECKING:
    import pandas as pd

LOGITS = "logit_difference"


def measured(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that hold a measurement."""
    return table[~table["excluded"]]


def cells(table: pd.DataFrame, by: list[str], value: str = "effect") -> pd.DataFrame:
    """Mean effect in every cell of `by`, with the 95% interval that `spread_over` names: columns *by, effect, low,
    high, n (prompts).

    Where a draw has several rows in a cell (positions in one role) their mean counts as one, and so do the draws of
    a prompt.
    """
    own = cluster(table)
    rows = table.assign(
        prompt_=_code(table, PROMPT), draw_=_code(table, [*PROMPT, *REPLICATE]), effect=table[value].astype(float)
    )
    keys = list(dict.fromkeys([*by, own, "prompt_"]))
    draws = rows.groupby([*keys, "draw_"], observed=True, dropna=False, sort=False)["effect"].mean().reset_index()
    grouped = draws.groupby(keys, observed=True, dropna=False, sort=False)["effect"]
    each = grouped.mean().reset_index()
    found = intervals(each, by, "effect", own).rename(columns={"mean": "effect"})
    if spread_over(table) != "draws":
        return found
    each = each.assign(spread=grouped.var().to_numpy(), draws=grouped.count().to_numpy())
    half = _within(each, by, own)
    return found.assign(low=found["effect"] - half, high=found["effect"] + half)


CAP = "Of each run, at most 100% either way counts: what is all lost is lost once."


def capped(table: pd.DataFrame) -> pd.DataFrame:
    """Effects that are shares of a gap, none beyond 1 either way (`CAP`); those in logits or nats as they are."""
    return table.assign(effect=table["effect"].where(table["corrupt"].isna(), clipped(table["effect"])))


def _within(each: pd.DataFrame, by: list[str], own: str) -> np.ndarray:
    """Half the 95% interval, over draws within prompts, of the mean of cluster means in each cell: prompts `each` have
    `spread` (variance) and number of `draws`. Degrees of freedom by Satterthwaite 1946 (Biometrics Bull. 2)."""
    cell = each.groupby(by, observed=True, dropna=False, sort=False).ngroup()
    clusters = each.groupby(cell)[own].nunique()
    weight = 1 / (each.groupby([*by, own], observed=True, dropna=False)["draws"].transform("size") * cell.map(clusters))
    part = weight**2 * each["spread"] / each["draws"]
    total = part.groupby(cell).sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        free = total**2 / (part**2 / (each["draws"] - 1)).groupby(cell).sum()
    free = free.fillna(1.0).clip(lower=1.0)  # draws that do not differ at all
    return (scipy.stats.t.ppf(0.975, free) * np.sqrt(total)).to_numpy()


def _code(table: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """A number for what each row is in these columns."""
    columns = list(dict.fromkeys(columns))
    return table.groupby(columns, observed=True, dropna=False, sort=False).ngroup().to_numpy()


def windows(rows: pd.DataFrame, about: pd.Series | None = None) -> pd.DataFrame:
    """The rows with `layers`, the layers of each trial in words, and in `layer` where it has several the one that the
    window is about (`about`, or told from its ends). Windows that the first or the last layer cuts off have fewer
    layers: they are other interventions, and have other names.
    """
    wide = rows["layer"].isna()
    names = [f"L{layer}" for layer in rows["layer"].astype(object)]
    if not wide.any():
        return rows.assign(layers=names)
    some = rows[wide]
    sites = some["site"].astype(str)
    found = sites.str.extractall(r"L(\d+)\.")[0].astype(int).groupby(level=0)
    first, last = (ends.reindex(sites.index).to_numpy() for ends in (found.min(), found.max()))
    width = some["window"].astype(str).astype(int).to_numpy()
    below = (width - 1) // 2
    short = sites.str.contains("…", regex=False).to_numpy()  # too many sites to be spelled out
    if about is None:
        last = np.where(short, first + some["size"].to_numpy(int) - 1, last)
        middle = np.where(first > 0, first + below, last + 1 - width + below)
    else:
        middle = about[wide].to_numpy(int)
        last = np.where(short, np.minimum(middle - below + width - 1, int(about.max())), last)
    layer, layers = rows["layer"].copy(), np.array(names, object)
    layer[wide], layers[wide] = middle, [f"L{a}-{b}" for a, b in zip(first, last, strict=True)]
    return rows.assign(layer=layer, layers=layers)


def width(rows: pd.DataFrame) -> int:
    """How many layers the windows of `windows` have, those at the ends apart; 0 where there are none."""
    ends = [tuple(map(int, name[1:].split("-"))) for name in set(rows["layers"]) if "-" in name]
    return max((b - a + 1 for a, b in ends), default=0)


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
        prompt, answer = str(first["template"]).replace("{}", str(first["subject"])), first["object"]
        if not str(first.get("asked", prompt)).endswith(prompt):  # a chat, where the answer is another's
            return f"“{prompt}” → “{answer}”"
        between = "" if str(first.get("join")).startswith("none") else " "  # as the answer was measured
        return f"“{prompt}{between}{answer}”"
    return f"{first['relation']}({first['subject']}) = {first['object']}"


def prompts(table: pd.DataFrame) -> str:
    """How many prompts a table rests on, in words, and how many corruptions of each where they are several."""
    return str(basis(table))


def resting(table: pd.DataFrame) -> str:
    """What means over a table rest on, in words: how many prompts, and what their intervals are over."""
    return basis(table).resting


def readings(rows: pd.DataFrame, edited: pd.DataFrame | None = None, what: str = "") -> tuple[Table, ...]:
    """What effects are shares of: the logit difference of the clean, the corrupt and, of the rows `edited` (`what` says
    what was done there), the edited runs; the object's probability and rank; and the scale of the noise. () where no
    row has a corrupt run.
    """
    own = rows[(rows["readout"] == LOGITS) & rows["corrupt"].notna() & rows["copy"].isna()]
    if not len(own):
        return ()
    own = own.drop_duplicates(list(dict.fromkeys([*PROMPT, *REPLICATE])))
    clean, corrupt = _whole(own, "clean"), _whole(own, "corrupt")
    lines: list[list[Cell]] = [["logit difference, in logits", clean, corrupt]]
    note = f"Means over {resting(own)}"
    if own["p_clean"].notna().any():
        likely = (Estimate(_whole(own, name).value, n=clean.n) for name in ("p_clean", "p_corrupt"))
        lines.append(["probability of the object", *likely])
        ranks = _ranks(own["rank_clean"]), _ranks(own["rank_corrupt"])
        lines.append(["rank of its first token in the vocabulary", *ranks])
        note += " Of ranks the median, and the best and the worst."
    else:
        note += " Probability and rank were not measured by the version that planned this study."
    if len(sd := own["noise_sd"].dropna()):
        ends = dict.fromkeys(number(float(x)) for x in (sd.min(), sd.max()))
        note += (
            f" The noise on the subject's embeddings has a standard deviation of {' to '.join(ends)} (in the residual "
            f"stream entering layer 0), {number(int(NOISE_SDS))} times that of subjects' embeddings."
        )
    heads = [Column("readout"), Column("clean run"), Column("corrupt run")]
    if edited is not None and len(edited):
        heads.append(Column("edited run"))
        lines = [[*line, None] for line in lines]
        lines[0][-1] = _whole(edited, "value")
        note += f" Edited: {what}."
    title = (
        f"Corruption takes the logit difference from {number(clean.value)} to {number(corrupt.value)} logits; "
        "effects are shares of that difference"
    )
    return (Table(title, tuple(heads), tuple(map(tuple, lines)), note),)


def _whole(rows: pd.DataFrame, value: str) -> Estimate:
    """The mean of a column over the prompts."""
    found = cells(rows.assign(all_=0), ["all_"], value).iloc[0]
    same = found["low"] == found["high"]
    return Estimate(found["effect"], None if same else found["low"], None if same else found["high"], found["n"])


def _ranks(ranks: pd.Series) -> str:
    """Ranks in words: `1`, or `2 (1 to 40)`."""
    low, middle, high = (number(float(x), 0) for x in (ranks.min(), ranks.median(), ranks.max()))
    return low if low == high else f"{middle} ({low} to {high})"


def against(cell: pd.DataFrame, best: pd.Series) -> pd.Series | None:
    """The cell of the other sign, where its effect is larger in size than that of `best`, the largest of all."""
    least = cell.iloc[int(cell["effect"].to_numpy().argmin())]
    return least if least["effect"] < 0 and -least["effect"] > best["effect"] else None


def estimate(row: pd.Series) -> Estimate:
    """The mean effect of one row of `cells`."""
    import pandas as pd

    value, low, high, n = (None if pd.isna(row[name]) else row[name] for name in ("effect", "low", "high", "n"))
    return Estimate(value, low, high, n, "share of the logit difference")


def ranged(values: np.ndarray | pd.Series) -> Estimate:
    """The mean of what controls came to, one value each, and between which values 95% of them lie."""
    low, high = np.quantile(values, [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high), len(values))


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


def cost(e: Estimate) -> str:
    """What a knockout costs, in per cent: nothing where its damage is negative.

    >>> cost(Estimate(0.5)), cost(Estimate(-0.004, -0.01, 0.002))
    ('50%', 'nothing (a damage of −0.4% [−1.0, 0.2])')
    """
    return share(e) if e.value is None or e.value >= 0 else f"nothing (a damage of {share(e)})"
