"""Circuits: what each keeps, whether there is one, what its edges are worth, and what it lacks."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
from scipy import stats

from . import arithmetic as a
from . import common
from .arithmetic import Value
from .known import Known
from .study import Shown

CURVE, CHANCE, RIVALS = "circuit", "random circuit", "random circuit of the reported size"
TEN = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # shares of all edges (MIB, 2504.13151)
MATTERS, STABLE, DRAWS, NEAR = 0.01, 0.95, 400, 0.04


def read(shown: Shown) -> tuple[Known, list[str]]:
    table = shown.table.assign(f=1 - shown.table["effect"], context=shown.table["context"].fillna(""))
    own, copy = table[table["copy"].isna()], table[table["copy"] == "untrained"]
    k = common.known(shown, own)
    for rows in (confirming(own), confirming(of(own, CURVE)), of(own, "edge")):
        if len(rows):
            k.count("prompt", a.prompts(rows))
            k.count("subject template", rows["subject"].nunique(), rows["template"].nunique())
    k.add(float(shown.params["least"]), "faithfulness wanted", "keeps")
    k.add(0.05, "alpha", "p")
    k.elsewhere = ("What heads of the circuit do",)  # scores of attention patterns, kept beside the ledger
    main = Circuit(own)
    if not main.sizes:
        return k, []
    _curve(k, main, shown)
    curve = confirming(main.curve)
    common.basics(k, curve)
    if main.at is not None:
        best = curve[curve["trial"] == main.at]
        common.edited(k, "the circuit", a.value(best, column="value", over=a.interval_over(best)), "edge outside")
    out = [] if main.at is None else _reported(k, main, shown)
    _known(k, shown)
    if len(copy):
        other = Circuit(copy)
        if other.at is not None and (tests := other.existence()):
            k.add(Value(max(tests.values())), "p in an untrained copy", "untrained copy")
            k.add(max(tests.values()), "p in an untrained copy", "untrained copy")
            k.count("", *[len(other.rivals())])
            k.add(len(other.rivals()), "random circuits", "random circuits")
    return k, [*out, *common.apart(shown.page), *_figures(k, main, shown)]


def of(rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    return rows[rows["measure"] == measure]


def confirming(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["group"].astype(str).str.contains("confirm")]


def seeking(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["group"].astype(str).str.contains("discovery")]


class Circuit:
    """The circuits that were measured, and the one that is reported: that which the random rivals are drawn for."""

    def __init__(self, rows: pd.DataFrame):
        self.rows, self.curve = rows, of(rows, CURVE)
        self.sizes = [int(s) for s in str(self.curve["set"].iloc[0]).split()] if len(self.curve) else []
        self.total = int(str(self.curve["population"].iloc[0])) if len(self.curve) else 0
        rivals = of(rows, RIVALS)
        self.size = int(str(rivals["set"].iloc[0])) if len(rivals) else None
        self.at = self.sizes.index(self.size) if self.size in self.sizes else None
        kept = confirming(self.curve)
        self.kept = (
            {int(t): v for (t,), v in a.values(kept, ["trial"], "f", over=a.interval_over(kept)).items()}
            if len(kept)
            else {}
        )

    def rivals(self) -> list[float]:
        return [v.value for v in a.values(confirming(of(self.rows, RIVALS)), ["trial"], "f").values()]

    def existence(self) -> dict[str, float]:
        """One-sided p of: no gap; no better than random circuits, prompt by prompt; as many random ones do as well."""
        own = confirming(self.curve[self.curve["trial"] == self.at])
        chance = confirming(of(self.rows, RIVALS))
        mean = chance.groupby(a.RUN, dropna=False)["value"].mean().rename("chance").reset_index()
        own = own.merge(mean, on=a.RUN).assign(
            gap=lambda r: r["clean"] - r["corrupt"], more=lambda r: r["value"] - r["chance"]
        )
        cluster = a.cluster(own)
        gap, more = (a.t_test(own, 0.0, cluster, column) for column in ("gap", "more"))
        if gap.above is None or more.above is None:
            return {}
        each = a.values(chance, ["trial"], "value", "relation")
        mine = a.value(own, "relation", "value").value
        rank = a.permutation(mine, [v.value for v in each.values()])
        return {"gap": gap.above, "prompt by prompt": more.above, "rank": rank}


def _curve(k: Known, c: Circuit, shown: Shown) -> None:
    k.count("edge", c.total, *c.sizes)
    for t, v in c.kept.items():
        k.add(v, f"faithfulness of {c.sizes[t]} edges", ("keeps", "keep", "largest", "smallest"))
    ten = [c.kept[t].value for t in range(len(TEN)) if t in c.kept]
    if len(ten) == len(TEN) and c.sizes[len(TEN) - 1] == c.total:
        for name, heights in (("CPR", ten), ("CMD", [abs(1 - f) for f in ten])):
            for scale, x in (("linear k", np.array(TEN)), ("log k", np.log(TEN))):
                area = float(np.trapezoid(heights, x))
                k.add(area, f"{name}, {scale}", name)
                k.add(Value(area), f"{name}, {scale}", name)
        k.add(0.999, "the whole model", "f = 1 everywhere")
        k.add(math.log(1000), "the whole model", "f = 1 everywhere")
        k.add(1, "the whole model", "f = 1 everywhere")


def _reported(k: Known, c: Circuit, shown: Shown) -> list[str]:
    """The circuit that is reported."""
    page, best = shown.page, c.kept[c.at]
    out = []
    k.add(best, "faithfulness", "keeps")
    k.add(
        Value(1 - best.value, *(None if x is None else 1 - x for x in (best.high, best.low)), best.n),
        "opaque",
        "opaque",
    )
    k.add(c.size / c.total, "share of edges", "edges")
    rivals = c.rivals()
    if rivals:
        k.add(a.middle(rivals), RIVALS, ("random circuit", "random connected circuits"))
        k.add(round(float(np.mean(rivals)), 3), RIVALS, "random connected circuits")
        k.count("circuit", len(rivals))
    tests = c.existence()
    if not tests and rivals:
        k.add(max(0, a.FEWEST - (best.n or 0)), "prompts that are missing", ("needed", "needs"))
    if tests:
        k.add(max(tests.values()), "p of there being one", "p =")
        there = max(tests.values()) <= 0.05 and c.size < c.total
        first = page["finding"]["sentence"]
        if first.startswith("A circuit of") and not there:
            out.append(f"finding: reports a circuit, p = {max(tests.values()):.3f}")
    shuffled = confirming(of(c.rows, "shuffled labels"))
    for v in (a.values(shuffled, ["trial"], "f") if len(shuffled) else {}).values():
        k.add(v.value, "shuffled labels", "shuffled")
        k.add(Value(v.value), "shuffled labels", "shuffled")
    out += _edges(k, c, page)
    out += _complete(k, c)
    return out


def _edges(k: Known, c: Circuit, page: dict) -> list[str]:
    """Edges patched alone, and what the circuit loses without each."""
    single = of(c.rows, "edge")
    for (site,), v in (a.values(single, ["site"], over=a.interval_over(single)) if len(single) else {}).items():
        k.cells[site] = v
        k.add(v, site, (site, site.replace("->", "→")))
    if len(single) and single["estimate"].notna().any():
        for site, x in single.groupby("site")["estimate"].mean().items():
            k.add(float(x), f"estimate of {site}", site)
    k.count("edge row largest", single["site"].nunique(), 20)
    minimal = of(c.rows, "circuit without one edge")
    if not len(minimal):
        return []
    names = str(minimal["set"].iloc[0]).split()
    whole = confirming(c.curve[c.curve["trial"] == c.at])[[*a.RUN, "f"]].rename(columns={"f": "whole"})
    less = confirming(minimal).merge(whole, on=a.RUN)
    lost = {
        names[t]: v.value
        for (t,), v in a.values(less.assign(lost=less["whole"] - less["f"]), ["trial"], "lost").items()
    }
    for name, x in lost.items():
        k.add(x, f"lost without {name}", name)
    needed = sum(abs(x) >= MATTERS for x in lost.values())
    k.count("edge row", len(lost), needed)
    for x in (len(lost), c.size):
        k.add(x, "edges examined", ("strongest of",))
    k.add(MATTERS, "what an edge has to change", "1% or more")
    out = []
    stability = _stability(single, c.size)
    for name, x in stability.items():
        k.add(x, f"{name} in resamples", name, slack=0.005 + 4 * math.sqrt(x * (1 - x) / (DRAWS / 2)))
    if any(name in stability for name in names):
        k.add(DRAWS, "resamples", "resampled")
        kept = [stability[n] for n in names if n in stability]
        sure, perhaps = (sum(x < STABLE + room for x in kept) for room in (-NEAR, NEAR))
        for come in range(sure, perhaps + 1):  # the resamples are drawn at random
            k.count("edge", come)
            k.add(come, "edges that come and go", "come and go")
            k.add(Value(1 - come / len(kept), None, None, len(kept)), "edges that stay", "come and go")
    if len(names) < c.size:
        words = " ".join([page["finding"]["sentence"], *(f["sentence"] for f in page["also"])])
        tables = [t for t in page["tables"] if "edges of the circuit" in t["title"]]
        for t in tables:
            if f"strongest of {c.size}" not in t["title"]:
                out.append(f"table “{t['title']}”: {len(t['rows'])} of the circuit’s {c.size} edges, without a word")
        if (
            (m := re.search(r"(\d+) of (\d+) edges taken out alone", words))
            and int(m[2]) != c.size
            and f"strongest of {c.size}" not in words
        ):
            out.append(f"finding: “{m[0]}”, of a circuit of {c.size}")
    return out


def _stability(single: pd.DataFrame, size: int) -> dict[str, float]:
    """In which share of resamples of whole clusters of discovery prompts an edge is among the strongest."""
    rows = seeking(single)
    value = "estimate" if len(rows) and rows["estimate"].notna().any() else "effect"
    if not len(rows):
        return {}
    run = rows.groupby(a.RUN, dropna=False, sort=False).ngroup()
    wide = rows.assign(run=run).pivot_table(index="site", columns="run", values=value).dropna(axis=1)
    if size >= len(wide) or wide.shape[1] < 2:
        return {}
    first = rows.assign(run=run).drop_duplicates("run").set_index("run").loc[wide.columns]
    labels = pd.factorize(first[a.cluster(first)])[0]
    x, rng = wide.to_numpy(float), np.random.default_rng(12345)
    inside = np.zeros(len(wide))
    for _ in range(DRAWS):
        weight = np.bincount(rng.integers(labels.max() + 1, size=labels.max() + 1), minlength=labels.max() + 1)[labels]
        inside[np.argsort(-np.abs(x @ weight / weight.sum()), kind="stable")[:size]] += 1
    return dict(zip(wide.index, (inside / DRAWS).tolist(), strict=True))


def _complete(k: Known, c: Circuit) -> list[str]:
    """Without the same parts, how far circuit and model are apart (Wang et al. 2211.00593)."""
    apart = {}
    for turn, part in of(c.rows, "circuit without K").groupby("keys"):
        other = of(c.rows, "model without K")
        other = other[other["keys"] == turn]
        names = str(part["set"].iloc[0]).split()
        one, two = (a.values(confirming(r), ["trial"], "f") for r in (part, other))
        apart |= {
            (turn, n): abs(one[t,].value - two[t,].value) for t, n in enumerate(names) if (t,) in one and (t,) in two
        }
    if apart:
        k.count("subset", len(apart))
        mean = sum(apart.values()) / len(apart)
        k.add(Value(mean, None, None, len(apart)), "apart, mean", "completeness")
        k.add(mean, "apart, mean", "completeness")
        k.add(max(apart.values()), "apart, worst", "completeness")
    return []


def _known(k: Known, shown: Shown) -> None:
    """Whether a task may have been answered by chance."""
    whole = pd.concat([shown.table, shown.left_out])
    items = whole[["subject", "object", "template"]].astype(str).drop_duplicates()
    answered = shown.table[["subject", "object", "template"]].astype(str).drop_duplicates()
    k.count("item", len(items), len(answered))
    k.count("", len(answered))
    k.add(float(stats.binom.sf(len(answered) - 1, len(items), 0.5)), "p of chance", "chance")


def _figures(k: Known, c: Circuit, shown: Shown) -> list[str]:
    out = []
    lines = {("circuit", c.sizes[t]): v for t, v in c.kept.items()}
    chance = confirming(of(c.rows, CHANCE))
    if len(chance):
        sizes = [int(s) for s in str(chance["set"].iloc[0]).split()]
        each: dict[int, list[float]] = {}
        for (t,), v in a.values(chance, ["trial"], "f").items():
            each.setdefault(sizes[t], []).append(v.value)
        for size, values in each.items():
            lines["random connected circuits", size] = Value(float(np.mean(values)), min(values), max(values))
        for end, f in ((c.total, 1.0), (0, 0.0)):
            lines["random connected circuits", end] = Value(f, f, f)
        k.count("", *{len(v) for v in each.values()})
    shuffled = confirming(of(c.rows, "shuffled labels"))
    if len(shuffled):
        for (t,), v in a.values(shuffled, ["trial"], "f").items():
            lines["circuit of other prompts' answers", c.sizes[t]] = Value(v.value)
    for _, size in lines:
        k.add(size, "edges", ("largest", "smallest"))
    for v in lines.values():
        k.add(v, "faithfulness", ("largest", "smallest"))
        k.add(v.value, "faithfulness", ("largest", "smallest"))
    k.count("circuit", *c.sizes)
    k.of_row["faithfulness"] = lambda row: (
        lines.get((row["y"], row["x"])) or lines.get((row["y"], 0 if row["x"] == 1 else -1))
    )
    for figure in shown.page["figures"]:
        if figure["name"] not in ("circuit", "faithfulness", "estimates"):
            out.append(f"figure {figure['name']}: no reader reads it")
        if figure["name"] == "circuit":
            out += _picture(k, figure)
    return out


def _picture(k: Known, figure: dict) -> list[str]:
    """The circuit drawn: as wide and as written as its edges were measured, and what its heads do counted."""
    out, nodes = [], {}
    for layer in figure["spec"]["layer"]:
        for row in layer.get("data", {}).get("values", []):
            if "edge" in row and row["t"] == 0:
                own = k.cells.get(row["name"].replace("→", "->"))
                words = Known()
                words.add(own, row["name"])
                if own is None or words.unknown(row["text"]) or abs(abs(own.value) - row["size"]) > 1e-4:
                    out.append(f"figure circuit: {row['name']} is drawn {row['size']}, “{row['text']}”; it is {own}")
            if "node" in row and row["node"] not in ("embed", "logits"):
                nodes[row["node"]] = row["does"]
    k.count("head node", len(nodes), sum(not does for does in nodes.values()))
    heads = sum(".attn.h" in node for node in nodes)
    k.add(heads, "heads", "heads")
    k.add(len(nodes), "heads and MLPs", "heads and MLPs")
    k.add(
        sum(not does for does in nodes.values()),
        "of no recognised operation",
        ("no recognised operation", "no operation"),
    )
    return out
