"""From an audit's table to the verdict on every claim, and the numbers beside it: pure, also of half a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from lashley.claims import topics as about
from lashley.claims.criteria import SHARE, Evidence, chance
from lashley.claims.grammar import parse
from lashley.claims.spread import Spread, clustered, loss, spreads
from lashley.claims.topics import topics
from lashley.claims.verdicts import judge, together, unseen, untestable
from lashley.core.claim import Claim, Verdict
from lashley.core.errors import LashleyError
from lashley.core.experiment import Arrays
from lashley.core.figure import Estimate
from lashley.experiments.audit.params import Params
from lashley.facts.question import find
from lashley.stats.summary import capped, measured, ranged

if TYPE_CHECKING:
    import pandas as pd

NATS = "nats a token"
UNSEEN = "nothing is measured yet about"


class Audited(msgspec.Struct, frozen=True):
    """What became of one claim. `verdict` has the outcome, the criteria (each with its effect, interval, threshold, p
    and status) and the weaker sentence that the evidence supports. `loss` is by how much the loss on unrelated text
    rises where the sites are knocked out (nats a token; n: texts), None where it was not measured. `random` is what
    matched random sites come to by the effect that is compared with chance (share of the logit difference: mean and
    95% range; n: random sites), None where there are none."""

    verdict: Verdict
    loss: Estimate | None
    random: Estimate | None


class Controls(msgspec.Struct, frozen=True):
    """What the claims were compared with; an estimate of value None was not measured.

    `identity` is the largest effect of an edit that changes nothing, and `random` the damage by matched random sites
    (mean and 95% range; n: random sites): shares of the logit difference. In logits: `own`, the mean change of the
    facts' own readout by the claims' mean knockouts; `untrained` and `shuffled`, the mean change by the same knockouts
    in an untrained copy, and in the difference between two other facts' answers (n: knockouts).
    """

    identity: Estimate
    own: Estimate
    untrained: Estimate
    shuffled: Estimate
    random: Estimate


class Result(msgspec.Struct, frozen=True):
    """What an audit found: `claims`, in the order in which they were made; `spreads`, of every topic with several
    sites how their damage is spread; `controls`."""

    claims: tuple[Audited, ...]
    spreads: tuple[Spread, ...]
    controls: Controls

    @property
    def verdicts(self) -> list[Verdict]:
        """The verdict on every claim."""
        return [audited.verdict for audited in self.claims]


def measure(params: Params, table: pd.DataFrame, arrays: Arrays) -> Result:
    """The verdict on every claim, and what it is to be seen beside."""
    claims = [parse(c) for c in params.claims]
    each = evidence(params, claims, table)
    found = [
        Audited(verdict, None if own is None else _loss(own), None if own is None else _random(claim, own))
        for verdict, claim, own in zip(_verdicts(claims, each, table), claims, each, strict=True)
    ]
    rows = capped(measured(table))
    return Result(tuple(found), tuple(spreads(params.claims, rows)) if len(found) > 1 else (), _controls(rows))


def again(params: dict, table: pd.DataFrame) -> list[Verdict]:
    """The verdicts of a study from its exported heading and table. Raises `LashleyError` where it holds no claims."""
    if "claims" not in params:
        raise LashleyError("this study makes no claims; `lashley report` shows what it found")
    return verdicts(msgspec.convert(params, Params), table)


def verdicts(params: Params, table: pd.DataFrame) -> list[Verdict]:
    """The verdict on every claim, from the tidy table alone."""
    claims = [parse(c) for c in params.claims]
    return _verdicts(claims, evidence(params, claims, table), table)


def _verdicts(claims: Sequence[Claim], each: Sequence[Evidence | None], table: pd.DataFrame) -> list[Verdict]:
    found = []
    for claim, own in zip(claims, each, strict=True):
        if own is not None and len(own.damage("confirm")):
            found.append(judge(claim, own))
        else:
            reason = _reason(claim, table)
            found.append(untestable(claim, reason) if reason else unseen(claim, f"{UNSEEN} {about.name(claim.about)}"))
    return together(found, claims)


def evidence(params: Params, claims: Sequence[Claim], table: pd.DataFrame) -> list[Evidence | None]:
    """Each claim's own rows."""
    rows = capped(measured(table))
    every = topics(claims)
    where = {topic.about: str(i) for i, topic in enumerate(every)}
    sets = {topic.about: {sites: i for i, sites in enumerate(topic.sets)} for topic in every}
    if not len(rows):
        return [None] * len(claims)
    rows = rows.assign(set=rows["set"].astype(object).where(rows["set"].notna(), ""))
    rows["context"] = rows["context"].astype(object).where(rows["context"].notna(), "")
    by_topic = dict(iter(rows.groupby(rows["question"].astype(str), sort=False)))
    labels = {q: {label: label.split() for label in of["set"].unique()} for q, of in by_topic.items()}
    found: list[Evidence | None] = []
    for claim in claims:
        of = by_topic.get(where[claim.about])
        i = sets[claim.about][claim.sites]
        if of is None:
            found.append(None)
            continue
        about_it = [label for label, numbers in labels[where[claim.about]].items() if str(i) in numbers]
        own = of[((of["set"] == "") & (of["trial"] == i)) | of["set"].isin(about_it)]
        found.append(Evidence(own, clustered(claim.about)))
    return found


def _reason(claim: Claim, table: pd.DataFrame) -> str:
    """Why a topic could not be asked, as it was recorded; "" where nothing was."""
    gone, topic = table[table["excluded"]], claim.about
    gone = gone[gone["relation"] == (topic.relation or "prompt")]
    if topic.subject:
        answer = topic.object or find(topic.relation).objects[topic.subject]
        gone = gone[(gone["subject"] == topic.subject) & (gone["object"] == answer)]
    reasons = [str(r) for r in gone["reason"]]
    typed = topic.prompt.replace("{}", topic.subject)
    reasons = [r for r in reasons if typed in r] or reasons
    return f"the model cannot be asked about {about.name(topic)}; see the exclusions ({reasons[0]})" if reasons else ""


def _loss(own: Evidence) -> Estimate | None:
    texts = own.damage("text")
    return Estimate(loss(texts), n=len(texts), unit=NATS) if len(texts) else None


def _random(claim: Claim, own: Evidence) -> Estimate | None:
    beside = chance(claim, own)
    return None if beside is None else msgspec.structs.replace(ranged(beside.each), unit=SHARE)


def _controls(rows: pd.DataFrame) -> Controls:
    """`rows` are capped."""
    kept = rows[rows["corrupt"].notna()]
    least = float((kept["noise_floor"] / (kept["clean"] - kept["corrupt"]).abs()).max()) if len(kept) else None
    own = rows[(rows["group"] == "confirm") & (rows["measure"] == "damage") & (rows["edit"] == "mean")]
    random = rows[rows["measure"] == "random damage"]
    each = random.groupby(["question", "set", "trial"], observed=True)["effect"].mean()
    return Controls(
        identity=Estimate(least, unit=SHARE),
        own=_size(own["clean"] - own["value"]),
        untrained=_size(rows[rows["measure"] == "untrained"]["effect"]),
        shuffled=_size(rows[rows["measure"] == "shuffled"]["effect"]),
        random=msgspec.structs.replace(ranged(each), unit=SHARE) if len(each) else Estimate(None),
    )


def _size(changes: pd.Series) -> Estimate:
    """The mean size of changes in logits."""
    return Estimate(float(changes.abs().mean()) if len(changes) else None, n=len(changes), unit="logits")
