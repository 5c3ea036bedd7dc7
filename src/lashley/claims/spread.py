"""How spread out the evidence of several claims about one topic is, in one sentence. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lashley.claims import topics as about
from lashley.claims.criteria import by_prompt
from lashley.claims.grammar import parse
from lashley.core.claim import About
from lashley.core.figure import Estimate, Finding, number
from lashley.core.site import Kind, Site, brief
from lashley.stats.inference import interval, participation
from lashley.stats.summary import CAP, cost, percent

if TYPE_CHECKING:
    import pandas as pd


def spread(claims: Sequence[str], rows: pd.DataFrame) -> Iterator[Finding]:
    """For each topic with several sites: the strongest one, all of them together, and the
    participation ratio of their positive damage. `rows` are capped."""
    for i, topic in enumerate(about.topics([parse(c) for c in claims])):
        asked = rows[rows["question"].astype(str) == str(i)]
        mine = asked[asked["group"] == "confirm"]
        own = mine[(mine["measure"] == "damage") & (mine["edit"] == "mean") & mine["set"].isna()]
        joint = mine[mine["measure"] == "together"]
        if len(topic.sets) < 2 or not len(own) or not len(joint):
            continue
        cluster = clustered(topic.about)
        names = {t: brief(sites) for t, sites in enumerate(topic.sets)}
        texts = rows[
            (rows["question"].astype(str) == str(i)) & (rows["measure"] == "damage") & (rows["group"] == "text")
        ]
        lost = {int(str(t)): loss(part) for t, part in texts.groupby("trial", observed=True)}
        unfit = {t: worse for t, worse in lost.items() if worse is not None and worse >= BREAKS}
        each = {int(str(t)): _estimate(r, cluster) for t, r in own.groupby("trial", observed=True) if t not in unfit}
        damage = {t: e.value or 0.0 for t, e in each.items()}
        all_, many = _estimate(joint, cluster), number(len(topic.sets))
        words = f"Of the {many} named sites for {about.name(topic.about)}, knocked out one by one, "
        if unfit:
            which = "; ".join(f"{names[t]} (+{number(worse)} nats a token)" for t, worse in unfit.items())
            words += f"{number(len(unfit))} {'breaks' if len(unfit) == 1 else 'break'} the model for any text: {which}"
            words += "; of the others, " if each else "; "
        strongest = max(damage, key=damage.__getitem__, default=None)
        if strongest is not None and damage[strongest] > 0:
            words += f"the strongest ({names[strongest]}{_told(lost.get(strongest))}) costs {percent(each[strongest])}"
            if apart([topic.sets[t] for t in each]):
                ratio = participation(list(damage.values()))
                words += f", and their damage is spread as over {number(ratio)} equal ones (participation ratio); "
            else:
                words += "; some of them share sites, so that over how many it is spread cannot be told; "
        elif strongest is not None:
            words += "none costs anything on average; "
        words += f"all {many} together cost {cost(all_)}."
        some = any(e.low is not None for e in (all_, *each.values()))
        how = "; 95% t intervals on cluster means" if some else ", too few for an interval"
        yield Finding(words, all_, f"Mean knockouts on the confirming prompts{how}. {CAP}")


def apart(sets: Sequence[Sequence[Site]]) -> bool:
    """Whether no site of one set is in another, nor within what it names: a neuron in its MLP, a position in all."""
    whose: dict[Site, int] = {site: i for i, sites in enumerate(sets) for site in sites}
    whole: dict[Kind, Kind] = {"head": "attn", "neuron": "mlp"}
    for i, sites in enumerate(sets):
        for s in sites:
            parts = [s, Site(s.layer, whole[s.kind], None, s.position)] if s.kind in whole else [s]
            if any(whose.get(x, i) != i for p in parts for x in (p, Site(p.layer, p.kind, p.unit))):
                return False
    return True


BREAKS = 0.5  # nats a token: a site whose knockout makes unrelated text so much less likely breaks the model


def broken(lost: float | None, what: str = "it") -> str:
    """What is to be said of sites whose knockout makes the loss on unrelated text rise by so much; "" where little."""
    if lost is None or lost < BREAKS:
        return ""
    return (
        f"Without {what} the model is broken for any text: the loss on unrelated text rises by {number(lost)} nats a "
        f"token, so that what it costs this fact says nothing about the fact."
    )


def loss(texts: pd.DataFrame) -> float | None:
    """By how much the loss on unrelated text rises, in nats a token: the mean over the texts."""
    return -float(by_prompt(texts)["effect"].mean()) if len(texts) else None


def _told(lost: float | None) -> str:
    return "" if lost is None else f"; loss on unrelated text {signed(lost)} nats a token"


def signed(x: float) -> str:
    """
    >>> signed(0.25), signed(-0.25)
    ('+0.25', '−0.25')
    """
    return f"{'+' if x > 0 else ''}{number(x)}"


def clustered(topic: About) -> str:
    """What the prompts of a topic are clustered by: templates of a fact, subjects of a relation."""
    return "template" if topic.subject or topic.prompt else "subject"


def _estimate(rows: pd.DataFrame, cluster: str) -> Estimate:
    each = by_prompt(rows, cluster=cluster)
    i = interval(each["effect"].to_numpy(float), each["cluster"].to_numpy())
    return Estimate(i.mean, i.low, i.high, i.n, "share of the logit difference")
