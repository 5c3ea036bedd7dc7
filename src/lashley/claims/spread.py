"""How spread out the evidence of several claims about one topic is, in one sentence. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lashley.claims import topics as about
from lashley.claims.grammar import parse
from lashley.core.figure import Estimate, Finding, number
from lashley.stats import interval
from lashley.summary import percent, share

if TYPE_CHECKING:
    import pandas as pd


def spread(claims: Sequence[str], rows: pd.DataFrame) -> Iterator[Finding]:
    """For each topic with several sites: the strongest one, all of them together, and their participation ratio
    (sum s)^2 / sum s^2 of positive damage."""
    for i, topic in enumerate(about.topics([parse(c) for c in claims])):
        mine = rows[(rows["question"].astype(str) == str(i)) & (rows["group"] == "confirm")]
        own = mine[(mine["measure"] == "damage") & (mine["edit"] == "mean")]
        joint = mine[mine["measure"] == "together"]
        if len(topic.sets) < 2 or not len(own) or not len(joint):
            continue
        mean = own.groupby("trial", observed=True)["effect"].mean().sort_index()
        strongest = int(mean.to_numpy().argmax())
        best, all_ = (_estimate(r) for r in (own[own["trial"] == strongest], joint))
        positive = mean.clip(lower=0)
        ratio = float(positive.sum() ** 2 / max(float((positive**2).sum()), 1e-12))
        site = "+".join(map(str, topic.sets[strongest]))
        sentence = (
            f"Of the {number(len(topic.sets))} named sites for {about.name(topic.about)}, knocked out one by one, the "
            f"strongest ({site}) costs {percent(best)}; together they cost {share(all_)}, and their damage is spread "
            f"as over {number(ratio)} equal ones (participation ratio)."
        )
        yield Finding(sentence, all_, "Mean knockouts on the confirming prompts; 95% t intervals on cluster means.")


def _estimate(rows: pd.DataFrame) -> Estimate:
    i = interval(rows["effect"].to_numpy(float), rows["template"].astype(str).to_numpy())
    return Estimate(i.mean, i.low, i.high, i.n, "share of the logit difference")
