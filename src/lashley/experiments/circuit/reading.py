"""From a study's table to what was found of a circuit: a pure function, also of half a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from lashley.experiments.circuit import rounds
from lashley.experiments.circuit.scores import Existence, existence, shares
from lashley.experiments.circuit.subgraphs import SIZES, component
from lashley.stats.recognised import OPERATIONS, thresholds
from lashley.stats.summary import REPLICATE, cells, cluster

if TYPE_CHECKING:
    import pandas as pd

STABLE = 0.95  # of resamples: an edge that is in the circuit less often comes and goes
NAMED = 3  # heads, at most, that an operation is written under: those of the circuit that do it most
MATTERS = 0.01  # of the logit difference: what the loss of an edge has to change for it to count as needed


class Operation(msgspec.Struct, frozen=True):
    """One head of the circuit whose score passes what untrained copies reach by chance.

    Attributes
    ----------
    head
        Its address.
    operation
        What it does, as in `stats.recognised.OPERATIONS`, with the unit of its score.
    score, bound
        Its score, and what no head of 19 in 20 untrained models exceeds.
    passing
        How many heads of the circuit do so.
    named
        Whether it is among the few that do so most, and not most heads of the circuit do.
    """

    head: str
    operation: str
    score: float
    bound: float
    passing: int
    named: bool


class Found(NamedTuple):
    """What a study has found so far. `curve` has a row a circuit: size, share, trial, effect (faithfulness on the
    prompts that confirm, with low, high, n), sought (the same on those for discovery), chance (mean of random ones),
    shuffled. `best` is the reported circuit's row, `edges` its edges, `singles` the edges patched one by one,
    `subsets` the pairs of completeness; empty where not measured."""

    curve: pd.DataFrame
    total: int
    best: pd.Series | None
    rivals: np.ndarray  # faithfulness of each random circuit of the reported size, [draws]
    exists: Existence | None
    edges: pd.DataFrame
    cut: int  # how many edges of the circuit were examined one by one
    singles: pd.DataFrame
    subsets: pd.DataFrame

    @property
    def nodes(self) -> list[str]:
        """The circuit's components but the embedding and the logits, as far as its edges are known."""
        ends = [*self.edges["source"], *self.edges["own"]] if len(self.edges) else []
        return [name for name in dict.fromkeys(ends) if name not in ("embed", "logits")]


def read(rows: pd.DataFrame, least: float, copy: str = "") -> Found:
    """What was found in the model, or in its untrained `copy`; `rows` are measured ones."""
    kept = rows["copy"].isna() if not copy else rows["copy"] == copy
    own = {str(measure): part for measure, part in rows[kept].groupby("measure", observed=True)}
    nothing = rows.iloc[:0]
    curve, total = _curve(own.get(rounds.CURVE, nothing), own.get(rounds.CHANCE, nothing))
    curve = curve.merge(_shuffled(own.get(rounds.SHUFFLED, nothing)), on="trial", how="left")
    at = _at(curve, own.get(rounds.RIVALS, nothing), least)
    best = curve.iloc[at] if at is not None else None
    exists, rivals = None, np.empty(0)
    if best is not None and rounds.RIVALS in own:
        picked = own[rounds.CURVE]
        exists, rivals = _exists(picked[picked["trial"] == best["trial"]], own[rounds.RIVALS])
    singles = _singles(own.get(rounds.EDGE, nothing))
    edges = _edges(
        own.get(rounds.MINIMAL, nothing), own.get(rounds.EDGE, nothing), own.get(rounds.CURVE, nothing), best
    )
    edges = edges.merge(singles, on="site", how="left") if len(edges) else edges
    subsets = _subsets(own.get(rounds.WITHOUT, nothing), own.get(rounds.REMOVED, nothing))
    return Found(curve, total, best, rivals, exists, edges, len(edges), singles, subsets)


def confirming(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["group"].astype(str).str.contains(rounds.CONFIRM)]


def seeking(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["group"].astype(str).str.contains(rounds.DISCOVERY)]


