"""Causal tracing: what restoring one activation brings back (Meng et al. 2022, section 2)."""

from __future__ import annotations

import re

from . import arithmetic as a
from . import common
from .arithmetic import Value
from .known import Known
from .page import given
from .sites import KINDS, layer_words, role_words, spans
from .study import Shown

CURVES = ("subject_first", "subject_last", "relation", "final")


def read(shown: Shown) -> tuple[Known, list[str]]:
    rows = shown.table.assign(span=spans(shown.table["site"]))
    k, over = common.known(shown, rows), a.interval_over(rows)
    cells: dict[str, Value] = {}
    for (kind, span, role), v in a.values(rows, ["kind", "span", "role"], over=over).items():
        name = f"{span}.{kind}@{role}"
        cells[name] = v
        k.add(v, name, (name, *layer_words(span)), (name, *KINDS[kind]), (name, *role_words(role)))
    for (kind, span, role), v in a.values(rows, ["kind", "span", "role"], "value", over=over).items():
        common.edited(k, f"{span}.{kind}@{role}", v, f"{span}.{kind}@{role}")
    tokens: dict[str, Value] = {}
    if len(rows[["relation", "subject", "template"]].drop_duplicates()) == 1:
        by = a.values(rows, ["kind", "span", "position"], over=over)
        tokens = {f"{span}.{kind}@{position}": v for (kind, span, position), v in by.items()}
        for name, v in tokens.items():
            k.add(v, name, name)
    k.cells = cells | tokens
    outputs = {name: v for name, v in cells.items() if ".resid@" not in name} or cells
    k.count("cell", len(outputs))
    k.count("row", 12, len(outputs))
    k.count("layer", max(common.widths(rows["span"])))
    begin = rows[(rows["kind"] == "resid") & (rows["role"] == "begin")]
    if len(begin):
        k.add(
            max(abs(v.value) for v in a.values(begin, ["layer"]).values()),
            "begin",
            ("beginning-of-text position", "beginning of the text"),
        )
    return k, [*_headline(shown.page, cells, outputs), *_pictures(shown, cells, tokens, outputs)]


def _pictures(shown: Shown, cells: dict[str, Value], tokens: dict[str, Value], outputs: dict[str, Value]) -> list[str]:
    expected = {
        "map": set(cells),
        "tokens": set(tokens),
        "curves": {name for name in cells if name.partition("@")[2] in CURVES},
    }
    floor = a.floor(shown.table)
    return [
        *common.figures(shown.page, expected), *common.clear(shown.page, floor),
        *common.ordered(shown.page, "The attention and MLP outputs that restore most", outputs),
        *common.ordered(shown.page, "What restores most", cells),
    ]  # fmt: skip


def _headline(page: dict, cells: dict[str, Value], outputs: dict[str, Value]) -> list[str]:
    out = []
    findings = [page["finding"], *page["also"]]
    best = max(outputs, key=lambda name: outputs[name].value)
    span, kind, role = re.fullmatch(r"([^.]+)\.(\w+)@(\w+)", best).groups()
    for f in findings:
        s = f["sentence"]
        if "strongest" in s:
            named = all(any(w in s for w in (best, *words)) for words in (layer_words(span), role_words(role)))
            if not named or (best not in s and not any(w in s for w in KINDS[kind])):
                out.append(f"finding: the strongest is {best} ({outputs[best].value:.3f}); it says “{s[-120:]}”")
            if (
                f["estimate"]["value"] != outputs[best].value
                and abs(f["estimate"]["value"] - outputs[best].value) > 1e-9
            ):
                out.append(
                    f"finding: the strongest restores {outputs[best].value:.4f}, not {f['estimate']['value']:.4f}"
                )
        if "leaves the last subject token" in s:
            out += _handover(s, given(f["estimate"]), cells)
    if not any("strongest" in f["sentence"] for f in findings):
        out.append("no finding names the strongest output")
    return out


def _handover(sentence: str, estimate: Value, cells: dict[str, Value]) -> list[str]:
    m = re.search(r"between layers (\d+) and (\d+)", sentence)
    if not m:
        return [f"no reader understands “{sentence[:100]}”"]
    before, after = int(m[1]), int(m[2])
    last = {la: cells.get(f"L{la}.resid@subject_last") for la in (before, after)}
    out = []
    if after != before + 1 or None in last.values() or not last[before].value >= 0.5 > last[after].value:
        out.append(f"finding: the last subject token carries {last}, which is no handover")
    if abs(estimate.value - last[before].value) > 1e-9:
        out.append("finding: the estimate of the handover is not that of the layer before it")
    return out
