"""From the rows of a spread to its result."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from lashley.core.experiment import Arrays
from lashley.core.figure import Estimate
from lashley.experiments.spread.planning import MAIN, MATCHED, RANDOM, UNITS, Params, name
from lashley.experiments.spread.result import Beside, Confirmed, Interference, Point, Result, SelfRepair, Unit
from lashley.experiments.spread.search import TAUS, Effect
from lashley.stats.basis import REPLICATE, basis
from lashley.stats.inference import participation, permutation
from lashley.stats.peers import different
from lashley.stats.screening import SAMPLE, screening
from lashley.stats.summary import capped, cells, estimate, facts, floor, measured, ranged

if TYPE_CHECKING:
    import pandas as pd

TOP = 12  # single units that are listed


def asked(rows: pd.DataFrame) -> str:
    """What is asked about in words, without what stands beside it."""
    return facts(rows[(rows["question"] == MAIN) & rows["relation"].notna()])


class Rows:
    """The rows of one spread, divided: what is asked about and what stands beside it, searching and confirming."""

    def __init__(self, table: pd.DataFrame):
        rows = measured(table)
        control = rows["control"].astype(object).where(rows["control"].notna(), "")
        prompt = rows["asked"] if "asked" in rows else rows["prompt"]
        self.all = capped(rows).assign(control=control, asked=prompt)
        self.main = self.all[self.all["question"] == MAIN]
        self.confirm = self.main[self.main["group"] == "confirm"]
        self.facts = asked(rows)

    def of(self, measure: str, control: str = "") -> pd.DataFrame:
        """Confirming rows of one measure."""
        r = self.confirm
        return r[(r["measure"] == measure) & (r["control"] == control)]

    @cached_property
    def alone(self) -> pd.DataFrame:
        """Every unit searched, alone, on the search prompts: effect, low, high, n, site, layer; its estimate where
        gradients chose it, and restored where it was."""
        return self._alone("")

    @cached_property
    def sampled(self) -> pd.DataFrame:
        """The same of the sample of those that the screen left out."""
        return self._alone(SAMPLE)

    def _alone(self, control: str) -> pd.DataFrame:
        r = self.main[(self.main["measure"] == "alone") & (self.main["control"] == control)]
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
    def interference(self) -> pd.DataFrame:
        """Mean damage of each fact's smallest set to each: columns silenced, recalled, effect, low, high, n."""
        import pandas as pd

        r = self.all[self.all["measure"] == "interference"]
        subjects = self.all[self.all["subject"].notna()].groupby("question", observed=True)["subject"]
        names = {str(q): "several" if s.nunique() > 1 else str(s.iloc[0]) for q, s in subjects}
        if not len(r):
            return r.assign(silenced="", recalled="")
        found = pd.concat([cells(part, ["set", "question"]) for _, part in r.groupby("question", observed=True)])
        return found.assign(
            silenced=found["set"].astype(str).map(names), recalled=found["question"].astype(str).map(names)
        )


def measure(params: Params, table: pd.DataFrame, arrays: Arrays) -> Result:
    """How many units it takes, how many suffice, and what else goes with them."""
    rows = Rows(table)
    confirm, alone, other = rows.confirm, rows.alone, rows.interference
    searched = rows.main[rows.main["group"] == "search"]
    population, screened = int(rows.main["population"].dropna().iloc[0]), "estimate" in alone
    top = alone.sort_values("effect", ascending=False).head(TOP)
    return Result(
        facts=rows.facts,
        searched=basis(rows.main[rows.main["measure"] == "alone"]),
        basis=basis(confirm),
        same=bool(confirm["prompt"].isin(searched["prompt"]).any()),
        few=bool(cells(confirm, ["measure"])["low"].isna().all()),
        noise_floor=Estimate(floor(confirm)),
        population=population,
        among=len(alone),
        screened=screened,
        k_n=_confirmed(rows, "damage"),
        k_s=_confirmed(rows, "restoration"),
        curve=tuple(Point(int(c["size"]), estimate(c)) for _, c in cells(rows.of("curve"), ["size"]).iterrows()),
        participation=participation(alone["effect"].to_numpy()),
        strongest=_unit(alone.iloc[int(alone["effect"].to_numpy().argmax())]) if len(alone) else None,
        top=tuple(_unit(r) for _, r in top.iterrows()),
        disjoint=tuple(estimate(c) for _, c in cells(rows.of("disjoint"), ["set"]).iterrows()),
        self_repair=_self_repair(rows),
        interference=tuple(Interference(r["silenced"], r["recalled"], estimate(r)) for _, r in other.iterrows()),
        text_loss=_text_loss(rows, ""),
        text_loss_random=_text_loss(rows, RANDOM),
        screening=screening(alone, rows.sampled, population, UNITS[params.units]) if screened else None,
    )


