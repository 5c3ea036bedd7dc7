"""How spread out a fact is: smallest sets, the curve, single units, self-repair, interference, unrelated text."""

from __future__ import annotations

import re

import pandas as pd

from . import arithmetic as a
from . import common, screen, weights
from .arithmetic import Value
from .known import Known
from .study import Shown

UNITS = {"layers": "sub-layer", "heads": "head", "neurons": "neuron"}
RANDOM, MATCHED = "random", "matched random"
ROUNDING = 1e-6
PARTS = {"0.5": "half", "0.9": "nine tenths"}


def read(shown: Shown) -> tuple[Known, list[str]]:
    if shown.params["units"] == "weights":
        return weights.read(shown)
    rows = shown.table
    capped = rows["effect"].where(rows["corrupt"].isna(), rows["effect"].clip(-1, 1))  # all lost is lost once
    control, context = rows["control"].fillna(""), rows["context"].fillna("")
    rows = rows.assign(effect=capped, control=control, context=context)
    main = rows[rows["question"].astype(str) == "0"]
    confirm = main[main["group"] == "confirm"]
    asked = main[main["relation"].notna()]
    k, noun = common.known(shown, asked), UNITS[shown.params["units"]]
    k.add(a.floor(confirm if len(confirm) else asked), "noise floor", ("noise floor", "identity edit"))
    for some in (main[main["measure"] == "alone"], confirm):
        k.count("prompt", a.prompts(some))
        k.count("template", some["template"].nunique())
        k.count("subject", some["subject"].nunique())
        k.count("draw foil", *a.draws(some)) if len(some) else None
    k.count("prompt", *(a.prompts(x) for _, x in confirm.groupby("measure")))
    if len(confirm):
        common.basics(k, confirm)
    k.add(1, "cap", ("capped", "lost once", "100%"))
    population = int(str(main["population"].dropna().iloc[0]))
    out = _alone(k, shown, main, noun, population)
    out += _sets(k, shown, confirm)
    _curve(k, confirm, noun)
    _repair(k, confirm)
    _text(k, main)
    out += _interference(k, shown, rows)
    out += _figures(k, shown, main, confirm)
    return k, out


def of(rows: pd.DataFrame, measure: str, control: str = "") -> pd.DataFrame:
    return rows[(rows["measure"] == measure) & (rows["control"] == control)]


def _alone(k: Known, shown: Shown, main: pd.DataFrame, noun: str, population: int) -> list[str]:
    """Single units on the prompts that are searched."""
    rows = of(main, "alone")
    damage, restored = rows[rows["edit"] != "patch"], rows[rows["edit"] == "patch"]
    site = damage.drop_duplicates("trial").set_index("trial")["site"]
    each = {site[t]: v for (t,), v in a.values(damage, ["trial"], over=a.interval_over(damage)).items()}
    for name, v in each.items():
        k.add(v, f"{name} alone", name)
        k.add(v.value, f"{name} alone", name)
        k.cells[name] = v
    for (t,), v in a.values(restored, ["trial"]).items():
        k.add(v.value, f"{site[t]} restored alone", site[t], "restoration")
    effects = [v.value for v in each.values()]
    k.add(a.participation(effects), "participation ratio", "participation ratio")
    k.add(max(effects), "the strongest alone", ("none costs more", "the strongest"))
    k.count(noun, len(each), population)
    k.count("", population)
    k.count("unit effect", len(each), min(20, len(each)))
    k.count("largest", min(200, len(each)))
    best = max(each, key=lambda n: each[n].value)
    words = common.said(shown.page)
    out = [] if best in words else [f"findings: {best} costs most alone, and no sentence names it"]
    if len(each) < population:
        sampled = of(main, "alone", screen.SAMPLE)
        out += screen.known(k, damage, sampled, population, noun)
    return out


