"""What was found of a circuit, in numbers. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec
import scipy

from lashley.core.errors import BadCircuit
from lashley.core.experiment import Arrays
from lashley.core.figure import Estimate
from lashley.experiments.circuit import files
from lashley.experiments.circuit.params import Params
from lashley.experiments.circuit.reading import Operation, apart, confirming, read, seeking
from lashley.experiments.circuit.scores import Existence, cmd, cpr
from lashley.experiments.circuit.subgraphs import SIZES, component
from lashley.facts.tasks import TASKS
from lashley.stats.basis import Basis, basis
from lashley.stats.summary import facts, floor, measured, ranged

if TYPE_CHECKING:
    import pandas as pd

SHARE = "share of the logit difference"
ALPHA = 0.05
NAMES = {"eap": "EAP", "eap-ig": "EAP-IG", "exact": "exact greedy pruning"}


class Size(msgspec.Struct, frozen=True):
    """The circuit of one size.

    Attributes
    ----------
    edges, share
        Its size: how many edges, and which share of all.
    faithfulness
        What it keeps of the logit difference, a share, on the prompts that confirm; n is prompts.
    sought
        The same on the prompts for discovery; None where it is not measured.
    chance, shuffled
        The same, on the prompts that confirm, of random connected circuits of its size (their mean and range), and of
        the circuit of its size that was sought with other prompts' answers; None where there is none.
    """

    edges: int
    share: float
    faithfulness: Estimate
    sought: float | None
    chance: Estimate
    shuffled: float | None


class Edge(msgspec.Struct, frozen=True):
    """One edge of the reported circuit.

    Attributes
    ----------
    source, target
        The component that sends, and the input that receives, as "L4.attn.h0" and "L5.attn.h1.q".
    damage
        What patching it alone costs, a share of the logit difference; n is prompts.
    loss
        By how much the circuit's faithfulness falls without it; None where it is not measured.
    stability
        In which share of resamples of the discovery prompts it is in the circuit; None where nothing could come in.
    """

    source: str
    target: str
    damage: Estimate
    loss: float | None
    stability: float | None


class Single(msgspec.Struct, frozen=True):
    """An `edge` that was patched alone: its `damage` (a share of the logit difference; n is prompts), and what was
    `estimated` of it by gradients, None where nothing was."""

    edge: str
    damage: Estimate
    estimated: float | None


class Subset(msgspec.Struct, frozen=True):
    """A part K of the circuit, named by its `components` ("random1": a random half): the faithfulness of the `circuit`
    without K, and of the whole `model` without it."""

    components: str
    circuit: float
    model: float

    @property
    def apart(self) -> float:
        return abs(self.circuit - self.model)


class Completeness(msgspec.Struct, frozen=True):
    """Whether what is outside the circuit does its work too (Wang et al. 2211.00593, section 4.2): `mean` is that of
    the difference between circuit and model without a subset, a share of the logit difference (n: `subsets`), `worst`
    the subset of the largest."""

    mean: Estimate
    worst: Subset
    subsets: tuple[Subset, ...]


class Areas(msgspec.Struct, frozen=True):
    """Over the ten sizes the areas under faithfulness (`cpr`) and under its distance from 1 (`cmd`), and the same over
    the natural logarithm of size (`cpr_log`, `cmd_log`); see `scores`."""

    cpr: float
    cpr_log: float
    cmd: float
    cmd_log: float


class Items(msgspec.Struct, frozen=True):
    """Of a task: how many items were `asked`, how many `answered`, and the one-sided `p` of so many by chance, which
    answers half."""

    asked: int
    answered: int
    p: float


class Result(msgspec.Struct, frozen=True):
    """What was found of a circuit so far.

    Attributes
    ----------
    facts
        What is recalled, in words.
    basis
        Which prompts faithfulness and its intervals rest on.
    noise_floor
        Largest effect of patching no edge, a share; smaller ones say nothing.
    items
        Of a task, how many of its items the model answers; None for facts.
    same_prompts
        Whether it was sought on a prompt that it is measured on.
    total
        How many edges there are.
    sizes
        The circuits of the ten sizes, and those that were given or left by pruning.
    reported
        The one of them that is reported and examined; None while it is not known which.
    existence
        Whether there is a circuit; None while it is not measured.
    rivals
        Faithfulness of random connected circuits of the reported size: mean and 95% range; n is circuits.
    edges
        The reported circuit's edges, the strongest of them where not all were examined.
    singles
        The edges that were patched one by one, in the circuit or not.
    completeness
        The circuit beside the model, without subsets of it; None where it is not measured.
    areas
        Faithfulness over the ten sizes in one number; None where they are not all measured.
    operations
        What its heads are recognised to do, beside untrained copies; None where it was not measured.
    untrained
        Whether the same search finds a circuit in an untrained copy; None where it is not measured.
    """

    facts: str
    basis: Basis
    noise_floor: float
    items: Items | None
    same_prompts: bool
    total: int
    sizes: tuple[Size, ...]
    reported: Size | None
    existence: Existence | None
    rivals: Estimate | None
    edges: tuple[Edge, ...]
    singles: tuple[Single, ...]
    completeness: Completeness | None
    areas: Areas | None
    operations: tuple[Operation, ...] | None
    untrained: Existence | None

    @property
    def faithfulness(self) -> Estimate:
        """That of the reported circuit."""
        return Estimate(None) if self.reported is None else self.reported.faithfulness

    @property
    def size(self) -> int:
        """How many edges the circuit has, examined or not."""
        return len(self.edges) if self.reported is None else self.reported.edges

    @property
    def nodes(self) -> list[str]:
        """The circuit's components but the embedding and the logits, as far as its edges are known."""
        ends = [*(e.source for e in self.edges), *(component(e.target) for e in self.edges)]
        return [name for name in dict.fromkeys(ends) if name not in ("embed", "logits")]

    @property
    def named(self) -> dict[str, tuple[str, ...]]:
        """The operations that set a component apart."""
        found: dict[str, tuple[str, ...]] = {}
        for o in self.operations or ():
            if o.named:
                found[o.head] = (*found.get(o.head, ()), o.operation)
        return found


