"""What a screen by gradients left out, from a random sample of it."""

from __future__ import annotations

import pandas as pd

from . import arithmetic as a
from .known import Known

SAMPLE = "random sample outside the screen"
BIG = 0.1


def known(k: Known, top: pd.DataFrame, sample: pd.DataFrame, population: int, noun: str) -> list[str]:
    """The correlation of estimated and measured damage, and how many units of what strength may have been missed."""
    each, guess = _of(top, "effect"), _of(top, "estimate")
    left = population - len(each)
    k.count(noun, population, left)
    k.count("others", left)
    k.add(population, "units screened", "among")
    k.count("strongest", min(10, len(each)))
    k.add(a.spearman(pd.Series(guess), pd.Series(each)), "Spearman of the confirmed", "Spearman")
    if not len(sample):
        return []
    drawn, estimates = _of(sample, "effect"), _of(sample, "estimate")
    over = a.interval_over(sample)
    site = sample.drop_duplicates("trial").set_index("trial")["site"]
    for (t,), v in a.values(sample, ["trial"], over=over).items():
        k.cells[site[t]] = v
        k.add(v, site[t], site[t])
    k.count(f"{noun} unit others sample", len(drawn))
    k.count("point", len(drawn) + len(each))
    rho = a.spearman(pd.Series(estimates), pd.Series(drawn))
    k.add(rho, "Spearman of the sample", "Spearman")
    k.add(a.middle(list(drawn.values())), "the sample", SAMPLE)
    sizes = sorted(map(abs, each.values()), reverse=True)
    place = min(10, len(sizes))
    limits = {
        "a damage of 10%": BIG,
        f"the {place}th strongest confirmed": sizes[place - 1],
        "the weakest confirmed of few": sizes[-1],
        "the median confirmed": float(pd.Series(sizes).median()),
        "the weakest confirmed": sizes[-1],
    }
    for words, limit in limits.items():
        hits = sum(abs(v) >= limit for v in drawn.values())
        most = a.exact_upper(hits, len(drawn)) if len(drawn) < left else hits / len(drawn)
        k.add(limit, f"size of {words}", words)
        k.add(hits, f"as strong as {words}", words, ("sample", "in the sample units"))
        k.add(most, f"at most as strong as {words}", words)
        k.add(int(most * left + 1e-9), f"at most as strong as {words}", words)
    return []


def _of(rows: pd.DataFrame, column: str) -> dict[int, float]:
    return {t: v.value for (t,), v in a.values(rows, ["trial"], column).items()}
