"""From the rows of a spread to its numbers, sentences and tables. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lashley.core.figure import Column, Control, Estimate, Finding, Table, number
from lashley.screening import SAMPLE, Screening, screening
from lashley.searching import MAIN, MATCHED, RANDOM, name
from lashley.sets import SHARES
from lashley.stats import permutation
from lashley.summary import cells, estimate, facts, floor, prompts, share

if TYPE_CHECKING:
    import pandas as pd

    from lashley.sets import Effect

HALF = {0.5: "Half", 0.9: "Nine tenths"}
UNSEARCHED = Finding("The search is not finished: run `lashley resume` on this study.")


def reached(effect: Estimate, part: float) -> bool:
    """Whether what was found to reach a share still does on other prompts, as far as its interval can tell.

    >>> reached(Estimate(0.47, 0.36, 0.6), 0.5), reached(Estimate(0.31, 0.23, 0.38), 0.5), reached(Estimate(0.4), 0.5)
    (True, False, False)
    """
    top = effect.value if effect.high is None else effect.high
    return top is not None and top >= part


class Spread:
    """The measurements of one spread; `units` is the plural of what was searched among."""

    def __init__(self, rows: pd.DataFrame, units: str):
        once = rows["effect"].where(rows["corrupt"].isna(), rows["effect"].clip(-1.0, 1.0))  # all lost is lost once
        control = rows["control"].astype(object).where(rows["control"].notna(), "")
        self.all, self.units = rows.assign(effect=once, control=control), units
        self.rows = self.all[self.all["question"] == MAIN]
        self.confirm = self.rows[self.rows["group"] == "confirm"]
        self.what = facts(self.rows[self.rows["relation"].notna()])

    def of(self, measure: str, control: str = "") -> pd.DataFrame:
        """Confirming rows of one measure."""
        r = self.confirm
        return r[(r["measure"] == measure) & (r["control"] == control)]

    @cached_property
    def alone(self) -> pd.DataFrame:
        """Every unit searched, alone, on the search prompts: effect, estimate, restored, site."""
        return self._alone("")

    def _alone(self, control: str) -> pd.DataFrame:
        r = self.rows[(self.rows["measure"] == "alone") & (self.rows["control"] == control)]
        damage, restored = r[r["edit"] != "patch"], r[r["edit"] == "patch"]
        found = cells(damage, ["trial"]).merge(damage.drop_duplicates("trial")[["trial", "site", "layer"]], on="trial")
        if damage["estimate"].notna().any():
            guess = damage.groupby("trial", observed=True)["estimate"].mean().rename("estimate")
            found = found.merge(guess, on="trial")
        if len(restored):
            found = found.merge(
                restored.groupby("trial", observed=True)["effect"].mean().rename("restored"), on="trial"
            )
        return found

    @property
    def population(self) -> int:
        """How many units there are."""
        return int(self.rows["population"].dropna().iloc[0])

    @property
    def screened(self) -> bool:
        return len(self.alone) < self.population

    @property
    def few(self) -> bool:
        return bool(cells(self.confirm, ["measure"])["low"].isna().all())

    @property
    def same(self) -> bool:
        """Whether what was searched on confirms as well: there was nothing else."""
        searched = self.rows[self.rows["group"] == "search"]
        return bool(self.confirm["prompt"].isin(searched["prompt"]).any())

    @cached_property
    def screening(self) -> Screening | None:
        return screening(self.alone, self._alone(SAMPLE), self.population, self.units) if self.screened else None

    def smallest(self, effect: Effect, part: float) -> tuple[Estimate, int, int] | None:
        """Of the smallest set found: its confirmed effect, its size, and how few cannot do it."""
        own = self.of("smallest")
        own = own[own["set"] == name(effect, part)]
        if not len(own):
            return None
        return estimate(cells(own, ["set"]).iloc[0]), int(own["size"].iloc[0]), int(own["least"].iloc[0])

    def beside(self, effect: Effect, part: float, control: str) -> tuple[Estimate, float] | None:
        """Random sets of the same size: mean and 95% range, and the p of the set's being one of them."""
        peers, own = self.of("smallest", control), self.of("smallest")
        peers, own = (r[r["set"] == name(effect, part)] for r in (peers, own))
        if not len(peers) or not len(own):
            return None
        own = own[own["prompt"].isin(peers["prompt"])]
        each = peers.groupby("trial", observed=True)["effect"].mean().to_numpy()
        low, high = np.quantile(each, [0.025, 0.975])
        p = permutation([float(own["effect"].mean())], each, side="greater")
        return Estimate(float(each.mean()), low, high, len(each)), p

    @property
    def ratio(self) -> float:
        """Participation ratio (sum s)^2 / sum s^2 of the positive damage of single units."""
        positive = self.alone["effect"].clip(lower=0).to_numpy()
        return float(positive.sum() ** 2 / max((positive**2).sum(), 1e-12))

    @property
    def disjoint(self) -> int:
        """Disjoint sets that each restore half."""
        return self.of("disjoint")["set"].nunique()

    # -- words ------------------------------------------------------------------------------------------------------

    def findings(self) -> Iterator[Finding]:
        """The sentence, then what suffices, how single units share, and what the screen may have missed."""
        if not len(self.of("curve")):
            yield UNSEARCHED
            return
        n, units = number(self.population), self.units
        strongest = self.alone.iloc[int(self.alone["effect"].to_numpy().argmax())]
        alone = f"no single one carries more than {share(Estimate(float(strongest['effect'])))}"
        basis = (
            f"Searched on {prompts(self.rows[self.rows['measure'] == 'alone'])}, quoted from "
            f"{prompts(self.confirm)}; 95% t intervals on cluster means."
        )
        for part in SHARES:
            found = self.smallest("damage", part)
            if found is None:
                curve = cells(self.of("curve"), ["size"])
                most = curve.iloc[int(curve["effect"].to_numpy().argmax())]
                whole = estimate(most)
                yield Finding(
                    f"No set was found whose silencing costs {HALF[part].lower()} of the recall of {self.what}: of the "
                    f"{number(len(self.alone))} {units} searched, of {n}, the {number(int(most['size']))} strongest "
                    f"together cost {share(whole)}, and no other number that was tried costs more; {alone}.",
                    whole,
                    basis,
                )
                continue
            effect, size, least = found
            random_ = self.beside("damage", part, RANDOM)
            chance = f"; random sets of that size cost {share(Estimate(random_[0].value))}" if random_ else ""
            bound = (
                "no smaller set does it"
                if least == size
                else f"best found; fewer than {number(least)} cannot do it"
                if least > 2 or not self.screened
                else "best found"
            )
            tail = (f"; {alone}" if part == SHARES[0] and size > 1 else "") + f"{chance}."
            verb = "is silenced" if size == 1 else "are silenced together"
            told = (
                f"{HALF[part]} of the recall of {self.what} goes when {number(size)} of {n} {units} {verb} ({bound}; "
                f"{share(effect)} of it on prompts that were not searched on)"
                if reached(effect, part)
                else f"{share(effect)} of the recall of {self.what} goes, on prompts that were not searched on, when "
                f"{number(size)} of {n} {units} {verb} that cost {HALF[part].lower()} of it where they were found"
            )
            yield Finding(told + tail, effect, basis)
        yield from self._sufficient(n)
        yield Finding(
            f"Alone, the positive damage of the {number(len(self.alone))} {units} that were searched is spread as over "
            f"{number(self.ratio)} equal ones (participation ratio); the strongest is {strongest['site']}.",
            estimate(strongest),
            "On the search prompts.",
        )
        yield from self._repair()
        if self.screening:
            yield self.screening.finding

    def _sufficient(self, n: str) -> Iterator[Finding]:
        for part in SHARES:
            found = self.smallest("restoration", part)
            if found is None:
                yield Finding(f"No set of {self.units} was found that restores {HALF[part].lower()} of the recall.")
                continue
            effect, size, _ = found
            sets = ""
            if part == SHARES[0]:
                k = self.disjoint
                sets = (
                    "; no second set, disjoint and at most twice as large, was found"
                    if k < 2
                    else f"; {number(k)} disjoint sets, at most twice as large, do so each"
                )
            verb, half = "brings" if size == 1 else "bring", HALF[part].lower()
            back = "of the recall back into the corrupted run"
            told = (
                f"{half} {back} ({share(effect)} on prompts that were not searched on)"
                if reached(effect, part)
                else f"{share(effect)} {back} on prompts that were not searched on ({half} where they were found)"
            )
            yield Finding(f"{number(size)} of {n} {self.units} {verb} {told}{sets}.", effect, "At all positions.")

    def _repair(self) -> Iterator[Finding]:
        total, direct = (cells(r, ["trial"]) for r in (self.of("total"), self.of("direct")))
        if not len(total) or not len(direct):
            return
        both = total.merge(direct, on="trial", suffixes=("", "_direct"))
        lost, shown = float(both["effect_direct"].mean()), float(both["effect"].mean())
        hidden = "less than" if shown < lost else "more than"
        yield Finding(
            f"The {number(len(both))} strongest cost {share(Estimate(shown))} each on average, {hidden} their direct "
            f"effect on the output, {share(Estimate(lost))}, with all that comes after held as it was: what lies "
            f"between them is {'made up for by later layers (self-repair)' if shown < lost else 'carried by them'}.",
            Estimate(shown, n=len(both)),
            "Damage, one by one, on the confirming prompts.",
        )

    def controls(self) -> Iterator[Control]:
        yield Control("identity edit", Estimate(floor(self.confirm)), "the numerical noise floor")
        for part in SHARES:
            for control in (RANDOM, MATCHED):
                if (found := self.beside("damage", part, control)) is not None:
                    size = self.smallest("damage", part)
                    of = f"{found[0].n} {control} sets of {number(size[1] if size else 0)}"
                    yield Control(
                        f"{control} sets, {name('damage', part)}", found[0],
                        f"{of}: damage, mean and 95% range; p = {found[1]:.3f} (one-sided, +1)",
                    )  # fmt: skip
        text = self.rows[self.rows["measure"] == "text"]
        for control, words in (("", "the set that costs half"), (RANDOM, "random sets of that size")):
            own = text[text["control"] == control]
            if len(own):
                mean = -own.groupby("prompt", observed=True)["effect"].mean()
                yield Control(
                    f"loss on unrelated text: {words}", Estimate(float(mean.mean()), n=len(mean)), "nats a token more"
                )
        if self.screening:
            yield from self.screening.controls

    def tables(self) -> list[Table]:
        """The smallest sets, and the strongest single units."""
        lines = []
        effects: tuple[Effect, ...] = ("damage", "restoration")
        for effect in effects:
            for part in SHARES:
                if (found := self.smallest(effect, part)) is not None:
                    peers = [self.beside(effect, part, c) for c in (RANDOM, MATCHED)]
                    of = self.of("smallest")
                    sites = str(of[of["set"] == name(effect, part)]["site"].iloc[0])
                    lines.append(
                        (name(effect, part), found[1], found[2], found[0], *(p and p[0] for p in peers), sites[:90])
                    )
        columns = (
            Column("set"),
            Column("units"),
            Column("at least", "units"),
            Column("confirmed effect", "share"),
            Column("random sets", "share"),
            Column("matched sets", "share"),
            Column("which"),
        )
        note = (
            "k_n: the smallest set found whose knockout costs that share; k_s: whose restoration brings it back. "
            "“At least” is what exhaustion proves among the units searched."
        )
        tables = [Table("The smallest sets that were found", columns, tuple(lines), note)] if lines else []
        top = self.alone.sort_values("effect", ascending=False).head(12)
        rows = tuple(
            (str(r["site"]), estimate(r), None if "restored" not in r else float(r["restored"]))
            for _, r in top.iterrows()
        )
        columns = (Column("site"), Column("damage", "share"), Column("restoration", "share"))
        tables.append(Table("The strongest single units, on the search prompts", columns, rows))
        return tables + ([self.screening.table] if self.screening and self.screening.table else [])

    # -- other facts ------------------------------------------------------------------------------------------------

    @cached_property
    def interference(self) -> pd.DataFrame:
        """Mean damage of each fact's smallest set to each: columns silenced, recalled, effect, low, high, n."""
        r = self.all[self.all["measure"] == "interference"]
        asked = self.all[self.all["subject"].notna()].groupby("question", observed=True)["subject"]
        names = {str(q): "several" if s.nunique() > 1 else str(s.iloc[0]) for q, s in asked}
        found = cells(r, ["set", "question"])
        return found.assign(
            silenced=found["set"].astype(str).map(names), recalled=found["question"].astype(str).map(names)
        )
