"""From the criteria of a claim to its verdict, and from many verdicts to those that stand together. Pure.

A criterion holds when its whole interval lies past its threshold (p, two-sided, at most alpha). A claim is supported
when all required criteria hold: a conjunction, tested at alpha where each of its parts is (intersection-union test,
Berger 1982). It is refuted when any fails: a disjunction, so a criterion fails only where its p, adjusted within the
claim (Holm), is at most alpha. Across a sweep, a supported claim must stand Benjamini-Hochberg's
adjustment too, on its largest p (that of chance, whose resolution the number of peers limits, is a gate of its own).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from lashley.claims.criteria import TESTS, Evidence, Tested
from lashley.claims.grammar import topic, write
from lashley.core.claim import CRITERIA, Claim, Judged, Status, Verdict
from lashley.core.figure import Estimate, number
from lashley.stats import benjamini_hochberg, holm, tost
from lashley.summary import share

NOT_TESTED = "not tested: editing is yet to be built, and is not required"
UNREQUIRED = ("editable",)  # asked for or not, until it can be measured


def judge(claim: Claim, found: Evidence) -> Verdict:
    """The verdict on one claim from its measurements."""
    tested = {name: test(claim, found) for name, test in TESTS.items()}
    criteria = _judged(claim, tested)
    asked = [c for c in criteria if c.criterion in claim.required]
    required = [c for c in asked if c.criterion not in UNREQUIRED] or asked
    failed = [c for c in required if c.status == "fails"]
    open_ = [c for c in required if c.status in ("undecided", "not tested")]
    stands = [c.stands for c in required if c.stands is not None]
    confidence = 1.0 - max(stands) if len(stands) == len(required) else None
    text = write(claim)
    if failed:
        why = "; ".join(_failing(c) for c in failed)
        return Verdict(
            text, "refuted", f"Refuted: {why}.", criteria, weaker(claim, found), confidence, _caveats(criteria)
        )
    if open_:
        why = "; ".join(_open(c) for c in open_)
        return Verdict(
            text, "undecided", f"Undecided: {why}.", criteria, weaker(claim, found), confidence, _caveats(criteria)
        )
    why = f"Supported: all {len(required)} required criteria hold ({', '.join(c.criterion for c in required)})."
    return Verdict(text, "supported", why, criteria, "", confidence, _caveats(criteria))


def _judged(claim: Claim, tested: dict[str, Tested]) -> tuple[Judged, ...]:
    """Every criterion with its status; Holm is over the required ones that could be tested."""
    required = [n for n in CRITERIA if n in claim.required and n in tested and tested[n].p is not None]
    adjusted = dict(zip(required, holm([tested[n].p or 0.0 for n in required]).tolist(), strict=True))
    found = []
    for name in CRITERIA:
        if name == "editable":
            found.append(Judged(name, "not tested", note=NOT_TESTED))
            continue
        t = tested[name]
        p = adjusted.get(name, t.p)
        above = t.p is not None and (t.not_holding or 0.0) < (t.holding or 0.0)
        status: Status = "undecided"
        if p is None or t.p is None:
            status = "undecided" if t.effect is not None else "not tested"
        elif above and t.p <= claim.thresholds.alpha:
            status, p = "holds", t.p
        elif not above and p <= claim.thresholds.alpha:
            status = "fails"
        keys = () if t.rows is None else tuple(dict.fromkeys(t.rows["sweep"].astype(str)))
        missing = t.missing if status == "undecided" else 0
        found.append(Judged(name, status, t.effect, t.threshold, p, t.not_holding, missing, t.note, keys))
    return tuple(found)


def together(verdicts: Sequence[Verdict], claims: Sequence[Claim]) -> list[Verdict]:
    """The verdicts of a sweep: what is supported alone, but not among so many, is undecided (Benjamini-Hochberg)."""
    p = []
    for verdict, claim in zip(verdicts, claims, strict=True):
        gates = [c.p for c in verdict.criteria if c.criterion in claim.required and c.criterion != "better than chance"]
        known = [x for x in gates if x is not None]
        p.append(1.0 if verdict.outcome != "supported" else max(known, default=1.0))
    kept = []
    for verdict, claim, q in zip(verdicts, claims, benjamini_hochberg(np.array(p)).tolist(), strict=True):
        if verdict.outcome == "supported" and q > claim.thresholds.alpha:
            why = f"Undecided: supported alone, but not among {len(claims)} claims (Benjamini-Hochberg q = {q:.2g})."
            verdict = msgspec.structs.replace(verdict, outcome="undecided", why=why)
        kept.append(verdict)
    return kept


def untestable(claim: Claim, reason: str) -> Verdict:
    """The verdict on a claim about what cannot be asked."""
    return Verdict(write(claim), "not testable", f"Not testable: {reason}.")


def weaker(claim: Claim, found: Evidence) -> str:
    """The strongest weaker sentence that the evidence supports, with its numbers."""
    ladder = [] if not claim.only else [msgspec.structs.replace(claim, only=False, require=())]
    if claim.predicate == "stores":
        ladder += [
            msgspec.structs.replace(claim, predicate=p, only=False, require=())
            for p in ("is necessary for", "is sufficient for")
        ]
    held = [c for c in ladder if _stands(c, found)]
    measured = quantified(claim, found)
    if not held:
        return measured
    if held[0].predicate == "stores":
        return f"{write(held[0])}. {measured}"
    words = " and ".join(c.predicate.removeprefix("is ").removesuffix(" for") for c in held)
    sites = "+".join(map(str, claim.sites))
    return f"{sites} is {words} for {topic(claim.about)}. {measured}"


def _stands(claim: Claim, found: Evidence) -> bool:
    tested = {name: TESTS[name](claim, found) for name in claim.required}
    return all(c.status == "holds" for c in _judged(claim, _padded(tested)) if c.criterion in claim.required)


def _padded(tested: dict[str, Tested]) -> dict[str, Tested]:
    return {name: tested.get(name, Tested(None, None, None, None)) for name in TESTS}


def quantified(claim: Claim, found: Evidence) -> str:
    """What the site was seen to do: `contributes 7% [5, 9] of the logit difference on 10 of 12 prompts, as do ...`."""
    rows = found.damage("confirm")
    sites, about = "+".join(map(str, claim.sites)), topic(claim.about)
    if not len(rows):
        return ""
    small = msgspec.structs.replace(claim, predicate="contributes to", only=False, require=())
    effect = TESTS["contributes"](small, found).effect
    assert effect is not None
    chance = TESTS["better than chance"](small, found)
    peers = ""
    if chance.effect is not None and chance.effect.n:
        as_strong = round((chance.effect.value or 0.0) * chance.effect.n)
        peers = f"; {number(as_strong)} of {number(chance.effect.n)} matched random sites do as much"
    floor = float((rows["noise_floor"] / (rows["clean"] - rows["corrupt"]).abs()).max())
    if effect.low is not None and effect.clear(floor):
        sign = (effect.value or 0.0) > 0
        seen = int(((rows["effect"] > floor) if sign else (rows["effect"] < -floor)).sum())
        size = share(effect if sign else _flipped(effect))
        verb = "contributes" if sign else "takes away"
        return f"{sites} {verb} {size} of the logit difference of {about} on {seen} of {len(rows)} prompts{peers}."
    if effect.low is None:
        few = f"{number(len(rows))} prompt{'s' * (len(rows) > 1)}, too few for an interval"
        return f"Knocking {sites} out costs {share(effect)} of the logit difference of {about} on {few}{peers}."
    bound = _smallest(rows, found.cluster)
    most = "" if bound is None else f", and is at most {100 * bound:.2g}% (equivalence at 5%)"
    return f"Knocking {sites} out has no effect on {about} that is told apart from 0: {share(effect)}{most}{peers}."


def _smallest(rows, cluster: str) -> float | None:
    """The smallest bound within which the mean damage is shown to lie (two one-sided tests)."""
    inner = tost(rows["effect"].to_numpy(float), 1.0, rows[cluster].astype(str).to_numpy()).interval
    return None if inner.low is None or inner.high is None else max(abs(inner.low), abs(inner.high))


def _flipped(e: Estimate) -> Estimate:
    low, high = (None if x is None else -x for x in (e.high, e.low))
    return Estimate(None if e.value is None else -e.value, low, high, e.n, e.unit)


def _failing(c: Judged) -> str:
    return f"{c.criterion} fails ({compared(c)})"


def _open(c: Judged) -> str:
    if c.status == "not tested":
        return f"{c.criterion} is not tested ({c.note})"
    more = (
        f"; about {number(c.missing)} more {'prompts' if c.criterion != 'better than chance' else 'peers'}"
        if c.missing
        else ""
    )
    return f"{c.criterion} is open ({compared(c)}{more})"


WANTED = {  # criterion -> how its effect is read, and whether it has to be at least or at most the threshold
    "necessary": ("damage", "at least"),
    "sufficient": ("restoration", "at least"),
    "contributes": ("damage", "at least"),
    "specific": ("change", "at most"),
    "better than chance": ("peers as strong", "at most"),
    "stable under prompt": ("damage", "at least"),
    "stable under domain": ("damage", "at least"),
    "robust to method": ("damage", "at least"),
    "not redundant": ("restoration by another set", "at most"),
    "monosemantic": ("activation by another fact", "at most"),
}


def compared(c: Judged) -> str:
    """`damage 12% [8, 16], wanted at least 50%`."""
    if c.effect is None or c.threshold is None or c.effect.value is None:
        return c.note
    word, side = WANTED[c.criterion]
    word = "damage with the later MLPs held" if "self-repair" in c.note else word
    if c.effect.unit == "nats a token":
        return f"loss change {c.effect} nats a token, wanted {side} {number(c.threshold)}"
    limit = share(Estimate(math.floor(1000 * c.threshold + 0.5) / 1000))
    if "self-repair" in c.note:
        return f"masked by self-repair: {word}, {share(c.effect)}"
    return f"{word} {share(c.effect)}, wanted {side} {limit}"


def _caveats(criteria: Sequence[Judged]) -> tuple[str, ...]:
    """What the verdict does not say."""
    open_ = [c.criterion for c in criteria if c.status == "not tested"]
    return (f"Not tested: {', '.join(open_)}.",) if open_ else ()
