"""What every page of measured effects says: how many prompts and facts, the noise floor, the logit differences."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from . import arithmetic as a
from .arithmetic import Value
from .known import Known, Tag
from .study import Shown


def known(shown: Shown, rows: pd.DataFrame) -> Known:
    """Counts and constants of any page on `rows`."""
    k = Known()
    k.identifiers = {"layer": shown.layers, "head": int(shown.heading["model"]["heads"])}
    k.count("prompt", a.prompts(rows))
    k.count("template", rows["template"].nunique())
    k.count("subject fact", len(rows[["relation", "subject"]].drop_duplicates()))
    k.count("item", len(rows[["subject", "template"]].drop_duplicates()))
    k.count("draw corruption foil", *a.draws(rows))
    k.count("layer", shown.layers)
    k.add(a.floor(rows), "noise floor", ("noise floor", "identity edit"))
    for share in (0.95,):
        k.add(share, "level of intervals", ("interval", "intervals", "range", "bounds"))
    basics(k, rows)
    return k


def widths(spans: pd.Series) -> set[int]:
    """How many layers the windows have that were measured."""
    ends = [[int(x) for x in span[1:].split("-")] for span in spans.unique()]
    return {e[-1] - e[0] + 1 for e in ends}


def basics(k: Known, rows: pd.DataFrame) -> None:
    """What effects are shares of: logit differences of the clean and the corrupted run, the object's probability and
    rank after both, and the noise."""
    once = rows[rows["copy"].isna() & rows["corrupt"].notna()].drop_duplicates(a.RUN)
    if not len(once):
        return
    over = a.interval_over(once)
    for column, words in (("clean", ("clean", "unedited", "takes")), ("corrupt", ("corrupted", "corrupt", "takes"))):
        v = a.value(once, column=column, over=over)
        bare = Value(v.value, None, None, v.n)
        k.add(bare if v.low == v.high else v, f"{column} logit difference", words, "logit difference")
        k.add(v.value, f"{column} logit difference", words, "logit difference")
        if once.get(f"p_{column}") is None or once[f"p_{column}"].isna().all():
            continue
        likely = a.value(once, column=f"p_{column}")
        k.add(Value(likely.value, None, None, likely.n), f"{column} probability", words, "probability")
        ranks = once[f"rank_{column}"]
        for x in (np.floor(ranks.median()), np.ceil(ranks.median()), ranks.min(), ranks.max()):
            k.add(float(x), f"rank, {column}", words, "rank")
    if once.get("noise_sd") is not None and once["noise_sd"].notna().any():
        for x in (once["noise_sd"].min(), once["noise_sd"].max()):
            k.add(float(x), "noise", "standard deviation")
        k.add(3, "noise, in standard deviations of embeddings (ROME)", "times")


def edited(k: Known, name: str, v: Value, *about: Tag) -> None:
    """The logit difference of an edited run; where its interval has no width none is shown."""
    k.add(Value(v.value, None, None, v.n) if v.low == v.high else v, f"logit difference, {name}", "edited run", *about)


def said(page: dict) -> str:
    """All that a page says in sentences."""
    lines = [f["sentence"] + " " + f["basis"] for f in [page["finding"], *page["also"]]]
    lines += [f"{c['name']} {c['reading']}" for c in page["controls"]]
    return "\n".join([*lines, *page["caveats"], *page["not_tested"]])


def figures(page: dict, expected: dict[str, set[str]]) -> list[str]:
    """What figures lack or have too much: all cells that were measured are drawn, once."""
    out = []
    for figure in page["figures"]:
        name = figure["name"]
        if name not in expected:
            out.append(f"figure {name}: no reader reads it")
            continue
        rows = figure["spec"].get("data", {}).get("values", [])
        drawn = {r["site"] for r in rows}
        if lacking := sorted(expected[name] - drawn):
            out.append(f"figure {name}: {len(lacking)} of {len(expected[name])} cells are not drawn, as {lacking[:3]}")
        if more := sorted(drawn - expected[name]):
            out.append(f"figure {name}: draws {len(more)} cells that were not measured so, as {more[:3]}")
    return [*out, *apart(page)]


def apart(page: dict) -> list[str]:
    """Captions that call cells told apart from 0, and n: where there are intervals, and as the rows have it."""
    out = []
    for figure in page["figures"]:
        name, rows = figure["name"], figure["spec"].get("data", {}).get("values", [])
        bare = rows and all(r.get("low") is None for r in rows) and any(r.get("clear") for r in rows)
        if bare and re.search(r"(?<!not )told apart from 0", figure["caption"]):
            out.append(f"figure {name}: cells “told apart from 0” though no cell has an interval")
        counted = [r["n"] for r in rows if r.get("n") is not None]
        if m := re.search(r"n = ([\d,]+)(?:–([\d,]+))?", figure["caption"]):
            ends = [int(x.replace(",", "")) for x in m.groups() if x]
            if not counted or {min(counted), max(counted)} != set(ends):
                out.append(f"figure {name}: says n = {m[0]}, rows have {sorted(set(counted))}")
    return out


def clear(page: dict, floor: float) -> list[str]:
    """Marks of “told apart from 0” that the numbers beside them do not bear out."""
    out = []
    for figure in page["figures"]:
        for r in figure["spec"].get("data", {}).get("values", []):
            if "clear" not in r:
                continue
            apart = abs(r["effect"]) > floor * 1.00001 and not (r.get("low") is not None and r["low"] <= 0 <= r["high"])
            if r["clear"] and not apart:
                out.append(f"figure {figure['name']}: {r.get('site')} is marked as told apart from 0 and is not")
    return out


def ordered(page: dict, title: str, cells: dict[str, Value], column: int = 1) -> list[str]:
    """A table of “the strongest” begins with the strongest, by size."""
    out = []
    for table in page["tables"]:
        if not table["title"].startswith(title):
            continue
        sizes = [abs(r[column]["value"]) for r in table["rows"]]
        best = sorted((abs(v.value) for v in cells.values()), reverse=True)[: len(sizes)]
        if any(abs(x - y) > 1e-9 for x, y in zip(sizes, best, strict=False)):
            out.append(f"table “{table['title']}” does not hold the largest, or not in order")
    return out
