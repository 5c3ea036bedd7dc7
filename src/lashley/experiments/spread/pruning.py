"""The smallest share of single weights whose removal kills a fact, beside random weights and other facts. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lashley.core.case import Case
from lashley.core.edit import Identity
from lashley.core.figure import Column, Control, Estimate, Figure, Finding, Table, number
from lashley.core.site import Site, Sites
from lashley.core.trial import Pruned, Sweep
from lashley.experiments.spread.searching import MAIN, RANDOM
from lashley.experiments.spread.sets import SHARES
from lashley.report.charts import DAMAGE, curves
from lashley.stats.inference import clipped
from lashley.stats.summary import CAP, cells, cost, estimate, facts, floor, prompts, readings, share

if TYPE_CHECKING:
    import pandas as pd

REMOVED = (1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # shares of all weights
WHOLE = Sites.of([(Site(0, "resid"),)])  # nothing is edited but the weights
OWN, OTHERS = "the fact itself", "other facts"


def removals(searched: Sequence[Case], read: Sequence[tuple[str, Case]], seed: int) -> Iterator[Sweep]:
    """For every prompt (with the number of its question): the model as it is, and copies without weights, chosen by
    the searched prompts, or at random."""
    asked = tuple((case.clean, case.readout) for case in searched)
    for question, case in read:
        group = "search" if case in searched else "confirm"
        labels = case.labels(question=question, group=group, measure="removed")
        yield Sweep(case.clean, case.corrupt, "damage", (Identity(),), WHOLE, case.readout, labels)
        for part in REMOVED:
            label = {**labels, "set": f"{part:g}"}
            for control, what in (("", Pruned(part, asked)), (RANDOM, Pruned(part, seed=seed))):
                words = {**label, "control": control}
                yield Sweep(case.clean, case.corrupt, "damage", (Identity(),), WHOLE, case.readout, words, copy=what)


class Removed:
    """The measurements of one removal of weights: damage by share, of the fact itself and of others."""

    def __init__(self, rows: pd.DataFrame):
        whole = rows[rows["copy"].isna()][["prompt", "pair", "seed", "clean", "corrupt"]]
        cut = rows[rows["copy"].notna()].drop(columns=["effect", "corrupt"]).rename(columns={"clean": "left"})
        found = cut.merge(whole, on=["prompt", "pair", "seed"])
        damage = (found["clean"] - found["left"]) / (found["clean"] - found["corrupt"])
        which = found["control"].astype(object).where(found["control"].notna(), "")
        self.rows = found.assign(
            effect=clipped(damage), part=found["set"].astype(str).astype(float), control=which,
            whose=found["question"].astype(str).map(lambda q: OWN if q == MAIN else OTHERS),
        )  # fmt: skip
        self.whole = rows[rows["copy"].isna() & (rows["question"] == MAIN)]
        # there was no other template; a prompt of one's own is one, and was labelled otherwise by earlier versions
        self.same = bool((self.whole["group"] == "search").any() or (self.whole["relation"] == "prompt").any())
        self.what = facts(rows[rows["question"] == MAIN])
        self.mean = {
            (whose, control): cells(own, ["part"]).sort_values("part")
            for whose, by_whom in self.rows.groupby("whose")
            for control, own in by_whom.groupby("control")
        }

    def smallest(self, tau: float) -> float | None:
        """The smallest share of those tried whose removal costs so much, on prompts that did not choose it."""
        own = self.mean[OWN, ""]
        enough = own[own["effect"] >= tau]
        return None if enough.empty else float(enough["part"].iloc[0])

    def at(self, whose: str, control: str, part: float) -> Estimate:
        found = self.mean.get((whose, control))
        row = None if found is None else found[found["part"] == part]
        return Estimate(None) if row is None or row.empty else estimate(row.iloc[0])

    def findings(self) -> Iterator[Finding]:
        basis = f"By gradient × weight on {'the same prompts' if self.same else 'the search prompts'}, read on "
        basis += f"{prompts(self.rows[self.rows['whose'] == OWN])}. "
        basis += CAP
        for tau in SHARES:
            part = self.smallest(tau)
            words = "half" if tau == SHARES[0] else f"{100 * tau:.0f}%"
            if part is None:
                most = self.at(OWN, "", REMOVED[-1])
                yield Finding(
                    f"No share that was tried costs {words} of the recall of {self.what}; removing "
                    f"{100 * REMOVED[-1]:g}% of the weights, the largest, costs {cost(most)}.", most, basis,
                )  # fmt: skip
                continue
            own, others = self.at(OWN, "", part), self.at(OTHERS, "", part)
            chance = self.at(OWN, RANDOM, part)
            beside = "" if others.value is None else f"; other facts lose {share(others)}"
            yield Finding(
                f"Removing {_share(part)} of the weights of all layers, the least of the shares tried that costs "
                f"{words} of the recall of {self.what}, costs it {cost(own)}{beside}; as many random weights cost "
                f"{cost(chance)}.",
                own, basis,
            )  # fmt: skip

    def figure(self) -> Figure:
        import pandas as pd

        words = {"": "by gradient × weight", RANDOM: "at random"}
        lines = [m.assign(which=f"{whose}, {words[str(control)]}") for (whose, control), m in self.mean.items()]
        frame = pd.concat(lines).assign(percent=lambda f: [float(f"{100 * p:.6g}") for p in f["part"]])
        return curves(
            frame, name="weights", measure=DAMAGE, x="percent", by="which", log=True,
            title=f"How the recall of {self.what} goes as weights are removed",
            x_title="% of all weights in the decoder layers, removed (log scale)",
            muted=tuple(f"{w}, {words[RANDOM]}" for w in (OWN, OTHERS)),
            about=f"weights set to 0, on prompts that {'also chose' if self.same else 'did not choose'} them. {CAP}",
        )  # fmt: skip

    def controls(self) -> Iterator[Control]:
        yield Control("identity edit", Estimate(floor(self.whole)), "the numerical noise floor, a share")

    def readings(self) -> tuple[Table, ...]:
        """What effects are shares of."""
        return readings(self.whole)

    def table(self) -> Table:
        columns = (
            Column("removed", "% of weights"), Column("the fact", "share lost"), Column("at random", "share lost"),
            Column("other facts", "share lost"), Column("other facts, at random", "share lost"),
        )  # fmt: skip
        keys = ((OWN, ""), (OWN, RANDOM), (OTHERS, ""), (OTHERS, RANDOM))
        rows = tuple((number(100 * p), *(self.at(*key, p) for key in keys)) for p in REMOVED)
        return Table("What removing weights costs", columns, rows)


def _share(part: float) -> str:
    return f"{100 * part:.4f}".rstrip("0") + "%" if part < 0.01 else f"{100 * part:g}%"
