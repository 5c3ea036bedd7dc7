"""From the criteria of a claim to its verdict, and from many verdicts to those that stand together. Pure.

A criterion holds when its whole interval lies past its threshold (p, two-sided, at most alpha). A claim is supported
when all required criteria hold: a conjunction, tested at alpha where each of its parts is (intersection-union test,
Berger 1982). It is refuted when any fails: a disjunction, so a criterion fails only where its p, adjusted within the
claim (Holm), is at most alpha. Across a sweep, a supported claim must stand Benjamini-Hochberg's
adjustment too, on its largest p (that of chance, whose resolution the number of peers limits, is a gate of its own).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from lashley.claims.criteria import TESTS, Evidence, Tested, by_prompt, chance, percent_of
from lashley.claims.grammar import topic, write
from lashley.core.claim import CRITERIA, Claim, Judged, Status, Verdict
from lashley.core.figure import Estimate, number, plural
from lashley.core.site import brief
from lashley.stats.inference import benjamini_hochberg, holm
from lashley.stats.summary import cost, share

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
    text, caveats = write(claim), _caveats(criteria)
    if failed:
        why = "; ".join(_failing(c) for c in failed)
        return Verdict(text, "refuted", f"Refuted: {why}.", criteria, weaker(claim, found), caveats=caveats)
    if open_:
        why = "; ".join(_open(c) for c in open_)
        return Verdict(text, "undecided", f"Undecided: {why}.", criteria, weaker(claim, found), caveats=caveats)
    names = ", ".join(c.criterion for c in required)
    why = f"Supported: all {len(required)} required criteria hold ({names})."
    if len(required) == 1:
        why = f"Supported: the required criterion holds ({names})."
    return Verdict(text, "supported", why, criteria, caveats=caveats)


def _judged(claim: Claim, tested: dict[str, Tested]) -> tuple[Judged, ...]:
    """Every criterion with its status; Holm is over the required ones that could be tested."""
    required = [n for n in CRITERIA if n in claim.required and n in tested and tested[n].p is not None]
    adjusted = dict(zip(required, holm([tested[n].p or 0.0 for n in required]).tolist(), strict=True))
    found: list[Judged] = []
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
    p: list[float] = []
    for verdict, claim in zip(verdicts, claims, strict=True):
        gates = [c.p for c in verdict.criteria if c.criterion in claim.required and c.criterion != "better than chance"]
        known = [x for x in gates if x is not None]
        p.append(1.0 if verdict.outcome != "supported" else max(known, default=1.0))
    kept: list[Verdict] = []
    for verdict, claim, q in zip(verdicts, claims, benjamini_hochberg(np.array(p)).tolist(), strict=True):
        if verdict.outcome == "supported" and q > claim.thresholds.alpha:
            why = f"Undecided: supported alone, but not among {len(claims)} claims (Benjamini-Hochberg q = {q:.2g})."
            verdict = msgspec.structs.replace(verdict, outcome="undecided", why=why)
        kept.append(verdict)
    return kept


def untestable(claim: Claim, reason: str) -> Verdict:
    """The verdict on a claim about what cannot be asked."""
    return Verdict(write(claim), "not testable", f"Not testable: {reason}.")


def unseen(claim: Claim, reason: str) -> Verdict:
    """The verdict on a claim of which nothing is measured yet."""
    return Verdict(write(claim), "undecided", f"Undecided: {reason}.")


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
    sites = brief(claim.sites)
    return f"{sites} is {words} for {topic(claim.about)}. {measured}"


def _stands(claim: Claim, found: Evidence) -> bool:
    tested = {name: TESTS[name](claim, found) for name in claim.required}
    return all(c.status == "holds" for c in _judged(claim, _padded(tested)) if c.criterion in claim.required)


def _padded(tested: dict[str, Tested]) -> dict[str, Tested]:
    return {name: tested.get(name, Tested(None, None, None, None)) for name in TESTS}


def quantified(claim: Claim, found: Evidence) -> str:
    """What the site was seen to do: `contributes 7% [5, 9] of the logit difference on 10 of 12 prompts; ...`."""
    rows = found.damage("confirm")
    sites, about = brief(claim.sites), topic(claim.about)
    if not len(rows):
        return ""
    small = msgspec.structs.replace(claim, predicate="contributes to", only=False, require=())
    effect = TESTS["contributes"](small, found).effect
    assert effect is not None
    floor = float((rows["noise_floor"] / (rows["clean"] - rows["corrupt"]).abs()).max())
    each = by_prompt(rows)["effect"]
    if effect.low is not None and effect.clear(floor):
        sign = 1.0 if (effect.value or 0.0) > 0 else -1.0
        seen = int((sign * each > floor).sum())
        size = share(effect if sign > 0 else _flipped(effect))
        verb = "contributes" if sign > 0 else "takes away"
        on = f"on {number(seen)} of {plural(len(each), 'prompt')}"
        return f"{sites} {verb} {size} of the logit difference of {about}, {on}{_peers(small, found, sign, len(each))}."
    if effect.low is None:
        few = f"{plural(len(each), 'prompt')}, too few for an interval"
        return f"Knocking {sites} out costs {about} {cost(effect)}, on {few}."
    told = f"Knocking {sites} out costs {about} {cost(effect)}, which cannot be told from 0"
    bound = max(abs(effect.low), abs(effect.high or 0.0))
    if bound >= claim.thresholds.contributes:
        return f"{told}; up to {_rounded(bound)} cannot be excluded."
    return f"{told}; more than {_rounded(bound)} either way is excluded."


def _rounded(bound: float) -> str:
    return f"{number(100 * float(f'{bound:.2g}'))}%"


def _peers(claim: Claim, found: Evidence, sign: float, prompts: int) -> str:
    """How many matched random sites do as much in the same direction, where the site itself goes there beside them; and
    how much that is, where they were measured on fewer `prompts`."""
    beside = chance(claim, found)
    if beside is None or sign * beside.mine <= 0:
        return ""
    strong = beside.as_strong(sign)
    one, more = ("does as much", "do as much") if sign > 0 else ("takes away as much", "take away as much")
    does = one if strong == 1 else more
    if beside.prompts < prompts:
        does += f" as its {share(Estimate(abs(beside.mine)))} on the {plural(beside.prompts, 'prompt')} that they share"
    return f"; {number(strong)} of {plural(len(beside.each), 'matched random site')} {does}"


def _flipped(e: Estimate) -> Estimate:
    low, high = (None if x is None else -x for x in (e.high, e.low))
    return Estimate(None if e.value is None else -e.value, low, high, e.n, e.unit)


def _failing(c: Judged) -> str:
    return f"{c.criterion} fails ({compared(c)})"


def _open(c: Judged) -> str:
    if c.status == "not tested":
        return f"{c.criterion} is not tested ({c.note})"
    more = f"; about {lacking(c)}" if c.missing else ""
    return f"{c.criterion} is open ({compared(c)}{more})"


def lacking(c: Judged) -> str:
    """What an open criterion lacks, by its name: `9 more prompts of other facts`."""
    noun, *rest = MORE.get(c.criterion, "prompt").split(" ", 1)
    if c.criterion == "specific":
        noun, *rest = next((words for start, words in OF_OTHERS.items() if c.note.startswith(start)), noun).split(
            " ", 1
        )
    return " ".join([number(c.missing), "more", noun + "s" * (c.missing != 1), *rest])


MORE = {  # criterion -> what there are too few of, where that is not the topic's own prompts
    "better than chance": "peer among matched random sites",
    "stable under prompt": "paraphrase",
    "stable under domain": "prompt after other texts or in other languages",
}
OF_OTHERS = {  # how the note of "specific" begins -> the same
    "other facts": "prompt of other facts",
    "the facts that fire it most": "prompt of facts that fire it",
    "unrelated text": "text about other things",
}
WANTED = {  # criterion -> how its effect is read, and whether it has to be at least or at most the threshold
    "necessary": ("damage", "at least"),
    "sufficient": ("restoration", "at least"),
    "contributes": ("damage", "at least"),
    "specific": ("change", "at most"),
    "stable under prompt": ("damage", "at least"),
    "stable under domain": ("damage", "at least"),
    "not redundant": ("restoration by another set", "at most"),
    "monosemantic": ("activation by another fact", "at most"),
}


def compared(c: Judged) -> str:
    """`damage 12% [8, 16], wanted at least 50%`: a criterion's own test in words."""
    if c.effect is None or c.threshold is None or c.effect.value is None:
        return c.note
    limit = percent_of(c.threshold)
    if c.criterion == "better than chance":
        n = c.effect.n or 0
        p, least = (1 + round(c.effect.value * n)) / (1 + n), 1 / (1 + n)
        words = f"p = {number(p)}, with so many never below {number(least)}, wanted at most {c.threshold:g}"
        return f"{c.note}: {words}"
    if c.criterion == "robust to method" and c.note.startswith("from "):
        return f"damage {c.note.split(';')[0]}, wanted all at least {limit} or all less"
    if "self-repair" in c.note:
        return f"masked by self-repair: damage with the later MLPs held {share(c.effect)}, wanted below {limit}"
    word, side = WANTED.get(c.criterion, ("damage", "at least"))
    if c.effect.unit == "nats a token":
        return f"loss change either way {c.effect} nats a token, wanted {side} {number(c.threshold)}"
    return f"{word} {share(c.effect)}, wanted {side} {limit}"


def _caveats(criteria: Sequence[Judged]) -> tuple[str, ...]:
    """What the verdict does not say."""
    open_ = [c.criterion for c in criteria if c.status == "not tested"]
    return (f"Not tested: {', '.join(open_)}.",) if open_ else ()
