"""The criteria of a claim, each a pure function of its measurements.

A criterion is a null hypothesis on either side of its threshold. `Tested` keeps both one-sided p values: of H0 "it does
not hold" and of H0 "it does". Where several parts must all hold, the first is their largest (intersection-union test,
Berger 1982), and the second their smallest times their number (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

import scipy  # pyright: ignore[reportMissingTypeStubs]

from lashley.core.claim import Claim
from lashley.core.figure import Estimate, number, plural
from lashley.stats.inference import compare
from lashley.stats.peers import different
from lashley.stats.summary import share

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SHARE = "share of the logit difference"
METHODS = ("mean", "zero", "resample", "noise", "optimal")
CASE = ["prompt", "pair", "seed"]  # what one corrupted run is told by
TEXT_LIMIT = 1e-6  # nats a token: below this a change of the loss is not looked at


class Tested(NamedTuple):
    """What one criterion came to: its effect beside its threshold, and the p values of its not holding (`fails`) and
    of its holding (`holds`), None where it was not measured or on too few prompts."""

    effect: Estimate | None
    threshold: float | None
    not_holding: float | None
    holding: float | None
    missing: int = 0
    note: str = ""
    rows: pd.DataFrame | None = None
    sides: int = 2  # of the test: the comparison with chance has one

    @property
    def p(self) -> float | None:
        """Of the threshold itself."""
        if self.not_holding is None or self.holding is None:
            return None
        return min(1.0, self.sides * min(self.not_holding, self.holding))


UNMEASURED = Tested(None, None, None, None, note="not measured")


class Evidence(NamedTuple):
    """The measurements of one claim, tidy rows; damage is by the mean unless another edit is named.

    `cluster` is what prompts are clustered by: templates of a fact, subjects of a relation.
    """

    rows: pd.DataFrame
    cluster: str

    def of(self, group: str, measure: str = "damage", edit: str = "") -> pd.DataFrame:
        """The rows of one group of prompts and one measure."""
        r = self.rows
        chosen = (r["group"] == group) & (r["measure"] == measure)
        return r[chosen & (r["edit"] == edit)] if edit else r[chosen]

    def restored(self, measure: str = "restore") -> pd.DataFrame:
        """Restoration by the site, or by its rivals ("second"), on confirming prompts and on paraphrases."""
        r = self.rows
        return r[r["group"].isin(("confirm", "paraphrase")) & (r["measure"] == measure)]

    def damage(self, group: str) -> pd.DataFrame:
        return self.of(group, "damage", "mean")


def by_prompt(rows: pd.DataFrame, column: str = "effect", cluster: str = "template") -> pd.DataFrame:
    """A row a prompt: the mean of a column over its draws, for draws of noise and foils are no prompts; `cluster`."""
    prompt = "asked" if "asked" in rows and rows["asked"].notna().all() else "prompt"  # the clean run's text
    text = rows[prompt].astype(str).to_numpy()
    each = rows[column].astype(float).groupby(text, sort=False).mean()
    label = rows[cluster].astype(str).groupby(text, sort=False).first()
    return each.to_frame("effect").assign(cluster=label)


def _against(
    rows: pd.DataFrame,
    threshold: float,
    cluster: str,
    alpha: float,
    column: str = "effect",
    unit: str = SHARE,
    at_most: bool = False,
) -> Tested:
    """The mean of a column against a threshold that it has to exceed, or (`at_most`) to stay below; the interval is at
    1 - alpha, so that it leaves the threshold out exactly when the test says so."""
    if not len(rows):
        return UNMEASURED._replace(threshold=threshold)
    each = by_prompt(rows, column, cluster)
    found = compare(each["effect"].to_numpy(float), threshold, each["cluster"].to_numpy(), 1 - alpha)
    i = found.interval
    effect = Estimate(i.mean, i.low, i.high, i.n, unit)
    p = (found.below, found.above) if at_most else (found.above, found.below)
    draws = len(rows) / max(i.n, 1)
    note = f"{plural(i.n, 'prompt')}, {plural(i.clusters, cluster)}" + f", {draws:.2g} draws each" * (draws > 1)
    return Tested(effect, threshold, *p, found.needed, note, rows)


def _all(parts: Iterable[Tested], alpha: float) -> Tested:
    """All parts must hold: the part that is nearest to failing speaks, with the p values of the whole."""
    every = list(parts)
    if any(part.p is None for part in every):
        lacking = next(part for part in every if part.p is None)
        sure = [p for p in every if p.holding is not None and p.holding <= alpha / len(every)]
        return sure[0]._replace(holding=min(1.0, len(every) * (sure[0].holding or 0.0))) if sure else lacking
    worst = max(every, key=lambda part: part.not_holding or 0.0)
    holding = min(1.0, len(every) * min(part.holding for part in every if part.holding is not None))
    return worst._replace(holding=holding)


def necessary(claim: Claim, found: Evidence) -> Tested:
    """Knocking the site out (its role's mean) destroys recall: D at least the threshold."""
    return _against(found.damage("confirm"), claim.thresholds.necessary, found.cluster, claim.thresholds.alpha)


def sufficient(claim: Claim, found: Evidence) -> Tested:
    """Restoring the site alone into the corrupted run brings recall back: R at least the threshold."""
    return _against(found.restored(), claim.thresholds.sufficient, found.cluster, claim.thresholds.alpha)


def contributes(claim: Claim, found: Evidence) -> Tested:
    """Knocking the site out costs something: D at least a small threshold."""
    return _against(found.damage("confirm"), claim.thresholds.contributes, found.cluster, claim.thresholds.alpha)


def specific(claim: Claim, found: Evidence) -> Tested:
    """Other facts (some at random, and those that fire the site most) and unrelated text are hardly touched."""
    alpha = claim.thresholds.alpha
    parts: list[Tested] = []
    for group, words in (("other", "other facts"), ("firing", "the facts that fire it most")):
        rows = found.damage(group)
        if len(rows) or group == "other":
            rows = rows.assign(
                size=rows["effect"].abs(), who=rows["relation"].astype(str) + rows["subject"].astype(str)
            )
            part = _against(rows, claim.thresholds.others, "who", alpha, "size", at_most=True)
            parts.append(part._replace(note=f"{words}: {part.note}".replace(" who", " fact")))
    text = found.damage("text")
    text = text.assign(change=text["effect"].abs())
    floor = float(text["noise_floor"].max()) if len(text) else 0.0
    limit = claim.thresholds.loss + max(floor, TEXT_LIMIT)
    loss = _against(text, limit, "prompt", alpha, "change", "nats a token", at_most=True)
    parts.append(loss._replace(note=f"unrelated text: {loss.note.split(',')[0].replace('prompt', 'text')}"))
    return _all(parts, alpha)


class Chance(NamedTuple):
    """A site beside matched random ones, on the prompts that both were measured on: its mean effect, theirs [peers],
    and on how many prompts."""

    mine: float
    each: np.ndarray
    prompts: int
    rows: pd.DataFrame

    def as_strong(self, sign: float = 1.0) -> int:
        """How many do as much or more, ties included; of `sign` -1, how many are as far below."""
        return int((sign * self.each >= sign * self.mine).sum())


def chance(claim: Claim, found: Evidence) -> Chance | None:
    """The comparison with matched random sites; None where there are none."""
    measure = "restore" if claim.predicate == "is sufficient for" else "damage"
    edit = "patch" if measure == "restore" else "mean"
    peers = found.of("confirm", f"random {measure}", edit)
    peers = different(peers) if len(peers) else peers
    own = found.of("confirm", measure, edit)
    own = own[own.set_index(CASE).index.isin(peers.set_index(CASE).index)]
    if not len(peers) or not len(own):
        return None
    each = peers.groupby("trial", observed=True)["effect"].mean().to_numpy()
    return Chance(float(own["effect"].mean()), each, len(by_prompt(own)), peers)


def better_than_chance(claim: Claim, found: Evidence) -> Tested:
    """Fewer than alpha of matched random sites do as much. p = (1 + as strong) / (1 + peers)."""
    beside = chance(claim, found)
    if beside is None:
        return UNMEASURED._replace(note="no matched random sites are measured")
    strong, n, alpha = beside.as_strong(), len(beside.each), claim.thresholds.alpha
    effect = Estimate(strong / n, n=n, unit="share of matched random sites as strong")
    fails = float(scipy.stats.binom.sf(strong - 1, n, alpha)) if strong else 1.0
    note = f"{number(strong)} of {plural(n, 'matched random site')} reach{'es' * (strong == 1)} its "
    note += share(Estimate(beside.mine))
    note += f" on the {plural(beside.prompts, 'prompt')} that they share"
    lacking = max(0, math.ceil((1 + strong) / alpha) - 1 - n)  # were no more of them as strong
    return Tested(effect, alpha, (1 + strong) / (1 + n), fails, lacking, note, beside.rows, 1)


def stable_under_prompt(claim: Claim, found: Evidence) -> Tested:
    """Damage over paraphrases that nothing was searched on."""
    return _against(found.damage("paraphrase"), _recall(claim), found.cluster, claim.thresholds.alpha)


def stable_under_domain(claim: Claim, found: Evidence) -> Tested:
    """Damage with other contexts before the prompt, and in other languages; of one template, clustered by the kind of
    context."""
    rows = found.damage("domain")
    cluster = found.cluster if rows[found.cluster].nunique() > 1 else "context"
    return _against(rows, _recall(claim), cluster, claim.thresholds.alpha)


def robust_to_method(claim: Claim, found: Evidence) -> Tested:
    """The verdict on necessity is the same under every knockout."""
    limit, alpha = _recall(claim), claim.thresholds.alpha
    parts = {m: _against(by_method(found, m), limit, found.cluster, alpha) for m in METHODS}
    if any(part.p is None for part in parts.values()):
        name, lacking = next((m, part) for m, part in parts.items() if part.p is None)
        return lacking._replace(note=f"{name} knockout: {lacking.note}")
    size = {m: part.effect.value or 0.0 for m, part in parts.items() if part.effect}
    least, most = min(METHODS, key=size.__getitem__), max(METHODS, key=size.__getitem__)
    up = [part.not_holding or 0.0 for part in parts.values()]
    down = [part.holding or 0.0 for part in parts.values()]
    agree, disagree = min(max(up), max(down)), min(1.0, len(parts) * max(min(up), min(down)))
    note = f"from {share(Estimate(size[least]))} ({least}) to {share(Estimate(size[most]))} ({most})"
    needed = "contributes" if claim.predicate == "contributes to" else "is necessary"
    refused = "does not contribute" if claim.predicate == "contributes to" else "is not necessary"
    if 2 * agree <= alpha:  # and then each of them says so by itself
        note += f"; all say that it {needed if max(up) < max(down) else refused}"
    missing = max(part.missing for part in parts.values())
    rows = parts[least].rows
    return Tested(parts[least].effect, limit, agree, disagree, missing, note, rows)


def by_method(found: Evidence, method: str) -> pd.DataFrame:
    """Damage on the confirming prompts under one kind of knockout.

    "optimal" is the constant that does least damage to other facts of the relation, on which it is chosen, among
    zero, the role's mean and quantiles of the activation (after Li & Janson 2409.09951): there, by choice,
    D_optimal <= D_zero and D_mean.
    """
    if method != "optimal":
        return found.of("confirm", "damage", method)
    fitted = found.rows[found.rows["group"] == "fit"]
    if not len(fitted):
        return fitted
    best = str(fitted.groupby("measure", observed=True)["effect"].mean().idxmin()).removeprefix("fit ")
    return found.of("confirm", "damage", best) if best in ("mean", "zero") else found.of("confirm", best)


def not_redundant(claim: Claim, found: Evidence) -> Tested:
    """No disjoint set of the same size suffices, and no later MLP takes over when the site is out."""
    seconds = found.restored("second")
    if not len(seconds):
        return UNMEASURED._replace(note="no disjoint set to compare with")
    limit, alpha = claim.thresholds.second, claim.thresholds.alpha
    parts = [
        _against(rows, limit, found.cluster, alpha, at_most=True) for _, rows in seconds.groupby("trial", observed=True)
    ]
    suffice = sum(part.effect is not None and (part.effect.value or 0.0) >= limit for part in parts)
    note = f"{suffice} of {plural(len(parts), 'other set')} restore{'s' * (suffice == 1)} {percent_of(limit)} or more"
    tested = _all(parts, alpha)._replace(note=note, missing=max(part.missing for part in parts))
    masked = hidden(claim, found)
    if masked.holding is not None and masked.holding <= claim.thresholds.alpha / 2:
        return masked
    return tested


def percent_of(threshold: float) -> str:
    """A threshold that is a share.

    >>> percent_of(0.5), percent_of(0.07), percent_of(0.0004)
    ('50%', '7%', '0.04%')
    """
    return f"{100 * threshold:.10g}%"


def hidden(claim: Claim, found: Evidence) -> Tested:
    """Self-repair: the site costs little alone, and much where the later MLPs are held as they were.

    `holding` is the p of there being none.
    """
    held, free = found.of("confirm", "held"), found.damage("confirm")
    limit, alpha = claim.thresholds.necessary, claim.thresholds.alpha
    if not len(held) or not len(free):
        return UNMEASURED
    with_ = _against(held, limit, found.cluster, alpha)
    without = _against(free, limit, found.cluster, alpha, at_most=True)
    if with_.not_holding is None or without.not_holding is None or without.effect is None:
        return UNMEASURED
    both = max(with_.not_holding, without.not_holding)
    note = f"masked by self-repair: damage with the later MLPs held as they were; alone {share(without.effect)}"
    return Tested(with_.effect, limit, 1.0 - both, both, 0, note, held)


def monosemantic(claim: Claim, found: Evidence) -> Tested:
    """In a reference corpus of other facts, known or not, none fires the unit as this fact does: a count, no sample."""
    rows = found.damage("firing")
    if not len(rows):
        single = len(claim.sites) == 1 and claim.sites[0].unit is not None
        return UNMEASURED._replace(note="not measured" if single else "for single heads and neurons only")
    share_, _, fact = str(rows["most"].iloc[0]).partition(" ")
    ratio, limit = float(share_), claim.thresholds.fires
    facts = number(int(str(rows["population"].iloc[0])))
    note = f"of {facts} shipped facts, {fact} fires it most, this subject's and those of its answer left out; a count"
    effect = Estimate(ratio, unit="share of this fact's activation")
    return Tested(effect, limit, float(ratio >= limit), float(ratio < limit), 0, note, rows)


def _recall(claim: Claim) -> float:
    t = claim.thresholds
    return t.contributes if claim.predicate == "contributes to" else t.necessary


TESTS: dict[str, Callable[[Claim, Evidence], Tested]] = {
    "necessary": necessary,
    "sufficient": sufficient,
    "contributes": contributes,
    "specific": specific,
    "better than chance": better_than_chance,
    "stable under prompt": stable_under_prompt,
    "stable under domain": stable_under_domain,
    "robust to method": robust_to_method,
    "not redundant": not_redundant,
    "monosemantic": monosemantic,
}