def _faithful(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    return cells(rows.assign(effect=1 - rows["effect"]), by)


def _curve(rows: pd.DataFrame, chance: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    import pandas as pd

    columns = ["trial", "size", "share", "effect", "low", "high", "n", "sought", "chance", "chance_low", "chance_high"]
    if rows.empty:
        return pd.DataFrame(columns=columns), 0
    total = int(str(rows["population"].iloc[0]))
    sizes = [int(word) for word in str(rows["set"].iloc[0]).split()]
    shares_ = [*SIZES, *(size / total for size in sizes[len(SIZES) :])] if len(sizes) >= len(SIZES) else None
    found = pd.DataFrame({"trial": range(len(sizes)), "size": sizes})
    found["share"] = shares_ or [size / total for size in sizes]
    found = found.merge(_faithful(confirming(rows), ["trial"]), on="trial", how="left")
    sought = 1 - seeking(rows).groupby("trial")["effect"].mean()
    found["sought"] = found["trial"].map(sought)
    random = confirming(chance)
    if len(random):
        words = np.array(str(random["set"].iloc[0]).split(), int)
        each = (1 - random.groupby("trial")["effect"].mean()).to_frame("f")
        each["size"] = words[each.index.to_numpy(int)]
        by = each.groupby("size")["f"].agg(["mean", "min", "max"])
        found["chance"], found["chance_low"], found["chance_high"] = (found["size"].map(by[c]) for c in by)
    found.loc[found["size"] == total, ["chance", "chance_low", "chance_high"]] = 1.0
    found.loc[found["size"] == 0, ["chance", "chance_low", "chance_high"]] = 0.0
    return found.reindex(columns=columns), total


def _shuffled(rows: pd.DataFrame) -> pd.DataFrame:
    found = _faithful(confirming(rows), ["trial"]) if len(rows) else rows.assign(effect=math.nan)
    return found[["trial", "effect"]].rename(columns={"effect": "shuffled"})


def _at(curve: pd.DataFrame, rivals: pd.DataFrame, least: float) -> int | None:
    """The row of the reported circuit: that which the rivals were drawn for, or which they will be drawn for."""
    if curve.empty or curve["sought"].isna().any():
        return None
    if len(rivals):
        size = int(str(rivals["set"].iloc[0]))
        return int(np.flatnonzero(curve["size"].to_numpy() == size)[0])
    return rounds.smallest(curve["size"].to_numpy(), curve["sought"].to_numpy(), least)


def _exists(circuit: pd.DataFrame, rivals: pd.DataFrame) -> tuple[Existence | None, np.ndarray]:
    own, others = (_wide(confirming(rows)) for rows in (circuit, rivals))
    own, others = own[own.columns.intersection(others.columns)], others[others.columns.intersection(own.columns)]
    if own.empty or others.empty or others.isna().any(axis=None):
        return None, np.empty(0)
    first = confirming(circuit).assign(prompt_=_prompt(confirming(circuit))).set_index("prompt_").loc[own.columns]
    gaps = (first["clean"] - first["corrupt"]).to_numpy(float)
    clusters = first[cluster(first)].astype(str).to_numpy()
    faithful = 1 - confirming(rivals).groupby("trial")["effect"].mean().to_numpy(float)
    return existence(gaps, own.to_numpy(float)[0], others.to_numpy(float), clusters), faithful


def _prompt(rows: pd.DataFrame) -> pd.Series:
    """One word for what makes a prompt."""
    import pandas as pd

    words = rows[REPLICATE].astype(str).itertuples(index=False, name=None)
    return pd.Series(["|".join(each) for each in words], rows.index, dtype=object)  # also where there are no rows


def _wide(rows: pd.DataFrame, value: str = "value") -> pd.DataFrame:
    """Readouts [trials, prompts]."""
    return rows.assign(prompt_=_prompt(rows)).pivot_table(index="trial", columns="prompt_", values=value, observed=True)


def _singles(rows: pd.DataFrame) -> pd.DataFrame:
    """Every edge patched alone: its damage on all prompts, and what was estimated on those for discovery."""
    import pandas as pd

    if rows.empty:
        return pd.DataFrame(columns=["site", "effect", "low", "high", "n", "estimate"])
    found = cells(rows, ["site"])
    guess = rows.groupby("site", observed=True)["estimate"].mean()
    return found.assign(estimate=found["site"].map(guess))[["site", "effect", "low", "high", "n", "estimate"]]


def _edges(minimal: pd.DataFrame, singles: pd.DataFrame, curve: pd.DataFrame, best: pd.Series | None) -> pd.DataFrame:
    """The reported circuit's edges: names, what each is worth to it, and how often resampled prompts choose it."""
    import pandas as pd

    columns = ["site", "source", "target", "own", "needed", "stability"]
    if minimal.empty or best is None:
        return pd.DataFrame(columns=columns)
    names = str(minimal["set"].iloc[0]).split()
    pairs = [name.split("->") for name in names]
    whole = confirming(curve)
    whole = whole[whole["trial"] == best["trial"]]
    kept = pd.Series((1 - whole["effect"]).to_numpy(float), _prompt(whole))
    less = confirming(minimal)
    change = kept.reindex(_prompt(less)).to_numpy() - (1 - less["effect"].to_numpy(float))
    needed = cells(less.assign(effect=change), ["trial"]).set_index("trial")["effect"]
    found = pd.DataFrame(
        {
            "site": names,
            "source": [u for u, _ in pairs],
            "target": [v for _, v in pairs],
            "own": [component(v) for _, v in pairs],
            "needed": pd.Series(range(len(names))).map(needed),
        }
    )
    return found.assign(stability=found["site"].map(_stability(seeking(singles), int(best["size"]))))[columns]


def _stability(rows: pd.DataFrame, size: int) -> dict[str, float]:
    """In which share of resampled discovery prompts an edge is among the `size` strongest of those patched one by one;
    {} where a circuit is as large as they are, so that nothing could come in."""
    if rows.empty:
        return {}
    value = "estimate" if rows["estimate"].notna().any() else "effect"
    wide = _wide(rows, value).dropna(axis=1)
    if size >= len(wide) or wide.shape[1] < 2:
        return {}
    first = rows.assign(prompt_=_prompt(rows)).drop_duplicates("prompt_").set_index("prompt_").loc[wide.columns]
    names = rows.drop_duplicates("trial").set_index("trial").loc[wide.index, "site"]
    inside = shares(wide.to_numpy(float).T, size, first[cluster(first)].astype(str).tolist())
    return dict(zip(names.astype(str), inside.tolist(), strict=True))


def _subsets(without: pd.DataFrame, removed: pd.DataFrame) -> pd.DataFrame:
    """Of every subset K what the circuit and what the model do without it: f(C \\ K) and f(M \\ K)."""
    import pandas as pd

    found = []
    for turn, part in without.groupby("keys", observed=True):
        other = removed[removed["keys"] == turn]
        names = str(part["set"].iloc[0]).split()
        c, m = (_faithful(confirming(x), ["trial"]).set_index("trial")["effect"] for x in (part, other))
        found.append(pd.DataFrame({"subset": names, "circuit": c.reindex(range(len(names))), "model": m}))
    if not found:
        return pd.DataFrame(columns=["subset", "circuit", "model", "apart"])
    whole = pd.concat(found, ignore_index=True).dropna()
    return whole.assign(apart=(whole["circuit"] - whole["model"]).abs())


def apart(arrays: Mapping[str, Mapping[str, np.ndarray]], nodes: Sequence[str]) -> Iterator[Operation]:
    """What the circuit's heads do more than untrained weights explain. An operation that most of them pass sets none
    of them apart, and is written under none."""
    scores = arrays.get("operations", {})
    bounds = thresholds(scores) if scores else {}
    heads = {node: tuple(map(int, node[1:].split(".attn.h"))) for node in nodes if ".attn.h" in node}
    for name in (n for n in OPERATIONS if n in bounds):
        own = {head: float(scores[name][at]) for head, at in heads.items()}
        passing = sorted((h for h in own if own[h] > bounds[name]), key=lambda h: -own[h])
        common = len(passing) > max(NAMED, len(heads) / 2)
        for rank, head in enumerate(passing):
            yield Operation(head, name, own[head], bounds[name], len(passing), not common and rank < NAMED)