def _unit(row: pd.Series) -> Unit:
    return Unit(str(row["site"]), estimate(row), None if "restored" not in row else float(row["restored"]))


def _confirmed(rows: Rows, effect: Effect) -> dict[str, Confirmed]:
    """The smallest sets of one effect, by how much they were found to reach."""
    smallest = rows.of("smallest")
    own = {tau: smallest[smallest["set"] == name(effect, tau)] for tau in TAUS}
    return {
        f"{tau:g}": Confirmed(
            units=int(one["size"].iloc[0]),
            least=int(one["least"].iloc[0]),
            sites=str(one["site"].iloc[0]),
            effect=estimate(cells(one, ["set"]).iloc[0]),
            random=_beside(rows, one, [name(effect, t) for t in TAUS], RANDOM),
            matched=_beside(rows, one, [name(effect, tau)], MATCHED),
        )
        for tau, one in own.items()
        if len(one)
    }


def _beside(rows: Rows, own: pd.DataFrame, alike: list[str], control: str) -> Beside | None:
    """Random sets of the same size, each once; None where there are none. Those of any units were drawn for each tau
    apart, and count together where the sets are as large."""
    r = rows.of("smallest", control)
    peers = r[r["set"].isin(alike) & (r["size"] == own["size"].iloc[0])]
    peers = peers[peers["site"].astype(str) != str(own["site"].iloc[0])]
    if not len(peers):
        return None
    peers = different(peers.assign(trial=peers.groupby(["set", "trial"], observed=True).ngroup()))
    own = own[own["asked"].isin(peers["asked"])]
    each = peers.groupby("trial", observed=True)["effect"].mean().to_numpy()
    return Beside(ranged(each), permutation([float(own["effect"].mean())], each, side="greater"))


def _text_loss(rows: Rows, control: str) -> Estimate | None:
    """By how much the loss on unrelated text rises without the smallest set, or random ones, in nats a token."""
    own = rows.main[(rows.main["measure"] == "text") & (rows.main["control"] == control)]
    if not len(own):
        return None
    mean = -(different(own) if control else own).groupby("prompt", observed=True)["effect"].mean()
    return Estimate(float(mean.mean()), n=len(mean))


def _self_repair(rows: Rows) -> SelfRepair | None:
    total, direct = rows.of("total"), rows.of("direct")
    if not len(total) or not len(direct):
        return None
    keys = ["trial", *REPLICATE]
    both = total.merge(direct[[*keys, "effect"]], on=keys, suffixes=("", "_direct"))
    apart = cells(both.assign(effect=both["effect_direct"] - both["effect"], all_=0), ["all_"]).iloc[0]
    mean = both.groupby("trial", observed=True)[["effect", "effect_direct"]].mean().mean()
    return SelfRepair(
        units=int(both["trial"].nunique()),
        total=float(mean["effect"]),
        direct=float(mean["effect_direct"]),
        between=estimate(apart),
        noise_floor=Estimate(floor(both)),
    )
