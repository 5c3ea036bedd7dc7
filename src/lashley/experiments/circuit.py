"""Through which heads and MLPs, and along which edges between them, does the answer come?

Edges are scored on prompts for discovery, by gradients (EAP: Syed et al. 2310.10348; EAP-IG: Hanna et al. 2403.17806)
or by exact greedy pruning. A circuit is a set of edges; all others take the corrupt run's contribution. Its
faithfulness f = 1 - damage is measured exactly, on prompts that nothing was sought on, beside random connected
circuits of its size and the same search in an untrained copy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
import scipy

from lashley.charts import DAMAGE, curves, scatter, table_of
from lashley.charts import circuits as pictures
from lashley.circuits import files, planning, rounds
from lashley.circuits.reading import MATTERS, STABLE, Found, confirming, read, seeking
from lashley.core.anatomy import Anatomy
from lashley.core.case import Estimated, Material
from lashley.core.errors import BadCircuit
from lashley.core.figure import Column, Control, Estimate, Figure, Finding, number
from lashley.core.graph import Graph
from lashley.core.outcome import Drawing, Outcome
from lashley.core.site import Kind, Site
from lashley.core.trial import Sweep
from lashley.experiments import at_least
from lashley.facts.tasks import TASKS
from lashley.summary import facts, floor, measured, prompts, share

if TYPE_CHECKING:
    import pandas as pd

Arrays = Mapping[str, Mapping[str, np.ndarray]]  # kept beside the plan: "operations"
NOTHING: Arrays = {}
QUESTION = "Through which heads, MLPs and edges between them does {model} come to {facts}?"


@dataclass(frozen=True)
class Params:
    """How the circuit is sought and examined.

    Parameters
    ----------
    method
        "eap-ig" or "eap" (gradients), or "exact": greedy pruning, every removal measured.
    steps
        Steps of EAP-IG between the corrupt and the clean embeddings.
    exact
        Patch so many of the strongest edges one by one; of a circuit at most so many edges are taken out one by one.
    neurons
        Draw out so many MLP neurons as nodes, those of largest attribution.
    least
        Faithfulness that the reported circuit has to keep on the prompts for discovery.
    rivals
        Random connected circuits of the reported circuit's size.
    circuit
        A circuit made before, as a file: nothing is sought, it is run on these prompts.
    operations
        Score what heads do (previous token, induction, copying, ...) against untrained copies.
    corruption
        How the corrupted run is made: "replace" the subject, or "noise" on its embeddings.
    draws
        Corruptions of each prompt: other foils, or other noise.
    seed
        Seed of random circuits and subsets, and of noise.
    """

    method: Literal["eap-ig", "eap", "exact"] = "eap-ig"
    steps: int = 5
    exact: int = 200
    neurons: int = 0
    least: float = 0.8
    rivals: int = 39
    circuit: tuple[str, ...] = ()
    operations: bool = True
    corruption: Literal["replace", "noise"] = "replace"
    draws: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, exact=self.exact, draws=self.draws)
        at_least(0, neurons=self.neurons)
        at_least(19, rivals=self.rivals)  # fewer cannot show p <= 0.05
        if not 0 < self.least < 1:
            raise BadCircuit(f"least {self.least}: write a faithfulness between 0 and 1, such as 0.8")
        if self.neurons and self.method == "exact":
            raise BadCircuit("neurons are chosen by gradients; write --method eap-ig, or --neurons 0")
        object.__setattr__(self, "circuit", files.named(tuple(self.circuit)))


def magnitudes(params: Params, anatomy: Anatomy) -> Sequence[tuple[int, Kind]]:
    """No control is matched by activation here. Raises `BadSite` or `BadCircuit` where the model lacks what is named."""
    if params.neurons:
        anatomy.check(Site(0, "neuron"))
    if params.circuit:
        planning.loaded(anatomy, params.circuit)
    return ()


def screen(params: Params, material: Material) -> Iterable[Sweep]:
    """Every edge on the prompts for discovery, where edges are chosen by gradients."""
    if params.method != "exact" and not params.circuit:
        yield from planning.screened(material, params.method, params.steps, params.neurons)


def plan(params: Params, material: Material) -> Iterable[Sweep | Estimated]:
    """The circuits of the ten sizes with random ones beside them, and the strongest edges one by one; the rest follows
    from the answers, see `further`."""
    if params.circuit:
        graph, marks = planning.loaded(material.anatomy, params.circuit)
        own = planning.bases(material.cases, sought=False)
        yield from rounds.circuits(own, graph, [marks], params.seed)
        edges = np.flatnonzero(marks)[: params.exact]
        yield from rounds.ask(own, graph, [rounds.only(graph, [e]) for e in edges], rounds.EDGE)
    elif params.method == "exact":
        for untrained in (False, True):
            yield from _pruning(params, material.anatomy, planning.bases(material.cases, untrained=untrained), ())
    else:
        yield from planning.by_gradient(material, params.exact, params.neurons, params.seed)


def further(params: Params, anatomy: Anatomy, answers: rounds.Answers, arrays: Arrays) -> Iterator[Sweep]:
    """What follows from the answers: rounds of pruning, and what the reported circuit is compared with and cut into."""
    for copy in (msgspec.UNSET, "untrained"):
        own = [(sweep, effects) for sweep, effects in answers if sweep.copy == copy]
        have = rounds.by_measure(own)
        if rounds.CURVE in have:
            yield from rounds.examined(own, params.least, params.rivals, params.exact, params.seed)
        elif rounds.PRUNING in have:
            every = [sweep for sweep, _ in have[rounds.PRUNING] if sweep.labels["keys"] == "0"]
            yield from _pruning(params, anatomy, every, have[rounds.PRUNING])


def _pruning(params: Params, anatomy: Anatomy, own: Sequence[Sweep], answers: rounds.Answers) -> Iterator[Sweep]:
    return planning.by_pruning(own, Graph.of(anatomy), answers, params.least, params.exact, params.seed)


def annotated(params: Params) -> bool:
    """Whether the operations of heads are scored beside the circuit."""
    return params.operations


def judge(params: Params, table: pd.DataFrame, arrays: Arrays = NOTHING) -> Outcome:
    """The circuit in one sentence, or why there is none; how complete and how minimal it is, and what stays opaque."""
    rows = measured(table)
    found = read(rows, params.least, arrays)
    what, own = facts(rows), rows[rows["copy"].isna()]
    seek, confirm = seeking(own), confirming(own)
    basis = f"All other edges take the corrupt run's contribution, over {prompts(confirm if len(confirm) else own)}; "
    basis += "95% t interval on cluster means."
    reading = "the numerical noise floor; no smaller effect is reported"
    controls = [Control("identity edit", Estimate(floor(own if len(own) else rows)), reading)]
    first = Finding(_sentence(params, found, what, _known(table)), found.faithfulness, basis)
    if found.best is None:
        return Outcome((first,), tuple(controls))
    controls += _controls(found, read(rows, params.least, arrays, "untrained"))
    also = [_remainder(found), *filter(None, (_cut(found, params), _areas(found), _stable(found)))]
    caveats = [
        "Edges are patched with a matched prompt's contributions: what both prompts share is in no circuit.",
        "Scores choose edges one by one: of two that stand in for each other neither may be seen.",
    ]
    if set(seek["prompt"]) & set(confirm["prompt"]) and not params.circuit:
        caveats.insert(0, "The circuit was sought and measured on the same prompt: its faithfulness is too high.")
    not_tested = (
        "Other readouts than the logit difference, prompts that the model answers wrongly, and other corruptions.",
        "Circuits finer than heads and MLPs" + (", but for the neurons drawn out." if params.neurons else "."),
    )
    return Outcome((first, *also), tuple(controls), tuple(caveats), not_tested)


def _sentence(params: Params, found: Found, what: str, known: str) -> str:
    best = found.best
    if best is None:
        return f"Which edges {what} needs is not measured yet."
    size, total = int(best["size"]), found.total
    edges = f"{number(size)} of {number(total)} edges ({share(Estimate(size / total))})"
    keep = f"{share(found.faithfulness)} of the logit difference of {what}"
    rivals = found.rivals
    chance = f"random connected circuits of that size {share(Estimate(rivals.mean()))}" if len(rivals) else ""
    if params.circuit:
        return f"The circuit of {edges} that was given keeps {keep}" + (f"; {chance} (mean)." if chance else ".")
    if size >= total:
        return (
            f"No circuit is reported for {what}: none of up to half of all edges keeps {share(Estimate(params.least))}."
        )
    if found.exists is None:
        return f"{edges.capitalize()} keep {keep}; random circuits of that size are not measured yet."
    if known or not found.exists.there:
        why = known or found.exists.why
        return f"No circuit is reported for {what}: {why}; the {edges} that {_method(params)} chose keep {keep}."
    return f"A circuit of {edges}, found by {_method(params)}, keeps {keep} on prompts it was not sought on; {chance} (mean)."


def _known(table: pd.DataFrame) -> str:
    """Why a task is not known, where the model may have answered some of its items by chance; else nothing."""
    relation = str(table["relation"].iloc[0])
    if relation not in TASKS:
        return ""
    asked, answered = table["template"].nunique(), measured(table)["template"].nunique()
    missing = table[table["excluded"] & (table["template"].isna() | (table["template"] == ""))]
    asked += len(missing)
    p = float(scipy.stats.binom.sf(answered - 1, asked, 0.5))
    return f"the model answers {answered} of {asked} items, and chance would half (p = {p:.3f})" if p > 0.05 else ""


def _method(params: Params) -> str:
    return {"eap": "EAP", "eap-ig": "EAP-IG", "exact": "exact greedy pruning"}[params.method]


def _controls(found: Found, copy: Found) -> list[Control]:
    made = []
    if len(found.rivals):
        low, high = np.quantile(found.rivals, [0.025, 0.975])
        e = Estimate(found.rivals.mean(), low, high, len(found.rivals))
        p = f"; p = {found.exists.p:.3f}" if found.exists and found.exists.p is not None else ""
        made.append(Control(rounds.RIVALS, e, f"faithfulness of random connected circuits, mean and 95% range{p}"))
    if found.best is not None and not math.isnan(shuffled := found.best["shuffled"]):
        reading = "faithfulness of the circuit of that size sought with other prompts' answers: what serves any answer"
        made.append(Control(rounds.SHUFFLED, Estimate(shuffled), reading))
    if copy.best is not None and copy.exists is not None:
        there = "a circuit was found: do not trust this one" if copy.exists.there else "no circuit is reported"
        why = f" ({copy.exists.why})" if copy.exists.why else ""
        made.append(Control("untrained copy", Estimate(copy.exists.p), f"p of the same search there; {there}{why}"))
    return made


def _remainder(found: Found) -> Finding:
    """What the circuit does not explain."""
    f = found.faithfulness
    left = Estimate(*(None if x is None else 1 - x for x in (f.value, f.high, f.low)))
    sentence = f"Opaque remainder: {share(left)} of the logit difference does not pass through it"
    if found.operations is None or not found.nodes:
        return Finding(f"{sentence}; what its heads do was not measured.", left)
    opaque = [node for node in found.nodes if not found.operations.get(node)]
    n = len(found.nodes)
    return Finding(
        f"{sentence}, and {number(len(opaque))} of its {number(n)} heads and MLPs have no recognised operation.", left
    )


def _cut(found: Found, params: Params) -> Finding | None:
    """Completeness and minimality."""
    if found.subsets.empty or found.edges["needed"].isna().all():
        return None
    worst = found.subsets.sort_values("apart").iloc[-1]
    mean = Estimate(found.subsets["apart"].mean(), n=len(found.subsets))
    needed = int((found.edges["needed"].abs() >= MATTERS).sum())
    sentence = (
        f"Completeness: without a subset K, circuit and model differ by {share(mean)} of the logit difference in the mean "
        f"and by {share(Estimate(worst['apart']))} at worst (K: {str(worst['subset']).replace('+', ' + ')}); minimality: "
        f"{number(needed)} of {number(len(found.edges))} edges taken out alone change its faithfulness by 1% or more."
    )
    basis = f"{len(found.subsets)} subsets: components, random halves, and the worst components together"
    return Finding(sentence, mean, f"{basis} (Wang et al. 2211.00593).")


def _areas(found: Found) -> Finding | None:
    areas = found.areas()
    if not areas:
        return None
    words = ", ".join(f"{name} {number(value)}" for name, value in areas.items())
    basis = (
        "Trapezoids over the ten sizes as in MIB (2504.13151); f = 1 everywhere has CPR 0.999 and 6.91 (natural log)."
    )
    return Finding(f"Over all ten sizes: {words}.", Estimate(areas["CPR, linear k"]), basis)


def _stable(found: Found) -> Finding | None:
    stability = found.edges["stability"].dropna() if len(found.edges) else found.edges
    if not len(stability):
        return None
    some = int((stability < STABLE).sum())
    sentence = f"{number(some)} of its {number(len(stability))} edges come and go: resampled prompts leave them out in "
    sentence += "more than one of twenty draws."
    basis = "Whole clusters of discovery prompts resampled 400 times; among the edges patched one by one."
    return Finding(sentence, Estimate(1 - some / len(stability), n=len(stability)), basis)


def draw(params: Params, table: pd.DataFrame, arrays: Arrays = NOTHING) -> Drawing:
    """The circuit, its faithfulness by size beside random ones, and how well edges were estimated."""
    rows = measured(table)
    found = read(rows, params.least, arrays)
    what, own = facts(rows), rows[rows["copy"].isna()]
    figures = [
        f for f in (_picture(found, what, prompts(own)), _curve(found, what, rows), _scatter(found, what, own)) if f
    ]
    tables = []
    if len(found.edges):
        strongest = found.edges.sort_values("effect", key=abs, ascending=False)
        columns = {
            "site": "edge",
            "effect": Column("damage when patched alone", "share of the logit difference"),
            "needed": Column("what the circuit loses without it", "share of the logit difference"),
            "stability": Column("in the circuit", "share of resamples"),
        }
        tables.append(table_of(strongest, f"The edges of the circuit for {what}", columns, limit=20))
    elif len(found.singles):
        top = found.singles.sort_values("effect", key=abs, ascending=False)
        columns = {"site": "edge", "effect": Column("damage when patched alone", "share of the logit difference")}
        tables.append(table_of(top, f"The strongest edges for {what}", columns, limit=20))
    return Drawing(tuple(figures), tuple(tables))


def _picture(found: Found, what: str, n: str) -> Figure | None:
    if found.edges.empty or found.edges["effect"].isna().all():
        return None
    edges = [
        pictures.Drawn(
            e["source"], e["own"], e["target"][len(e["own"]) + 1 :], float(e["effect"]),
            not e["stability"] < STABLE, str(Estimate(e["effect"], e["low"], e["high"])),
        )
        for e in found.edges.dropna(subset=["effect"]).to_dict("records")
    ]  # fmt: skip
    there = found.exists is not None and bool(found.exists.there)
    title = f"{'The circuit' if there else 'Edges, not shown to be a circuit,'} through which {what} passes"
    about = f"Every edge patched alone, {n}"
    return pictures.picture(edges, found.operations or {}, name="circuit", title=title, about=about)


def _curve(found: Found, what: str, rows: pd.DataFrame) -> Figure | None:
    import pandas as pd

    kept = found.curve.dropna(subset=["effect"])
    if len(kept) < 2:
        return None
    x = (kept["share"] * found.total).clip(lower=1)
    series = {
        "circuit": ("effect", "low", "high", "n"),
        "random connected circuits": ("chance", "chance_low", "chance_high"),
    }
    series |= {"circuit of other prompts' answers": ("shuffled",)} if kept["shuffled"].notna().any() else {}
    lines = []
    for name, columns in series.items():
        part = pd.DataFrame({"edges": x, "series": name})
        for own, column in zip(("effect", "low", "high", "n"), columns, strict=False):
            part[own] = kept[column]
        lines.append(part.dropna(subset=["effect"]))
    frame = pd.concat(lines, ignore_index=True).sort_values(["series", "edges"])
    return curves(
        frame, name="faithfulness", title=f"How much of {what} circuits of each size keep",
        measure="faithfulness (0 = corrupt run, 1 = the whole model)", x="edges", by="series",
        x_title=f"edges in the circuit, of {number(found.total)} (log scale)", muted=list(series)[1:], log=True,
        about=f"Circuits of the ten sizes, {prompts(confirming(rows))} that nothing was sought on; random: mean and "
        f"range of {rounds.DRAWS}",
    )  # fmt: skip


def _scatter(found: Found, what: str, own: pd.DataFrame) -> Figure | None:
    kept = found.singles.dropna(subset=["estimate", "effect"])
    if len(kept) < 3:
        return None
    return scatter(
        kept, name="estimates", title=f"How well gradients estimated the edges that {what} needs",
        measure=DAMAGE, x_title=f"estimated: {DAMAGE}",
        about=f"The {number(len(kept))} edges of largest estimate, each patched alone, {prompts(own)}",
    )  # fmt: skip


def export(params: Params, table: pd.DataFrame, arrays: Arrays, model: str) -> files.Circuit:
    """The reported circuit with its numbers, to be loaded again. Raises `BadCircuit` where none is measured."""
    rows = measured(table)
    found = read(rows, params.least, arrays)
    if found.edges.empty or found.best is None:
        raise BadCircuit("no circuit of this study is measured yet; `lashley resume` it")
    if found.cut < int(found.best["size"]):
        raise BadCircuit(
            f"the circuit has {found.best['size']} edges, and {found.cut} of them are examined; ask for --exact more"
        )
    number_ = lambda x: None if x is None or math.isnan(x) else float(x)  # noqa: E731
    edges = tuple(
        files.Edge(
            e["source"], e["target"],
            *(number_(e[k]) for k in ("effect", "low", "high", "stability", "needed")),
        )
        for e in found.edges.to_dict("records")
    )  # fmt: skip
    f = found.faithfulness
    there = bool(found.exists and found.exists.there) and not _known(table)
    nodes = {node: found.operations[node] for node in found.nodes if node in (found.operations or {})}
    return files.Circuit(model, facts(rows), _method(params), edges, (f.value, f.low, f.high), there, nodes)
