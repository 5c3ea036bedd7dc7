"""From the records of a calibration to its error rates. Pure; the table that the README quotes is made here."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from lashley.claims.grammar import parse
from lashley.core.figure import Estimate, Figure, number
from lashley.core.files import replacing
from lashley.report import vega
from lashley.report.charts import calibration as charts
from lashley.stats.inference import clopper_pearson
from lashley.validation.calibrate import NULLS, STANDARD, Record, Result

FEWEST = 10  # cases that a share has to be of, for its target to be called met
TARGETS = {  # what is wanted: at most or at least, and how much
    "false": ("at most", 0.05),
    "power": ("at least", 0.9),
    "redundancy": ("at least", 0.9),
    "masked": ("at least", 0.95),
    "robust": ("at least", 0.95),
}


class Line(msgspec.Struct, frozen=True):
    """One row of the table: a share with exact 95% bounds, and whether its target is met (None: it has none, or too few
    cases meet it)."""

    what: str
    share: Estimate
    wanted: str = ""
    met: bool | None = None


class Calibration(msgspec.Struct, frozen=True):
    """What a calibration came to, for one model: from `done` of the `planned` trials. `failed` says
    of each plant that could not be made which and why; `planted` counts those of which a claim is true, by relation."""

    model: str
    lines: tuple[Line, ...]
    power: tuple[tuple[str, float, Estimate], ...]
    minutes: float
    failed: tuple[str, ...]
    when: str
    machine: str
    done: int
    planned: int
    planted: dict[str, int] = {}


def summary(model: str, records: Sequence[Record], planned: int) -> Calibration:
    """The error rates of one model's records, of so many trials that were planned."""
    false = [(r.trial.plant, x) for r in records for x in r.results if not x.true]
    judged = [(p, x) for p, x in false if x.outcome != "not testable"]
    lines = [
        _line(
            "false claims supported, of all that are false and testable",
            (x.outcome == "supported" for _, x in judged),
            "false",
            upper=True,
        )
    ]
    groups = (
        ("on models with a plant (near misses and decoys)", [x for p, x in judged if p not in NULLS], "false"),
        ("on null models (untrained, shuffled weights, shuffled labels)", [x for p, x in judged if p in NULLS[:3]], ""),
        ("single neurons of the model as trained", [x for p, x in judged if p == "natural"], ""),
    )
    for words, some, target in groups:
        lines.append(_line(f"– {words}", (x.outcome == "supported" for x in some), target, upper=True))
    powers = []
    for plant in dict.fromkeys(r.trial.plant for r in records):
        for strength in sorted({r.trial.strength for r in records if r.trial.plant == plant}):
            own = [
                x
                for r in records
                if (r.trial.plant, r.trial.strength) == (plant, strength)
                for x in r.results
                if x.true
            ]
            if own and plant not in NULLS:
                target = "power" if plant == "single" and strength == STANDARD else ""
                line = _line(
                    f"true claims supported: {plant}, strength {strength:g}",
                    (x.outcome == "supported" for x in own),
                    target,
                )
                lines.append(line)
                powers.append((plant, strength, line.share))
                for relation in sorted({relation_of(x) for x in own} if target else ()):
                    some = (x.outcome == "supported" for x in own if relation_of(x) == relation)
                    lines.append(_line(f"– of {relation}", some))
    true = [x for r in records for x in r.results if x.true]
    every = true + [x for _, x in judged]
    lines.append(_line("undecided, of the true claims", (x.outcome == "undecided" for x in true)))
    lines.append(_line("undecided, of the false and testable", (x.outcome == "undecided" for _, x in judged)))
    lines.append(_line("not testable, of all that are false", (x.outcome == "not testable" for _, x in false)))
    planting = [r for r in records if r.trial.plant not in NULLS]
    refused, made = sum(r.refused for r in planting), sum(not r.error for r in planting)
    words = "facts refused, for the plant did not do what it promises, of those tried"
    lines.append(_line(words, [True] * refused + [False] * made))
    counted = [c for r in records if (c := counts(r)) is not None]
    lines.append(_line("redundancy (r sufficient neurons) counted exactly", (a == b for a, b in counted), "redundancy"))
    masked, unused = separated(records)
    if masked and unused:
        area = auroc(masked, unused)
        estimate = Estimate(area, n=len(masked) + len(unused), unit="AUROC")
        wanted, limit = TARGETS["masked"]
        backups = sum(r.trial.plant == "backup" and bool(r.results) for r in records)
        words = f"“masked by self-repair” ({len(masked)} claims on {backups} plants) told from “unused” (AUROC)"
        lines.append(Line(words, estimate, f"{wanted} {limit:g}", area >= limit))
    accepted = [x for x in every if x.outcome == "supported" and "is sufficient for" not in x.claim]
    lines.append(
        _line(
            "supported claims of necessity that each of five knockouts supports",
            (all(x.methods.values()) for x in accepted),
            "robust",
        )
    )
    failed = tuple(f"{r.trial.plant}: {r.error}" for r in records if r.error)
    minutes = sum(r.seconds for r in records) / 60
    kept = tuple(line for line in lines if line.share.n)
    today = datetime.date.today().isoformat()
    machine = "; ".join(sorted({r.machine for r in records if r.machine}))
    done = len(records)
    planted = Counter(relation_of(r.results[0]) for r in records if any(x.true for x in r.results))
    return Calibration(model, kept, tuple(powers), minutes, failed, today, machine, done, planned, dict(planted))


