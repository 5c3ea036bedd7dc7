"""Verdicts on claims: every criterion measured, tested and judged again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import pandas as pd
from scipy import stats

from . import arithmetic as a
from .arithmetic import Value
from .claims import Claim

METHODS = ("mean", "zero", "resample", "noise", "optimal")
ORDER = ("necessary", "sufficient", "contributes", "specific", "better than chance", "stable under prompt",
         "stable under domain", "robust to method", "not redundant", "monosemantic")  # fmt: skip
TEXT_FLOOR = 1e-6  # nats a token


class Criterion(NamedTuple):
    """What one criterion came to: its effect, its threshold (`most`: it has to stay below), the p of its not holding
    and of its holding, how many more would decide it, and the parts that it was made from."""

    value: Value | None
    limit: float | None = None
    most: bool = False
    unlike: float | None = None  # p of "it does not hold"
    like: float | None = None
    needed: int = 0
    parts: Mapping[str, Value] = MappingProxyType({})
    sides: int = 2
    clusters: int = 0

    @property
    def p(self) -> float | None:
        if self.unlike is None or self.like is None:
            return None
        return min(1.0, self.sides * min(self.unlike, self.like))


NOTHING = Criterion(None)


def _capped(rows: pd.DataFrame) -> pd.DataFrame:
    capped = rows["effect"].where(rows["corrupt"].isna(), rows["effect"].clip(-1, 1))
    template = rows["template"].where(rows["group"] != "text", rows["prompt"])
    who = rows["relation"].astype(str) + "(" + rows["subject"].astype(str) + ")"
    return rows.assign(effect=capped, size=capped.abs(), template=template, who=who)


class Evidence:
    """The rows of one claim; shares are capped at 1, since what is all lost is lost once (ARCHITECTURE, Claims)."""

    def __init__(self, claim: Claim, rows: pd.DataFrame, topic: pd.DataFrame):
        self.claim, self.level = claim, 1 - claim.limits["alpha"]
        self.rows, self.topic = _capped(rows), _capped(topic)

    def of(self, group: str, measure: str = "damage", edit: str = "mean") -> pd.DataFrame:
        r = self.rows
        chosen = (r["measure"] == measure) & r["group"].isin(group.split())
        return r[chosen & (r["edit"] == edit)] if edit else r[chosen]

    def against(
        self, rows: pd.DataFrame, limit: float, most: bool = False, column: str = "effect", of: str = ""
    ) -> Criterion:
        if not len(rows):
            return Criterion(None, limit, most)
        of = of or self.claim.cluster
        t = a.t_test(rows, limit, of, column, self.level)
        p = (t.below, t.above) if most else (t.above, t.below)
        return Criterion(a.value(rows, of, column, self.level), limit, most, *p, t.needed, clusters=rows[of].nunique())

    def all_of(self, parts: dict[str, Criterion]) -> Criterion:
        """Parts that must all hold: intersection-union, and Bonferroni; the part nearest to failing is shown."""
        values = {name: c.value for name, c in parts.items() if c.value}
        if open_ := [c for c in parts.values() if c.p is None]:
            sure = [
                c for c in parts.values() if c.like is not None and c.like <= self.claim.limits["alpha"] / len(parts)
            ]
            shown = sure[0]._replace(like=min(1.0, len(parts) * sure[0].like)) if sure else open_[0]
            return shown._replace(parts=values)
        worst = max(parts.values(), key=lambda c: c.unlike)
        like = min(1.0, len(parts) * min(c.like for c in parts.values()))
        return worst._replace(like=like, parts=values)

    # -- the criteria -----------------------------------------------------------------------------------------------

    def criteria(self) -> dict[str, Criterion]:
        c, limits = self.claim, self.claim.limits
        damage = self.of("confirm")
        domain = self.of("domain")
        kinds = c.cluster if domain[c.cluster].nunique() > 1 else "context"
        return {
            "necessary": self.against(damage, limits["necessary"]),
            "sufficient": self.against(self.of("confirm paraphrase", "restore", "patch"), limits["sufficient"]),
            "contributes": self.against(damage, limits["contributes"]),
            "specific": self.specific(),
            "better than chance": self.chance(),
            "stable under prompt": self.against(self.of("paraphrase"), c.recall),
            "stable under domain": self.against(domain, c.recall, of=kinds),
            "robust to method": self.robust(),
            "not redundant": self.redundant(),
            "monosemantic": self.monosemantic(),
        }

    def specific(self) -> Criterion:
        limit, parts = self.claim.limits["others"], {}
        for group in ("other", "firing"):
            rows = self.of(group)
            if len(rows) or group == "other":
                parts[group] = self.against(rows, limit, True, "size", "who")
        text = self.of("text")
        floor = max(float(text["noise_floor"].max()) if len(text) else 0.0, TEXT_FLOOR)
        parts["text"] = self.against(text, self.claim.limits["loss"] + floor, True, "size", "prompt")
        return self.all_of(parts)

    def beside(self, damage: bool = False) -> tuple[float, list[float], int] | None:
        """The site's mean effect and those of different matched random sites, on the same prompts, and on how many: of
        what the claim is about, or of `damage`."""
        restored = self.claim.predicate == "is sufficient for" and not damage
        measure, edit = ("restore", "patch") if restored else ("damage", "mean")
        peers, own = self.of("confirm", f"random {measure}", edit), self.of("confirm", measure, edit)
        runs = [*a.PROMPT, "pair", "seed"]
        own = own.merge(peers[runs].drop_duplicates(), on=runs)
        if not len(peers) or not len(own):
            return None
        each = self.different(peers)
        return float(own["effect"].mean()), each, a.prompts(own)

    def different(self, peers: pd.DataFrame) -> list[float]:
        """The mean effect of every random set, those of the same units counting once."""
        first = peers.drop_duplicates("trial").set_index("trial")["site"]
        which = peers["trial"].map(first.map(lambda s: "+".join(sorted(s.split("+")))))
        return peers.groupby(which)["effect"].mean().tolist()

    def chance(self) -> Criterion:
        if (found := self.beside()) is None:
            return NOTHING
        mine, each, _ = found
        alpha, n = self.claim.limits["alpha"], len(each)
        strong = sum(e >= mine for e in each)
        fails = float(stats.binom.sf(strong - 1, n, alpha)) if strong else 1.0
        more = max(0, math.ceil((1 + strong) / alpha) - 1 - n)
        return Criterion(Value(strong / n, None, None, n), alpha, True, (1 + strong) / (1 + n), fails, more, sides=1)

    def by_method(self, method: str) -> pd.DataFrame:
        """Damage by one knockout; the optimal constant is that which did least damage where constants were fitted."""
        if method != "optimal":
            return self.of("confirm", "damage", method)
        fitted = self.rows[self.rows["group"] == "fit"]
        if not len(fitted):
            return fitted
        best = str(fitted.groupby("measure", observed=True)["effect"].mean().idxmin()).removeprefix("fit ")
        return self.of("confirm", "damage", best) if best in METHODS else self.of("confirm", best, "")

    def robust(self) -> Criterion:
        parts = {m: self.against(self.by_method(m), self.claim.recall) for m in METHODS}
        values = {m: c.value for m, c in parts.items() if c.value}
        if open_ := [c for c in parts.values() if c.p is None]:
            return open_[0]._replace(parts=values)
        least = min(parts.values(), key=lambda c: c.value.value)
        up, down = [c.unlike for c in parts.values()], [c.like for c in parts.values()]
        agree, apart = min(max(up), max(down)), min(1.0, len(parts) * max(min(up), min(down)))
        needed = max(c.needed for c in parts.values())
        return Criterion(least.value, self.claim.recall, False, agree, apart, needed, values)

    def redundant(self) -> Criterion:
        seconds = self.of("confirm paraphrase", "second", "patch")
        limit = self.claim.limits["second"]
        if not len(seconds):
            return NOTHING
        parts = {str(t): self.against(r, limit, True) for t, r in seconds.groupby("trial")}
        found = self.all_of(parts)._replace(needed=max(c.needed for c in parts.values()))
        held = self.of("confirm", "held", "")
        if len(held) and len(self.of("confirm")):
            need = self.claim.limits["necessary"]
            with_, free = self.against(held, need), self.against(self.of("confirm"), need, True)
            if None not in (with_.unlike, free.unlike):
                both = max(with_.unlike, free.unlike)
                if both <= self.claim.limits["alpha"] / 2:
                    return Criterion(with_.value, need, True, 1 - both, both, 0, {"alone": free.value})
        return found

    def monosemantic(self) -> Criterion:
        rows = self.of("firing")
        if not len(rows):
            return NOTHING
        ratio, limit = float(str(rows["most"].iloc[0]).partition(" ")[0]), self.claim.limits["fires"]
        return Criterion(Value(ratio), limit, True, float(ratio >= limit), float(ratio < limit))

    # -- what follows -----------------------------------------------------------------------------------------------

    def loss(self) -> float | None:
        """By how much the loss on unrelated text rises, in nats a token."""
        text = self.of("text")
        return -float(text.groupby("prompt", observed=True)["effect"].mean().mean()) if len(text) else None

    def bound(self) -> float | None:
        """The smallest bound within which two one-sided tests at 5% show the damage to lie."""
        v = a.value(self.of("confirm"), self.claim.cluster, level=0.9)
        return None if v.low is None else max(abs(v.low), abs(v.high))

    def floor(self) -> float:
        return a.floor(self.of("confirm"))


def judged(claim: Claim, found: dict[str, Criterion]) -> dict[str, tuple[str, float | None]]:
    """Status and shown p of every criterion: it holds at alpha, and fails at alpha after Holm over the required."""
    alpha = claim.limits["alpha"]
    asked = {n: found[n].p for n in ORDER if n in claim.required and found[n].p is not None}
    adjusted = a.holm(asked)
    out = {}
    for name, c in found.items():
        p = adjusted.get(name, c.p)
        if c.p is None:
            out[name] = ("undecided" if c.value else "not tested", None)
        elif c.unlike < c.like:
            out[name] = ("holds", c.p) if c.p <= alpha else ("undecided", p)
        else:
            out[name] = ("fails" if p <= alpha else "undecided", p)
    return out


def outcomes(claims: list[Claim], every: list[dict[str, tuple[str, float | None]] | None]) -> list[str]:
    """Supported where all that is required holds, refuted where any fails; then Benjamini-Hochberg over all."""
    alone, worst = [], []
    for claim, found in zip(claims, every, strict=True):
        if found is None:
            alone.append("")
            worst.append(1.0)
            continue
        statuses = {found[n][0] for n in claim.required if n != "editable"}
        alone.append("refuted" if "fails" in statuses else "supported" if statuses == {"holds"} else "undecided")
        gates = [found[n][1] for n in claim.required if n in found and n != "better than chance"]
        worst.append(max((p for p in gates if p is not None), default=1.0) if alone[-1] == "supported" else 1.0)
    q = a.benjamini_hochberg(worst)
    return [
        "undecided" if o == "supported" and x > c.limits["alpha"] else o
        for c, o, x in zip(claims, alone, q, strict=True)
    ]