def _sets(k: Known, shown: Shown, confirm: pd.DataFrame) -> list[str]:
    """The smallest sets on prompts that nothing was searched on, beside random ones, each of which counts once."""
    out: list[str] = []
    smallest = of(confirm, "smallest")
    said = "\n".join(f["sentence"] for f in [shown.page["finding"], *shown.page["also"]])
    for (name,), v in a.values(smallest, ["set"], over=a.interval_over(smallest)).items():
        own = smallest[smallest["set"] == name]
        size, least = int(own["size"].iloc[0]), int(own["least"].iloc[0])
        site = str(own["site"].iloc[0])
        back = name.startswith("k_s")
        verb = ("brings", "bring", "back", "restores") if back else ("goes", "cost", "costs", "silenced")
        k.add(v, name, (name, *verb))
        k.count("unit", size, least)
        k.add(size, f"size of {name}", (name, "Silencing", "bring", "brings"))
        k.add(least, f"proved for {name}", ("fewer than", "at least", name))
        k.cells[site] = k.cells.get(site, v)
        k.cells[name] = v
        part = name[4:-1]
        for sentence in said.split("\n"):
            out += _reaches(sentence, name, v, float(part), size, back)
            out += _names(sentence, name, float(part), site.split("+"), back)
        common.edited(k, name, a.value(own, column="value", over=a.interval_over(own)), name)
        for control in (RANDOM, MATCHED):
            peers = of(confirm, "smallest", control)
            alike = peers["set"].str[:3] == name[:3] if control == RANDOM else peers["set"] == name
            peers = peers[alike & (peers["size"] == size) & (peers["site"] != site)]
            if not len(peers):
                continue
            beside = own.merge(peers[a.PROMPT].drop_duplicates(), on=a.PROMPT)
            sets = peers.assign(members=peers["site"].map(lambda s: "+".join(sorted(s.split("+")))))
            each = a.values(sets, ["members"])
            found = [x.value for x in each.values()]
            range_ = a.middle(found)  # of sets that were measured twice, to the last digits of the arithmetic
            k.add(range_, f"{control} sets, {name}", (f"{control} sets", "matched sets"), name, slack=ROUNDING)
            k.add(range_.value, f"{control} sets, {name}", f"{control} sets", verb)
            k.add(a.permutation(a.value(beside).value, found), f"p of {name}", name, "p =")
            k.count("set", len(found))
            k.count("prompt", a.prompts(peers))
            k.count("size", size)
            k.add(1, "the +1", "+1")
            k.add(0.05, "alpha", "cannot be")
    disjoint = of(confirm, "disjoint")
    k.count("set", disjoint["set"].nunique())
    for (name,), v in a.values(disjoint, ["set"]).items():
        k.add(v, f"disjoint set {name}", "disjoint")
    return out


def _reaches(sentence: str, name: str, v: Value, part: float, size: int, back: bool) -> list[str]:
    """A sentence that says half says so of what was confirmed."""
    words = PARTS[f"{part:g}"]
    start = (
        rf"^(?:{size}|[\d,]+) of [\d,]+ [\w -]+ brings? {words} of the recall back"
        if back
        else rf"^{words} of the recall .* goes? when"
    )
    if re.search(start, sentence, re.I) and "where" not in sentence.split("(")[0] and v.value < part:
        return [f"finding: “{sentence[:70]}…”, and on prompts that were not searched on {name} is {v.value:.3f}"]
    return []


def _names(sentence: str, name: str, part: float, sites: list[str], back: bool) -> list[str]:
    """A sentence on a set that was found names its sites, and no others; of many it names none."""
    found = "found to bring" if back else "found to cost"
    if not re.search(rf" of [\d,]+ [\w -]+(?: \([^)]*\))?, {found} {PARTS[f'{part:g}']}", sentence):
        return []
    named = re.findall(r"L\d+\.[\w.]+", sentence.split(", found")[0])
    wanted = sites if len(sites) <= 6 else []
    return [] if named == wanted else [f"finding: {name} is {wanted}, the sentence names {named}"]