def relation_of(result: Result) -> str:
    """The relation that a claim is about."""
    return parse(result.claim).about.relation


def counts(record: Record) -> tuple[int, int] | None:
    """How many single neurons were found to suffice, and how many were planted; None for other plants."""
    if record.trial.plant != "redundant" or not record.results:
        return None
    units = {s for role in record.roles.values() for s in role}
    own = next((x for x in record.results if x.claim.split(" ")[0] in units), None)
    if own is None or own.restored is None:
        return 0, record.trial.r
    return int(own.restored >= 0.5) + own.rivals, record.trial.r


def separated(records: Sequence[Record]) -> tuple[list[float], list[float]]:
    """How much masked units cost where the later MLPs are held, and unused ones: planted first units with a backup,
    against readable but unread ones and random decoys."""
    masked, unused = [], []
    for r in records:
        first = set(r.roles.get("first", ()))
        for x in r.results:
            score = max(v for v in (x.held, x.damage, -1.0) if v is not None)
            if r.trial.plant == "backup" and x.claim.split(" ")[0] in first:
                masked.append(score)
            elif r.trial.plant == "unread" or (r.trial.plant == "backup" and not _planted(r, x)):
                unused.append(score)
    return masked, unused


def _planted(record: Record, result: Result) -> bool:
    own = set(result.claim.split(" ")[0].split("+"))
    return any(own.intersection(role) for role in record.roles.values())


def auroc(high: Sequence[float], low: Sequence[float]) -> float:
    """The chance that one of `high` lies above one of `low`; ties count half.

    >>> auroc([0.5, 0.9], [0.1, 0.5])
    0.875
    """
    a, b = np.asarray(high)[:, None], np.asarray(low)[None]
    return float(((a > b) + 0.5 * (a == b)).mean())


def _share(of: Iterable[bool]) -> Estimate:
    found = list(of)
    k, n = sum(found), len(found)
    return Estimate(k / n if n else None, *clopper_pearson(k, n), n, "share")


def _line(words: str, of: Iterable[bool], target: str = "", upper: bool = False) -> Line:
    """`upper`: the bound, not the share, has to meet the target. A share of few cases can miss it, and not meet it."""
    share = _share(of)
    if not target or share.value is None:
        return Line(words, share)
    wanted, limit = TARGETS[target]
    met = (share.high if upper else share.value) or 0.0
    ok = met <= limit if wanted == "at most" else met >= limit
    said = f"{wanted} {100 * limit:g}%" + (", upper bound included" if upper else "")
    few = not upper and (share.n or 0) < FEWEST
    return Line(words, share, said, None if ok and few else ok)


def table(found: Sequence[Calibration]) -> str:
    """Markdown: one table a model."""
    parts = []
    for c in found:
        rows = [
            f"| {line.what} | {_number(line.share)} | {number(line.share.n)} | {line.wanted} | {_met(line)} |"
            for line in c.lines
        ]
        head = "| | measured, exact 95% bounds | n | wanted | |\n| --- | ---: | ---: | --- | --- |\n"
        kinds = Counter(x.partition(":")[0] for x in c.failed)
        named = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
        lost = f" In {len(c.failed)} of them nothing could be planted ({named})." if c.failed else ""
        of = f"{c.done} models" if c.done == c.planned else f"the first {c.done} of {c.planned} models"
        made = "; ".join(x for x in (c.when, c.machine, f"{c.minutes:.0f} minutes, added up over its processes") if x)
        facts = ", ".join(f"{n} of {relation}" for relation, n in sorted(c.planted.items(), key=lambda x: -x[1]))
        true = f" Plants with a true claim: {facts}." if facts else ""
        parts.append(f"**{c.model}**: {of} ({made}).{lost}{true}\n\n{head}" + "\n".join(rows))
    return "\n\n".join(parts)


def _number(e: Estimate) -> str:
    if e.unit == "AUROC":
        return number(e.value, 3)
    low, high = (number(100 * x, 1) for x in (e.low or 0.0, e.high or 0.0))
    return f"{number(100 * (e.value or 0.0), 1)}% [{low}, {high}]"


def _met(line: Line) -> str:
    if not line.wanted:
        return ""
    return "too few to say" if line.met is None else "met" if line.met else "MISSED"


def pictures(found: Calibration) -> list[Figure]:
    return [charts.power(found.power, TARGETS["power"][1], STANDARD, found.model)]


def write(found: Calibration, folder: Path) -> Path:
    """results.json, RESULTS.md and the pictures, each whole or not at all; the text's path. Raises `BrokenStudy`."""
    _put(folder / "results.json", msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    names = []
    for figure in pictures(found):
        _put(folder / f"{figure.name}.png", vega.png(figure))
        names.append(f"![{figure.alt}]({figure.name}.png)")
    failed = "\n".join(f"- {line}" for line in found.failed) or "none"
    text = (
        f"# How often the instrument errs: {found.model}\n\nMade by `lashley calibrate`; every claim's truth was "
        f"planted, or is false by construction.\n\n{table([found])}\n\n{chr(10).join(names)}\n\n"
        f"## Plants that could not be made\n\n{failed}\n"
    )
    path = folder / "RESULTS.md"
    _put(path, text.encode())
    return path


def _put(path: Path, data: bytes) -> None:
    with replacing(path) as draft:
        draft.write_bytes(data)
