"""How spread out the evidence of several claims about one topic is: numbers, then one sentence. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

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


class Spread(msgspec.Struct, frozen=True):
    """How the damage of a topic's site sets is spread.

    `sites` has their names; `damage` what the mean knockout of each costs (share of the logit difference, with its
    interval; n: prompts), None where it is not measured; `loss` by how much the loss on unrelated text then rises, in
    nats a token; all three by set. `together` is the damage of all at once, `participation` the participation ratio of
    the positive damage of those that do not break the model (`BREAKS`), None where sets share sites or none costs
    anything.
    """

    topic: str
    sites: tuple[str, ...]
    damage: tuple[Estimate | None, ...]
    loss: tuple[float | None, ...]
    together: Estimate
    participation: float | None

    @property
    def breaking(self) -> dict[int, float]:
        """The sets whose knockout breaks the model for any text, by number, with what the loss then rises by."""
        return {i: worse for i, worse in enumerate(self.loss) if worse is not None and worse >= BREAKS}

    @property
    def costs(self) -> dict[int, Estimate]:
        """What each of the other sets costs, by number."""
        return {i: e for i, e in enumerate(self.damage) if e is not None and i not in self.breaking}


def spreads(claims: Sequence[str], rows: pd.DataFrame) -> Iterator[Spread]:
    """The spread of each topic with several site sets, as far as it is measured. `rows` are capped."""
    for i, topic in enumerate(about.topics([parse(c) for c in claims])):
        asked = rows[rows["question"].astype(str) == str(i)]
        mine = asked[asked["group"] == "confirm"]
        own = mine[(mine["measure"] == "damage") & (mine["edit"] == "mean") & mine["set"].isna()]
        joint = mine[mine["measure"] == "together"]
        if len(topic.sets) < 2 or not len(own) or not len(joint):
            continue
        cluster, numbers = clustered(topic.about), range(len(topic.sets))
        texts = asked[(asked["measure"] == "damage") & (asked["group"] == "text")]
        lost = {int(str(t)): loss(part) for t, part in texts.groupby("trial", observed=True)}
        damage = {int(str(t)): _estimate(part, cluster) for t, part in own.groupby("trial", observed=True)}
        found = Spread(
            about.name(topic.about),
            tuple(map(brief, topic.sets)),
            tuple(damage.get(t) for t in numbers),
            tuple(lost.get(t) for t in numbers),
            _estimate(joint, cluster),
            None,
        )
        sizes = [e.value or 0.0 for e in found.costs.values()]
        if max(sizes, default=0.0) > 0 and apart([topic.sets[t] for t in found.costs]):
            found = msgspec.structs.replace(found, participation=participation(sizes))
        yield found


def told(found: Spread) -> Finding:
    """In one sentence the strongest set, over how many equal ones their damage is spread, and all of them together."""
    many, costs = number(len(found.sites)), found.costs
    words = f"Of the {many} named sites for {found.topic}, knocked out one by one, "
    if unfit := found.breaking:
        which = "; ".join(f"{found.sites[i]} (+{number(worse)} nats a token)" for i, worse in unfit.items())
        words += f"{number(len(unfit))} {'breaks' if len(unfit) == 1 else 'break'} the model for any text: {which}"
        words += "; of the others, " if costs else "; "
    strongest = max(costs, key=lambda i: costs[i].value or 0.0, default=None)
    if strongest is not None and (costs[strongest].value or 0.0) > 0:
        words += f"the strongest ({found.sites[strongest]}{_lost(found.loss[strongest])}) "
        words += f"costs {percent(costs[strongest])}"
        if found.participation is not None:
            words += f", and their damage is spread as over {number(found.participation)} equal ones "
            words += "(participation ratio); "
        else:
            words += "; some of them share sites, so that over how many it is spread cannot be told; "
    elif strongest is not None:
        words += "none costs anything on average; "
    words += f"all {many} together cost {cost(found.together)}."
    some = any(e.low is not None for e in (found.together, *costs.values()))
    how = "; 95% t intervals on cluster means" if some else ", too few for an interval"
    return Finding(words, found.together, f"Mean knockouts on the confirming prompts{how}. {CAP}")


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


def _lost(lost: float | None) -> str:
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
