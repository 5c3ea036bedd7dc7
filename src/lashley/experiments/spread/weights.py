"""The smallest share of single weights whose removal kills a fact, beside random weights and other facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from lashley.core.case import Case, Material
from lashley.core.edit import Identity
from lashley.core.experiment import Arrays
from lashley.core.figure import Column, Control, Estimate, Figure, Finding, Table, number
from lashley.core.outcome import Drawing, Outcome
from lashley.core.site import Site, Sites
from lashley.core.trial import Pruned, Sweep
from lashley.experiments.spread.planning import MAIN, RANDOM, Params, questions
from lashley.experiments.spread.search import TAUS
from lashley.experiments.spread.telling import SAME
from lashley.report.charts import DAMAGE, curves
from lashley.stats.basis import Basis, basis
from lashley.stats.inference import clipped
from lashley.stats.summary import CAP, cells, cost, estimate, facts, floor, measured, readings, share

if TYPE_CHECKING:
    import pandas as pd

REMOVED = (1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # parts of all weights
WHOLE = Sites.of([(Site(0, "resid"),)])  # nothing is edited but the weights
OWN, OTHERS = "the fact itself", "other facts"
HOW = {"": "by gradient × weight", RANDOM: "at random"}
CAVEAT = "Weights in embeddings, norms and biases stay, and damage is a share of the whole model's own gap."
NOT_TESTED = ("Weights chosen jointly: the ranking is first-order, and a smaller share may do.",)


def plan(params: Params, material: Material) -> Iterator[Sweep]:
    """Copies without weights, on the prompts that confirm what is asked about and the facts beside it."""
    own, *beside = questions(params, material)
    read = [(MAIN, i) for i in own.confirmed] + [(str(n), i) for n, q in enumerate(beside, 1) for i in q.confirmed]
    cases = [(question, material.cases[i]) for question, i in read]
    yield from removals([material.cases[i] for i in own.searched], cases, params.seed)


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


class Cost(msgspec.Struct, frozen=True):
    """What removing weights costs, each a share of the logit difference, n being prompts; no value: not measured.

    Attributes
    ----------
    part
        How many of all weights in the decoder layers were removed, 0 to 1.
    fact, fact_random
        Of the fact itself: weights chosen by gradient x weight, and as many at random.
    others, others_random
        The same of the facts beside it.
    """

    part: float
    fact: Estimate
    fact_random: Estimate
    others: Estimate
    others_random: Estimate


class Removal(msgspec.Struct, frozen=True):
    """What removing single weights costs.

    Attributes
    ----------
    facts
        What is recalled, in words.
    basis
        The prompts of the fact itself.
    same
        Whether those prompts chose the weights as well, as there were no others.
    noise_floor
        The largest damage by an edit that changes nothing, a share.
    costs
        By how many weights were removed, the fewest first.
    """

    facts: str
    basis: Basis
    same: bool
    noise_floor: Estimate
    costs: tuple[Cost, ...]

    def least(self, tau: float) -> Cost | None:
        """The smallest part of those tried whose removal costs so much."""
        return next((c for c in self.costs if c.fact.value is not None and c.fact.value >= tau), None)


def measure(params: Params, table: pd.DataFrame, arrays: Arrays) -> Removal:
    """What removing so many weights costs the fact itself, and others."""
    rows = measured(table)
    cut, whole = _cut(rows), _whole(rows)
    mean = _means(cut)
    return Removal(
        facts=facts(rows[rows["question"] == MAIN]),
        basis=basis(cut[cut["whose"] == OWN]),
        # there was no other template; a prompt of one's own is one, and was labelled otherwise by earlier versions
        same=bool((whole["group"] == "search").any() or (whole["relation"] == "prompt").any()),
        noise_floor=Estimate(floor(whole)),
        costs=tuple(
            Cost(part, *(_at(mean, whose, control, part) for whose in (OWN, OTHERS) for control in ("", RANDOM)))
            for part in REMOVED
        ),
    )


def _whole(rows: pd.DataFrame) -> pd.DataFrame:
    """What is asked about, of the model with all its weights."""
    return rows[rows["copy"].isna() & (rows["question"] == MAIN)]


def _cut(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of copies: effect (a share of the whole model's gap), part, control, and whose recall it is."""
    whole = rows[rows["copy"].isna()][["prompt", "pair", "seed", "clean", "corrupt"]]
    cut = rows[rows["copy"].notna()].drop(columns=["effect", "corrupt"]).rename(columns={"clean": "left"})
    found = cut.merge(whole, on=["prompt", "pair", "seed"])
    damage = (found["clean"] - found["left"]) / (found["clean"] - found["corrupt"])
    which = found["control"].astype(object).where(found["control"].notna(), "")
    return found.assign(
        effect=clipped(damage), part=found["set"].astype(str).astype(float), control=which,
        whose=found["question"].astype(str).map(lambda q: OWN if q == MAIN else OTHERS),
    )  # fmt: skip


