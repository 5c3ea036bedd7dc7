"""A walk over a page: every number in sentences, estimates, tables, controls and figures has to be known."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from .arithmetic import Value
from .known import Known, close, singular

DIGITS = 6e-5  # figures hold five digits
SHOWN = 3  # rows of a figure that are named, where many are wrong


def complaints(page: dict[str, Any], known: Known) -> list[str]:
    """Everything on a page (its JSON) that is not known."""
    return list(_complaints(page, known))


def _complaints(page: dict[str, Any], known: Known) -> Iterator[str]:
    for name in ("title", "question"):
        yield from _text(name, page[name], known)
    for finding in [page["finding"], *page["also"]]:
        sentence = finding["sentence"]
        yield from _text("finding", sentence, known)
        yield from _text("basis", finding["basis"], known, sentence)
        yield from _estimate("finding’s estimate", finding["estimate"], known, sentence)
        yield from _interval(finding, page["verdicts"])
    for control in page["controls"]:
        where = f"control {control['name']}"
        yield from _text(where, control["reading"], known, control["name"])
        yield from _text(where, control["name"], known)
        yield from _estimate(where, control["estimate"], known, f"{control['name']} {control['reading']}")
    for name in ("caveats", "not_tested"):
        for line in page[name]:
            yield from _text(name, line, known)
    for each in page["exclusions"]:
        if each["why"] not in known.reasons:
            yield f"left out: {each['what']} for a reason that is not in the table: {each['why']}"
    for table in page["tables"]:
        if table["title"] not in known.elsewhere:
            yield from _table(table, known)
    for figure in page["figures"]:
        yield from _figure(figure, known)
    for verdict in page["verdicts"]:
        yield from _verdict(verdict, known)
        yield from _criteria(page, verdict)
    for check in known.checks:
        yield from check(page)
    yield from _costs(page)
    yield from _ones(page)


COSTS = re.compile(r"\bcosts?\b(?:(?!; |: |\. | \().){0,120}? −\d[^;.]*", re.I)


def _costs(page: dict[str, Any]) -> Iterator[str]:
    """Nothing costs less than nothing: what makes recall better is not said to cost a negative share of it."""
    told = [f["sentence"] for f in [page["finding"], *page["also"]]] + [c["reading"] for c in page["controls"]]
    for sentence in [*told, *page["caveats"], *(v["why"] for v in page["verdicts"])]:
        yield from (f"said to cost less than nothing: “{m[0]}”" for m in COSTS.finditer(sentence))


ONES = re.compile(
    r"(?<![\w.,%×−–-] )(?<![\w.,×−–-])1 (?:different |confirmed |matched |random |searched )*"
    r"(?:prompt|template|fact|subject|draw|set|site|head|neuron|sub-layer|unit|edge|claim|text|peer|effect|other|"
    r"criterion|cell|foil|layer)s\b"
    r"|\b1 of (?:(?:its|the) )?[\d,]+ [\w -]{0,40}?\b(?:reach|have|do|change|come|differ|cost|break|restore|take)\b"
)


def _ones(page: dict[str, Any]) -> Iterator[str]:
    """One is a singular."""
    said = [f[k] for f in [page["finding"], *page["also"]] for k in ("sentence", "basis")]
    said += [c["reading"] for c in page["controls"]] + [e["why"] for e in page["exclusions"]]
    said += [text for t in page["tables"] for text in (t["title"], t["note"])]
    said += [c for t in page["tables"] for row in t["rows"] for c in row if isinstance(c, str)]
    said += [f[k] for f in page["figures"] for k in ("title", "caption", "alt")]
    said += [c["note"] for v in page["verdicts"] for c in v["criteria"]] + [v["why"] for v in page["verdicts"]]
    for text in [page["title"], page["question"], *said, *page["caveats"], *page["not_tested"]]:
        yield from (f"one is not several: “{m[0]}” in “{text[:90]}”" for m in ONES.finditer(text))


def _text(where: str, text: str, known: Known, context: str = "") -> Iterator[str]:
    yield from (f"{where}: no reader knows {each}" for each in known.unknown(text, context))


def _interval(finding: dict[str, Any], verdicts: list[dict[str, Any]]) -> Iterator[str]:
    """What a basis says of an interval is so. The intervals of a verdict are those of its criteria."""
    estimate, basis = finding["estimate"], finding["basis"]
    own = [v for v in verdicts if f"”: {v['outcome']}. {v['why'].split(': ', 1)[1]}" in finding["sentence"]]
    if own:
        effects = [c["effect"] or {} for v in own for c in v["criteria"]]
        yield from _lines(f"basis of “{finding['sentence'][:60]}”", basis, effects)
        return
    if estimate is None or estimate["value"] is None:
        return
    if re.search(r"t intervals? ", basis) and not re.search("no interval|none for|too few", basis, re.I):
        if estimate.get("low") is None and " [" not in finding["sentence"]:
            yield f"basis: “{basis[:80]}”, and there is no interval in “{finding['sentence'][:60]}”"
    elif "No interval" in basis and (estimate.get("low") is not None or " [" in finding["sentence"]):
        yield f"basis: “{basis[:80]}”, and there is one in “{finding['sentence'][:60]}”"


def _lines(where: str, words: str, drawn: list[dict[str, Any]]) -> Iterator[str]:
    """Words that speak of t intervals stand beside one at least."""
    if "t intervals" in words and drawn and not any(d.get("low") is not None for d in drawn):
        yield f"{where}: “{words[:80]}”, and there is none"


def given(estimate: dict[str, Any]) -> Value:
    return Value(estimate.get("value"), estimate.get("low"), estimate.get("high"), estimate.get("n"))


def _estimate(where: str, estimate: dict[str, Any] | None, known: Known, context: str) -> Iterator[str]:
    if estimate is not None and estimate["value"] is not None and not known.holds(given(estimate), context):
        yield f"{where}: no reader knows {_shown(given(estimate))} of “{context[:90]}”"


def _table(table: dict[str, Any], known: Known) -> Iterator[str]:
    title = table["title"]
    yield from _text("table", title, known)
    yield from _text(f"table “{title}”, note", table["note"], known, title)
    for column in table["columns"]:
        yield from _text(f"table “{title}”, a head", f"{column['label']} {column['unit']}", known, title)
    for row in table["rows"]:
        words = " ".join(str(c) for c in row if isinstance(c, str))
        sizes = [c.get("n") for c in row if isinstance(c, dict)]
        for column, cell in zip(table["columns"], row, strict=True):
            head = f"{column['label']} {column['unit']}".strip()
            where, context = f"table “{title}”, {head} of {words}", f"{words} {head} {title} {table['note']}"
            noun = next((n for n in map(singular, [column["unit"], *column["label"].split()]) if n in known.counts), "")
            if isinstance(cell, dict):
                yield from _estimate(where, cell, known, context)
            elif isinstance(cell, str):
                yield from _text(where, cell, known, context)
            elif isinstance(cell, bool) or cell is None:
                continue
            elif column["label"] == "n" and [n for n in sizes if n is not None]:
                if cell not in sizes:
                    yield f"{where}: n is {cell}, the estimate beside it has {sizes}"
                elif column["unit"] and not known.counts.get(singular(column["unit"])):
                    yield f"{where}: counts {column['unit']!r}, which nobody counted"
            elif not (isinstance(cell, int) and cell in known.counts.get(noun, ())) and not known.holds(
                Value(float(cell)), context
            ):
                yield f"{where}: no reader knows {cell}"


def _figure(figure: dict[str, Any], known: Known) -> Iterator[str]:
    name, spec = figure["name"], figure["spec"]
    for what in ("title", "caption", "alt"):
        context = "" if what == "title" else figure["title"]
        yield from _text(f"figure {name}, {what}", figure[what], known, context)
    rows = spec.get("data", {}).get("values", [])
    if spec.get("usermeta", {}).get("chart") in ("heat", "curves"):
        places = Counter((r["panel"], str(r.get("x")), str(r["y"])) for r in rows)
        if len(places) < len(rows):
            yield f"figure {name}: {len(rows):,} rows lie in {len(places):,} cells, as {places.most_common(1)[0]}"
    yield from _lines(f"figure {name}", figure["caption"], [r for r in rows if "effect" in r])
    wrong = [words for row in rows for words in _row(name, row, known)]
    yield from (f"figure {name}: {words}" for words in wrong[:SHOWN])
    if len(wrong) > SHOWN:
        yield f"figure {name}: and {len(wrong) - SHOWN} more of {len(rows)} rows"


def _row(figure: str, row: dict[str, Any], known: Known) -> Iterator[str]:
    """A row of a figure is the cell that it names, to six digits, and so are its words."""
    if "effect" not in row:
        return
    site, own = known.row(figure, row)
    if own is None:
        yield f"nobody measured {site!r}"
        return
    drawn = Value(row["effect"], row.get("low"), row.get("high"), row.get("n"))
    off = not all(close(x, y, DIGITS) for x, y in zip(own[:3], drawn[:3], strict=True))
    if off or (drawn.n is not None and own.n is not None and drawn.n != own.n):
        yield f"{site} is drawn as {_shown(drawn)}, it is {_shown(own)}"
    if "text" in row:
        words = Known()
        words.add(drawn, site)
        yield from (f"{site} is drawn as {_shown(drawn)} and written as {each}" for each in words.unknown(row["text"]))


def _shown(v: Value) -> str:
    ends = "" if v.low is None else f" [{v.low:.5g}, {v.high:.5g}]"
    return f"{v.value:.5g}{ends}" + ("" if v.n is None else f" (n = {v.n})")


def _verdict(verdict: dict[str, Any], known: Known) -> Iterator[str]:
    claim = verdict["claim"]
    for what in ("why", "weaker"):
        if verdict.get(what):
            yield from _text(f"verdict on {claim}, {what}", verdict[what], known, claim)
    for criterion in verdict.get("criteria", ()):
        name = f"{claim} {criterion['criterion']}"
        yield from _text(f"verdict on {claim}, {criterion['criterion']}", criterion.get("note", ""), known, name)
        yield from _estimate(f"verdict on {claim}, {criterion['criterion']}", criterion.get("effect"), known, name)


def _criteria(page: dict[str, Any], verdict: dict[str, Any]) -> Iterator[str]:
    """The table of a claim's criteria says what its verdict says."""
    held = {c["criterion"]: c for c in verdict.get("criteria", ())}
    for table in page["tables"]:
        if verdict["claim"] not in table["title"] or not held:
            continue
        heads = [c["label"] for c in table["columns"]]
        for row in table["rows"]:
            own = held.get(str(row[0]))
            for head, field in (("verdict", "status"), ("on", "note"), ("p, adjusted", "p")):
                if own and head in heads and (cell := row[heads.index(head)]) not in (own.get(field), None):
                    yield f"table “{table['title']}”: {head} of {row[0]} is {cell}, its verdict has {own.get(field)}"
