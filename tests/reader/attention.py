"""Attention knockouts: what one position loses when it may not attend to the positions in a role."""

from __future__ import annotations

from . import arithmetic as a
from . import common
from .arithmetic import Value
from .known import Known
from .sites import layer_words, role_words, spans
from .study import Shown


def read(shown: Shown) -> tuple[Known, list[str]]:
    rows, params = shown.table, shown.params
    rows = rows.assign(span=spans(rows["site"]))
    k, over = common.known(shown, rows), a.interval_over(rows)
    heads = params["units"] == "heads"
    cells: dict[str, Value] = {}
    by = ["keys", "span", *(["unit"] if heads else [])]
    logits = a.values(rows, by, "value", over=over)
    for (keys, span, *unit), v in a.values(rows, by, over=over).items():
        name = f"{span}.attn{f'.h{unit[0]}' if heads else ''}@{params['at']} to {keys}"
        cells[name] = v
        common.edited(k, name, logits[keys, span, *unit], name)
        head = [(name, f"head {unit[0]}")] if heads else []
        k.add(v, name, (name, *layer_words(span)), (name, *role_words(keys)), *head)
    k.cells = dict(cells)
    k.count("cell effect row", len(cells))
    k.count("row", 12)
    k.count("effect", min(20, len(cells)))
    k.count("largest", min(20, len(cells)))
    k.count("layer", max(common.widths(rows["span"])))
    k.add(int(params["window"]), "window", "fewer at the ends")
    names = set(cells)
    page = shown.page
    out = common.figures(
        page, {"map": names, "heads": names, "curves": names, "bars": names if len(names) <= 20 else _bars(page)}
    )
    out += common.clear(page, a.floor(rows)) + common.ordered(page, "The attention that matters most", cells)
    best = max(cells, key=lambda n: cells[n].value)
    worst = max(cells, key=lambda n: abs(cells[n].value))
    span, keys = best.partition(".")[0], best.rpartition(" ")[2]
    sentence = page["finding"]["sentence"]
    if not all(any(w in sentence for w in (best, *words)) for words in (layer_words(span), role_words(keys))):
        out.append(f"finding: {best} costs most, it says “{sentence[-110:]}”")
    if cells[worst].value < 0 and worst not in common.said(page):
        out.append(f"findings: {worst} has the largest effect, {cells[worst].value:.3f}, and no sentence names it")
    return k, out


def _bars(page: dict) -> set[str]:
    return {r["site"] for f in page["figures"] if f["name"] == "bars" for r in f["spec"]["data"]["values"]}