def _means(cut: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """Mean damage by part, of whose recall and without which weights."""
    return {
        (str(whose), str(control)): cells(own, ["part"]).sort_values("part")
        for whose, by_whom in cut.groupby("whose")
        for control, own in by_whom.groupby("control")
    }


def _at(mean: Mapping[tuple[str, str], pd.DataFrame], whose: str, control: str, part: float) -> Estimate:
    found = mean.get((whose, control))
    row = None if found is None else found[found["part"] == part]
    return Estimate(None) if row is None or row.empty else estimate(row.iloc[0])


def tell(params: Params, result: Removal) -> Outcome:
    """How few weights the recall hangs on."""
    findings = tuple(_finding(result, tau) for tau in TAUS)
    controls = (Control("identity edit", result.noise_floor, "the numerical noise floor, a share"),)
    return Outcome(findings, controls, (*(SAME,) * result.same, CAVEAT), NOT_TESTED)


def _finding(result: Removal, tau: float) -> Finding:
    basis = f"By gradient × weight on {'the same prompts' if result.same else 'the search prompts'}, read on "
    basis += f"{result.basis}. {CAP}"
    words = "half" if tau == TAUS[0] else f"{100 * tau:.0f}%"
    if (found := result.least(tau)) is None:
        most = result.costs[-1]
        return Finding(
            f"No share that was tried costs {words} of the recall of {result.facts}; removing {100 * most.part:g}% of "
            f"the weights, the largest, costs {cost(most.fact)}.",
            most.fact,
            basis,
        )
    beside = "" if found.others.value is None else f"; other facts lose {share(found.others)}"
    return Finding(
        f"Removing {_percent(found.part)} of the weights of all layers, the least of the shares tried that costs "
        f"{words} of the recall of {result.facts}, costs it {cost(found.fact)}{beside}; as many random weights cost "
        f"{cost(found.fact_random)}.",
        found.fact,
        basis,
    )


def draw(params: Params, result: Removal, table: pd.DataFrame) -> Drawing:
    """Damage against the part of the weights that was removed."""
    rows = measured(table)
    mean = _means(_cut(rows))
    figures = (_figure(result, mean),) if mean else ()
    return Drawing(figures, (*readings(_whole(rows)), _table(result)))


def _figure(result: Removal, mean: Mapping[tuple[str, str], pd.DataFrame]) -> Figure:
    import pandas as pd

    lines = [m.assign(which=f"{whose}, {HOW[control]}") for (whose, control), m in mean.items()]
    frame = pd.concat(lines).assign(percent=lambda f: [float(f"{100 * p:.6g}") for p in f["part"]])
    return curves(
        frame, name="weights", measure=DAMAGE, x="percent", by="which", log=True,
        title=f"How the recall of {result.facts} goes as weights are removed",
        x_title="% of all weights in the decoder layers, removed (log scale)",
        muted=tuple(f"{w}, {HOW[RANDOM]}" for w in (OWN, OTHERS)),
        about=f"weights set to 0, on prompts that {'also chose' if result.same else 'did not choose'} them. {CAP}",
    )  # fmt: skip


def _table(result: Removal) -> Table:
    columns = (
        Column("removed", "% of weights"), Column("the fact", "share lost"), Column("at random", "share lost"),
        Column("other facts", "share lost"), Column("other facts, at random", "share lost"),
    )  # fmt: skip
    lines = tuple((number(100 * c.part), c.fact, c.fact_random, c.others, c.others_random) for c in result.costs)
    return Table("What removing weights costs", columns, lines)


def _percent(part: float) -> str:
    return f"{100 * part:.4f}".rstrip("0") + "%" if part < 0.01 else f"{100 * part:g}%"
