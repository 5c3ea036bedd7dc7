"""Knockouts: the damage of each unit, or of a named set beside matched random ones."""

from __future__ import annotations

import re

import pandas as pd

from . import arithmetic as a
from . import common, screen
from .arithmetic import Value
from .known import Known
from .sites import canonical, placed
from .study import Shown

KIND = {"layers": "sub-layer", "heads": "head", "neurons": "neuron"}
BIG = 0.1
SETS = "matched random"


def read(shown: Shown) -> tuple[Known, list[str]]:
    rows, params = shown.table, shown.params
    own = rows[rows["control"].fillna("") == ""]
    k = common.known(shown, own)
    k.add(a.floor(rows), "noise floor", ("noise floor", "identity edit"))
    each = _named(own, params)
    whole = params["units"] in KIND
    for name, v in each.items():
        k.add(v, name, name)
    for name, v in _named(own, params, "value").items():
        common.edited(k, name, v, (name, *(("named sites together", params["units"]) if "+" in name else ())))
    k.cells = dict(each)
    k.count("row", 12, len(each))
    k.add(0.1, "big", ("10% or more", "a damage of 10%"))
    out = []
    if whole:
        out += _all(k, shown, own, each)
    else:
        out += _set(k, shown, own, rows[rows["control"] == SETS], each)
    ends = {"bars", "ranks"} & {f["name"] for f in shown.page["figures"]}
    expected = {name: set(each) for name in ("heads", "layers")}
    expected |= {name: _drawn(shown, name) for name in ends}
    if params["screen"]:
        expected["screen"] = set(k.cells)
    out += common.figures(shown.page, expected) + common.clear(shown.page, a.floor(rows))
    return k, [*out, *common.ordered(shown.page, "The strongest effects", each), *_largest(shown, each)]


def _drawn(shown: Shown, name: str) -> set[str]:
    (figure,) = (f for f in shown.page["figures"] if f["name"] == name)
    return {r["site"] for r in figure["spec"]["data"]["values"]}


def _named(own: pd.DataFrame, params: dict, column: str = "effect") -> dict[str, Value]:
    """The mean damage of every unit, or of each named site and of all together, under its name."""
    found = a.values(own, ["trial"], column, over=a.interval_over(own))
    if params["units"] in KIND:
        names = own.drop_duplicates("trial").set_index("trial")["site"].map(lambda s: placed(s, params["at"]))
        return {names[trial]: v for (trial,), v in found.items()}
    sites = canonical(params["units"], params["at"])
    names = {**dict(enumerate(sites)), len(sites): "+".join(sites)}
    return {names[trial]: v for (trial,), v in found.items()}


def _largest(shown: Shown, each: dict[str, Value]) -> list[str]:
    """The bars are the largest by size, and in figures of many as many as the caption says."""
    out = []
    for figure in shown.page["figures"]:
        if figure["name"] != "bars":
            continue
        drawn = figure["spec"]["data"]["values"]
        least = min(abs(r["effect"]) for r in drawn)
        more = [n for n, v in each.items() if abs(v.value) > least + 1e-5 and n not in {r["site"] for r in drawn}]
        out += [f"figure bars: leaves out {n}, which is larger than what it draws" for n in more[:1]]
        if re.search(r"\ball effects\b", figure["caption"], re.I) and len(drawn) != len(each):
            out.append(f"figure bars: “all effects” are {len(drawn)} of {len(each)}")
        if any("control" in r for r in drawn):
            single = [r["site"] for r in drawn if r.get("control") is not None and "+" not in r["site"]]
            if single and any("+" in r["site"] for r in drawn):
                out.append(f"figure bars: the band of matched random sets stands behind {single[0]}, a single site")
    return out


def _all(k: Known, shown: Shown, own: pd.DataFrame, each: dict[str, Value]) -> list[str]:
    params, page = shown.params, shown.page
    noun = KIND[params["units"]]
    effects = [v.value for v in each.values()]
    k.count(noun, len(each))
    k.add(len(each), "units", "the largest of")
    k.count("effect unit", len(each))
    k.count("largest", min(20, len(each)))
    big = sum(e >= BIG for e in effects)
    k.add(big, "units of 10% or more", ("10% or more",))
    k.add(a.participation(effects), "participation ratio", ("participation ratio", "equal"))
    best = max(each, key=lambda n: each[n].value)
    worst = max(each, key=lambda n: abs(each[n].value))
    out = []
    sentence = page["finding"]["sentence"]
    if best not in sentence:
        out.append(f"finding: {best} costs most, which it does not name")
    if worst not in common.said(page) and each[worst].value < 0:
        out.append(f"findings: {worst} has the largest effect, {each[worst].value:.3f}, and no sentence names it")
    m = re.search(r"(\d+) costs? 10% or more", sentence)
    if m and int(m[1]) != big:
        out.append(f"finding: {big} cost 10% or more, not {m[1]}")
    drawn = {f["name"]: len(f["spec"]["data"]["values"]) for f in page["figures"]}
    if "ranks" in drawn:
        k.count("unit", drawn["ranks"])
        k.count("largest", min(200, len(each)))
    if params["screen"]:
        _screen(k, shown, own)
    return out


def _screen(k: Known, shown: Shown, own: pd.DataFrame) -> None:
    sample = shown.table[shown.table["control"] == screen.SAMPLE]
    screen.known(k, own, sample, int(own["population"].iloc[0]), KIND[shown.params["units"]])


def _set(k: Known, shown: Shown, own: pd.DataFrame, random: pd.DataFrame, each: dict[str, Value]) -> list[str]:
    """A named set: its sites one by one and together, beside random sets, of which each counts once."""
    sites = canonical(shown.params["units"], shown.params["at"])
    joint, together = "+".join(sites), "the named sites together"
    k.count("site", len(sites))
    k.count("effect", len(each))
    if joint not in each:
        return []
    whole = each[joint]
    k.add(whole, joint, (joint, shown.params["units"], together))
    out = []
    sentence = shown.page["finding"]["sentence"]
    if len(random):
        sets = random.assign(members=random["site"].map(lambda s: "+".join(sorted(placed(s, "?").split("+")))))
        found = [v.value for v in a.values(sets, ["members"]).values()]
        k.count("set", len(found))
        k.add(a.middle(found), "random sets", ("random sets", "matched random"))
        k.add(a.permutation(whole.value, found), "p of the set", "p =")
        k.add(1, "the +1", "+1")
        k.add(int(shown.params["controls"]), "sets asked for", "asked for")
        k.add(0.05, "alpha", "cannot be")
        if "matched random" not in sentence and "random sets" not in sentence:
            out.append("finding: says nothing of the matched random sets")
    return out