def _curve(k: Known, confirm: pd.DataFrame, noun: str) -> None:
    """Damage against the number of units silenced together."""
    lines = {}
    for control in ("", RANDOM, MATCHED):
        rows = of(confirm, "curve", control)
        for (size,), v in a.values(rows, ["size"], over=a.interval_over(rows) if len(rows) else "").items():
            lines[control or "strongest first", int(size)] = v
            k.add(v, f"curve, {control}, {size}", ("largest", "smallest", "together"))
            k.count(f"{noun} strongest", int(size))
            k.count("", int(size))
    k.of_row["curve"] = lambda row: lines.get((row["y"], int(row["x"])))
    k.drawn["curve"] = len(lines)


def _repair(k: Known, confirm: pd.DataFrame) -> None:
    """Of the strongest units all that they cost, what they cost directly, and what lies between."""
    total, direct = of(confirm, "total"), of(confirm, "direct")
    if not len(total) or not len(direct):
        return
    keys = ["trial", *a.RUN]
    both = total.merge(direct[[*keys, "effect"]], on=keys, suffixes=("", "_direct"))
    both = both.assign(apart=both["effect_direct"] - both["effect"])
    for column, words in (("effect", "each on average"), ("effect_direct", "direct effect")):
        k.add(float(both.groupby("trial")[column].mean().mean()), words, words)
    v = a.value(both, column="apart", over=a.interval_over(both))
    k.add(v, "between total and direct effect", "between them")
    k.count("strongest", both["trial"].nunique())
    k.add(both["trial"].nunique(), "strongest", "strongest")


def _text(k: Known, main: pd.DataFrame) -> None:
    for control in ("", RANDOM):
        rows = of(main, "text", control)
        if len(rows):
            sets = rows.drop_duplicates(["prompt", "site"])
            mean = float(-sets.groupby("prompt")["effect"].mean().mean())
            n = rows["prompt"].nunique()
            k.add(Value(mean, None, None, n), "loss on unrelated text", "unrelated text")
            k.add(mean, "loss on unrelated text", "unrelated text")
            k.count("text", n)
            k.count("set", sets["site"].nunique())


def _interference(k: Known, shown: Shown, rows: pd.DataFrame) -> list[str]:
    """What each fact's set does to each fact."""
    own = rows[rows["measure"] == "interference"]
    if not len(own):
        return []
    names = {}
    for q, part in rows[rows["subject"].notna()].groupby(rows["question"].astype(str)):
        names[q] = str(part["subject"].iloc[0]) if part["subject"].nunique() == 1 else "several"
    grid = {}
    for (cause, on), cell in own.groupby([own["set"].astype(str), own["question"].astype(str)]):
        grid[names[cause], names[on]] = a.value(cell, "template" if names[on] != "several" else "subject")
        k.add(grid[names[cause], names[on]], f"{cause} on {on}", names[cause], names[on])
    k.of_row["interference"] = lambda row: grid.get((row["y"], row["x"]))
    k.drawn["interference"] = len(grid)
    k.count("prompt", *(v.n for v in grid.values()))
    out = []
    (figure,) = (f for f in shown.page["figures"] if f["name"] == "interference")
    for fact in {cause for cause, _ in grid}:
        v, words = grid[fact, fact], f"{figure['title']} {figure['caption']}"
        if re.search(r"set that costs half", words) and v.value < 0.5 and "search" not in words:
            out.append(f"figure interference: the set of {fact} “that costs half” costs it {v.value:.2f} here")
    return out


def _figures(k: Known, shown: Shown, main: pd.DataFrame, confirm: pd.DataFrame) -> list[str]:
    out = []
    for figure in shown.page["figures"]:
        name, rows = figure["name"], figure["spec"]["data"]["values"]
        if name not in ("curve", "ranks", "interference", "screen"):
            out.append(f"figure {name}: no reader reads it")
        if name in k.drawn and len(rows) != k.drawn[name]:
            out.append(f"figure {name}: {len(rows)} points of {k.drawn[name]}")
        if name == "ranks":
            k.count("unit", len(rows))
    return [*out, *common.clear(shown.page, 0.0), *common.apart(shown.page)]