def measure(params: Params, table: pd.DataFrame, arrays: Arrays) -> Result:
    """The circuit, how faithful, complete and minimal it is, and what it is to be seen beside."""
    rows = measured(table)
    found = read(rows, params.least)
    own = rows[rows["copy"].isna()]
    seek, confirm = seeking(own), confirming(own)
    best = found.best
    return Result(
        facts=facts(rows),
        basis=basis(confirm if len(confirm) else own),
        noise_floor=floor(own if len(own) else rows),
        items=_items(table),
        same_prompts=bool(set(seek["prompt"]) & set(confirm["prompt"])) and not params.circuit,
        total=found.total,
        sizes=tuple(_size(row) for _, row in found.curve.iterrows()),
        reported=None if best is None else _size(best),
        existence=found.exists,
        rivals=msgspec.structs.replace(ranged(found.rivals), unit=SHARE) if len(found.rivals) else None,
        edges=tuple(
            Edge(e["source"], e["target"], _effect(e), _known(e["needed"]), _known(e["stability"]))
            for e in found.edges.to_dict("records")
        ),
        singles=tuple(
            Single(str(e["site"]), _effect(e), _known(e["estimate"])) for e in found.singles.to_dict("records")
        ),
        completeness=_completeness(found.subsets),
        areas=_areas(found.curve),
        operations=tuple(apart(arrays, found.nodes)) if "operations" in arrays else None,
        untrained=None if best is None else read(rows, params.least, "untrained").exists,
    )


def _effect(row: Any) -> Estimate:
    return Estimate(row["effect"], row["low"], row["high"], _count(row["n"]), SHARE)


def _size(row: pd.Series) -> Size:
    chance = Estimate(row["chance"], row["chance_low"], row["chance_high"], unit=SHARE)
    share, sought, shuffled = float(row["share"]), _known(row["sought"]), _known(row["shuffled"])
    return Size(int(row["size"]), share, _effect(row), sought, chance, shuffled)


def _completeness(subsets: pd.DataFrame) -> Completeness | None:
    if subsets.empty:
        return None
    mean = Estimate(subsets["apart"].mean(), n=len(subsets), unit=SHARE)
    every = [Subset(str(s["subset"]), float(s["circuit"]), float(s["model"])) for s in subsets.to_dict("records")]
    worst = subsets.reset_index(drop=True).sort_values("apart").index[-1]
    return Completeness(mean, every[int(worst)], tuple(every))


def _areas(curve: pd.DataFrame) -> Areas | None:
    """None where not all of the ten sizes are measured."""
    ten = curve.head(len(SIZES))
    if len(ten) < len(SIZES) or ten["effect"].isna().any() or ten["share"].iloc[-1] != 1:
        return None
    f = ten["effect"].to_numpy()
    return Areas(cpr(SIZES, f), cpr(SIZES, f, True), cmd(SIZES, f), cmd(SIZES, f, True))


def _items(table: pd.DataFrame) -> Items | None:
    if str(table["relation"].iloc[0]) not in TASKS:
        return None
    items = table[["subject", "object", "template"]].astype(str)
    asked, answered = (len(some.drop_duplicates()) for some in (items, items[~table["excluded"]]))
    return Items(asked, answered, float(scipy.stats.binom.sf(answered - 1, asked, 0.5)))


def _known(x: float | None) -> float | None:
    return None if x is None or math.isnan(x) else float(x)


def _count(x: float | None) -> int | None:
    return None if x is None or math.isnan(x) else int(x)


def as_file(params: Params, result: Result, model: str) -> files.Circuit:
    """The reported circuit with its numbers, to be loaded again. Raises `BadCircuit` where none is measured."""
    if not result.edges or result.reported is None:
        raise BadCircuit("no circuit of this study is measured yet; `lashley resume` it")
    if len(result.edges) < result.size:
        raise BadCircuit(
            f"the circuit has {result.size} edges, and {len(result.edges)} of them are examined; ask for --exact more"
        )
    edges = tuple(
        files.Edge(e.source, e.target, e.damage.value, e.damage.low, e.damage.high, e.stability, e.loss)
        for e in result.edges
    )
    f, named = result.faithfulness, result.named
    there = bool(result.existence and result.existence.there) and not guessed(result)
    nodes = {node: named[node] for node in result.nodes if node in named}
    method = "given" if params.circuit else NAMES[params.method]
    return files.Circuit(model, result.facts, method, edges, (f.value, f.low, f.high), there, nodes)


def guessed(result: Result) -> bool:
    """Whether the model may have answered the items of a task by chance."""
    return result.items is not None and result.items.p > ALPHA
