"""Removing single weights: what it costs the fact and others, beside as many at random."""

from __future__ import annotations

import re

from . import arithmetic as a
from . import common
from .known import Known
from .study import Shown

OWN, OTHERS = "the fact itself", "other facts"
LINES = {"": "by gradient × weight", "random": "at random"}


def read(shown: Shown) -> tuple[Known, list[str]]:
    """Damage of a copy without some weights, as a share of the whole model's own gap."""
    rows = shown.table.assign(context=shown.table["context"].fillna(""), control=shown.table["control"].fillna(""))
    whole = rows[rows["copy"].isna()]
    k = common.known(shown, whole[whole["question"].astype(str) == "0"])
    cut = rows[rows["copy"].notna()].rename(columns={"clean": "left"})
    keys = [*a.PROMPT, "question", "pair", "seed"]
    cut = cut.drop(columns=["corrupt"]).merge(whole[[*keys, "clean", "corrupt"]], on=keys)
    damage = ((cut["clean"] - cut["left"]) / (cut["clean"] - cut["corrupt"])).clip(-1, 1)
    whose = cut["question"].astype(str).map(lambda q: OWN if q == "0" else OTHERS)
    cut = cut.assign(effect=damage, part=cut["set"].astype(float), whose=whose)
    k.count("prompt", *(a.prompts(x) for _, x in cut.groupby("whose")))
    lines = {}
    for (who, control), own in cut.groupby(["whose", "control"]):
        for (part,), v in a.values(own, ["part"], over=a.interval_over(own)).items():
            lines[f"{who}, {LINES[control]}", float(part)] = v
            words = "random" if control else "other facts" if who == OTHERS else "weights"
            k.add(v, f"{who}, {control}, {part:g}", words)
            k.add(v, f"{who}, {control}, {part:g}", ("largest", "smallest"))
            for x in (part, 100 * part):
                k.add(float(x), "a share that was removed", ("Removing", "removed", "largest", "smallest"))
    for tau in (0.5, 0.9):
        k.add(tau, "what is lost", "costs")
    k.of_row["weights"] = lambda row: next(
        (v for (name, part), v in lines.items() if name == row["y"] and abs(100 * part - row["x"]) < 1e-9), None
    )
    k.drawn["weights"] = len(lines)
    out = []
    for figure in shown.page["figures"]:
        if figure["name"] != "weights":
            out.append(f"figure {figure['name']}: no reader reads it")
        elif len(figure["spec"]["data"]["values"]) != len(lines):
            out.append(f"figure weights: {len(figure['spec']['data']['values'])} points of {len(lines)}")
    own = {part: v.value for (name, part), v in lines.items() if name == f"{OWN}, {LINES['']}"}
    for f in [shown.page["finding"], *shown.page["also"]]:
        m = re.search(r"Removing ([\d.]+)% of the weights of all layers.* costs (half|90%)", f["sentence"])
        if m:
            wanted = min((p for p, x in own.items() if x >= (0.5 if m[2] == "half" else 0.9)), default=None)
            if wanted is None or abs(100 * wanted - float(m[1])) > 1e-9:
                out.append(f"finding: {m[0]}, the smallest share tried that does is {wanted}")
    return k, [*out, *common.apart(shown.page)]
