"""From the rows of a spread to its numbers, sentences and tables. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from lashley.core.figure import Column, Control, Estimate, Finding, Table, number
from lashley.experiments.spread.searching import MAIN, MATCHED, RANDOM, name
from lashley.experiments.spread.sets import SHARES
from lashley.stats.inference import participation, permutation
from lashley.stats.peers import different
from lashley.stats.screening import SAMPLE, Screening, screening
from lashley.stats.summary import (
    CAP,
    REPLICATE,
    capped,
    cells,
    cost,
    estimate,
    facts,
    floor,
    prompts,
    ranged,
    readings,
    resting,
    share,
)

if TYPE_CHECKING:
    import pandas as pd

    from lashley.experiments.spread.sets import Effect

NAMED = 6  # sites that a sentence names
HALF = {0.5: "half", 0.9: "nine tenths"}
UNSEARCHED = Finding("The search is not finished: run `lashley resume` on this study.")


class Spread:
    """The measurements of one spread; `units` is the plural of what was searched among."""

    def __init__(self, rows: pd.DataFrame, units: str):
        control = rows["control"].astype(object).where(rows["control"].notna(), "")
        asked = rows["asked"] if "asked" in rows else rows["prompt"]
        self.all, self.units = capped(rows).assign(control=control, asked=asked), units
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

    def which(self, effect: Effect, part: float) -> str:
        """The sites of the smallest set found, joined with `+`."""
        own = self.of("smallest")
        return str(own[own["set"] == name(effect, part)]["site"].iloc[0])

    def named(self, effect: Effect, part: float) -> str:
        """The same in brackets, to stand in a sentence; "" where they are many."""
        sites = self.which(effect, part).split("+")
        return f" ({', '.join(sites)})" if len(sites) <= NAMED else ""

    def beside(self, effect: Effect, part: float, control: str) -> tuple[Estimate, float] | None:
        """Random sets of the same size, each once: mean and 95% range, and the p of the set's being one of them. Those
        of any units were drawn for each share apart, and count together where the sets are as large."""
        r = self.confirm[(self.confirm["measure"] == "smallest")]
        own = r[(r["set"] == name(effect, part)) & (r["control"] == "")]
        if not len(own):
            return None
        alike = [name(effect, s) for s in (SHARES if control == RANDOM else (part,))]
        peers = r[r["set"].isin(alike) & (r["control"] == control) & (r["size"] == own["size"].iloc[0])]
        peers = peers[peers["site"].astype(str) != str(own["site"].iloc[0])]
        if not len(peers):
            return None
        peers = different(peers.assign(trial=peers.groupby(["set", "trial"], observed=True).ngroup()))
        own = own[own["asked"].isin(peers["asked"])]
        each = peers.groupby("trial", observed=True)["effect"].mean().to_numpy()
        p = permutation([float(own["effect"].mean())], each, side="greater")
        return ranged(each), p

    def lost(self, control: str = "") -> Estimate | None:
        """By how much the loss on unrelated text rises without the smallest set, or random ones, in nats a token."""
        own = self.rows[(self.rows["measure"] == "text") & (self.rows["control"] == control)]
        if not len(own):
            return None
        mean = -(different(own) if control else own).groupby("prompt", observed=True)["effect"].mean()
        return Estimate(float(mean.mean()), n=len(mean))

    @property
    def ratio(self) -> float:
        """Participation ratio of the positive damage of single units."""
        return participation(self.alone["effect"].to_numpy())

    @property
    def disjoint(self) -> int:
        """Disjoint sets that each restore half."""
        return self.of("disjoint")["set"].nunique()

    # -- words ------------------------------------------------------------------------------------------------------

    @property
    def where(self) -> str:
        return "on the prompts that it was searched on" if self.same else "on prompts that nothing was searched on"

    def findings(self) -> Iterator[Finding]:
        """The sentence, then what suffices, how single units share, and what the screen may have missed. What was found
        on the search prompts and what other prompts confirm are two things; sentences give the second."""
        if not len(self.of("curve")):
            yield UNSEARCHED
            return
        n, units = number(self.population), self.units
        strongest = self.alone.iloc[int(self.alone["effect"].to_numpy().argmax())]
        alone = f"where they were searched, none costs more than {cost(Estimate(float(strongest['effect'])))} alone"
        basis = (
            f"Searched on {prompts(self.rows[self.rows['measure'] == 'alone'])}, quoted from "
            f"{resting(self.confirm)} {CAP}"
        )
        for part in SHARES:
            half, found = HALF[part], self.smallest("damage", part)
            if found is None:
                curve = cells(self.of("curve"), ["size"])
                most = curve.iloc[int(curve["effect"].to_numpy().argmax())]
                whole = estimate(most)
                yield Finding(
                    f"No set was found whose silencing costs {half} of the recall of {self.what}: of the "
                    f"{number(len(self.alone))} {units} searched, of {n}, the {number(int(most['size']))} strongest "
                    f"together cost {cost(whole)} {self.where}, and no other number that was tried costs more; "
                    f"{alone}.",
                    whole,
                    basis,
                )
                continue
            effect, size, least = found
            random_ = self.beside("damage", part, RANDOM)
            chance = f"; random sets of that size cost {cost(Estimate(random_[0].value))}" if random_ else ""
            bound = (
                "no smaller set does"
                if least == size
                else f"best found: fewer than {number(least)} cannot"
                if least > 2 or not self.screened
                else "best found"
            )
            tail = (f"; {alone}" if part == SHARES[0] and size > 1 else "") + f"{chance}."
            yield Finding(
                f"Silencing {number(size)} of {n} {units}{self.named('damage', part)}, found to cost {half} of the "
                f"recall of {self.what} where they were searched ({bound}), costs it {cost(effect)} {self.where}{tail}",
                effect,
                basis,
            )
        yield from self._sufficient(n)
        yield Finding(
            f"Alone, the positive damage of the {number(len(self.alone))} {units} that were searched is spread as over "
            f"{number(self.ratio)} equal ones (participation ratio); the strongest is {strongest['site']}.",
            estimate(strongest),
            f"On the search prompts. {CAP}",
        )
        yield from self._repair()
        if self.screening:
            yield self.screening.finding

    def _sufficient(self, n: str) -> Iterator[Finding]:
        for part in SHARES:
            half, found = HALF[part], self.smallest("restoration", part)
            if found is None:
                yield Finding(f"No set of {self.units} was found that restores {half} of the recall.")
                continue
            effect, size, _ = found
            sets = f"; {self._disjoint()}" if part == SHARES[0] else ""
            verb = "brings" if size == 1 else "bring"
            yield Finding(
                f"{number(size)} of {n} {self.units}{self.named('restoration', part)}, found to bring {half} of the "
                f"recall back into the corrupted run where they were searched, {verb} back {share(effect)} "
                f"{self.where}{sets}.",
                effect,
                f"At all positions. {CAP}",
            )

    def _disjoint(self) -> str:
        """How many disjoint sets were found, and what they bring back on the confirming prompts."""
        if self.disjoint < 2:
            return "no second set, disjoint and at most twice as large, was found"
        each = cells(self.of("disjoint"), ["set"])["effect"]
        low, high = (share(Estimate(float(x))) for x in (each.min(), each.max()))
        return (
            f"{number(self.disjoint)} disjoint sets, at most twice as large, were found to do so each: {low} to {high}"
        )

    def _repair(self) -> Iterator[Finding]:
        total, direct = self.of("total"), self.of("direct")
        if not len(total) or not len(direct):
            return
        keys = ["trial", *REPLICATE]
        both = total.merge(direct[[*keys, "effect"]], on=keys, suffixes=("", "_direct"))
        apart = estimate(cells(both.assign(effect=both["effect_direct"] - both["effect"], all_=0), ["all_"]).iloc[0])
        mean = both.groupby("trial", observed=True)[["effect", "effect_direct"]].mean().mean()
        lost, shown = float(mean["effect_direct"]), float(mean["effect"])
        told = "made up for by later layers (self-repair)" if shown < lost else "carried by later layers"
        told = told if apart.clear(floor(both)) and apart.low is not None else "not told apart from 0"
        yield Finding(
            f"The {number(both['trial'].nunique())} strongest cost {cost(Estimate(shown))} each on average, and "
            f"{share(Estimate(lost))} by their direct effect on the output, with all that comes after held as it was: "
            f"what lies between them, {share(apart)}, is {told}.",
            apart,
            f"Damage, one by one, {self.where}: direct less total effect. {CAP}",
        )

    def controls(self) -> Iterator[Control]:
        yield Control("identity edit", Estimate(floor(self.confirm)), "the numerical noise floor, a share")
        for part in SHARES:
            for control in (RANDOM, MATCHED):
                if (found := self.beside("damage", part, control)) is not None:
                    size = self.smallest("damage", part)
                    of = f"{found[0].n} different {control} sets of {number(size[1] if size else 0)}"
                    helps = "; below 0: on average they help the answer" if (found[0].value or 0.0) < 0 else ""
                    yield Control(
                        f"{control} sets, {name('damage', part)}", found[0],
                        f"{of}: damage, mean and 95% range; p = {found[1]:.3f} (one-sided, +1){helps}",
                    )  # fmt: skip
        for control, words in (("", f"the set {name('damage', SHARES[0])}"), (RANDOM, "random sets of that size")):
            if (lost := self.lost(control)) is not None:
                yield Control(f"loss on unrelated text: {words}", lost, "nats a token more")
        if self.screening:
            yield from self.screening.controls

    def readings(self, edit: str) -> tuple[Table, ...]:
        """What effects are shares of, and what silencing the smallest set makes of the readout."""
        own = self.of("smallest")
        own = own[own["set"] == name("damage", SHARES[0])]
        size = f"{number(int(own['size'].iloc[0]))} of {number(self.population)} {self.units}" if len(own) else ""
        return readings(self.confirm, own, f"{edit} knockout of {name('damage', SHARES[0])}, {size}")

    def tables(self) -> list[Table]:
        """The smallest sets, and the strongest single units."""
        lines = []
        effects: tuple[Effect, ...] = ("damage", "restoration")
        for effect in effects:
            for part in SHARES:
                if (found := self.smallest(effect, part)) is not None:
                    peers = [self.beside(effect, part, c) for c in (RANDOM, MATCHED)]
                    sites = self.which(effect, part)
                    lines.append(
                        (name(effect, part), found[1], found[2], found[0], *(p and p[0] for p in peers), sites)
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
            "k_n: the smallest set whose knockout costs that share on the search prompts; k_s: whose restoration "
            f"brings it back there. The confirmed effect is {self.where}; random and matched sets: mean, 95% range. "
            f"“At least” is what exhaustion proves among the units searched. {CAP}"
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
        import pandas as pd

        r = self.all[self.all["measure"] == "interference"]
        asked = self.all[self.all["subject"].notna()].groupby("question", observed=True)["subject"]
        names = {str(q): "several" if s.nunique() > 1 else str(s.iloc[0]) for q, s in asked}
        if not len(r):
            return r.assign(silenced="", recalled="")
        found = pd.concat([cells(part, ["set", "question"]) for _, part in r.groupby("question", observed=True)])
        return found.assign(
            silenced=found["set"].astype(str).map(names), recalled=found["question"].astype(str).map(names)
        )
