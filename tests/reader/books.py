"""Which reader reads which experiment."""

from __future__ import annotations

import re

from . import attention, circuit, knockout, locate, spread, stability, verdicts
from .known import Known
from .page import complaints
from .study import Shown

READERS = {
    "locate": locate,
    "knockout": knockout,
    "attention": attention,
    "stability": stability,
    "audit": verdicts,
    "spread": spread,
    "circuit": circuit,
}


def read(shown: Shown) -> tuple[Known, list[str]]:
    """What is known of a study, and everything that its page gets wrong."""
    known, found = READERS[shown.heading["experiment"]].read(shown)
    found += [*_incomplete(shown, known), *_readings(shown)]
    known.reasons = set(shown.left_out["reason"].dropna())
    return known, [*found, *complaints(shown.page, known)]


def _incomplete(shown: Shown, known: Known) -> list[str]:
    """A study that was cut off says how much of it is measured; what is planned the table does not know."""
    known.count("trial", len(shown.table))
    for line in shown.page["caveats"]:
        if m := re.search(r"Incomplete: ([\d,]+) of ([\d,]+) trials", line):
            measured, planned = (int(x.replace(",", "")) for x in m.groups())
            known.count("trial", planned)
            if not measured == len(shown.table) < planned:
                return [f"caveats: {m[0]}, the table has {len(shown.table)}"]
    return []


def _readings(shown: Shown) -> list[str]:
    """Every page says the logit differences, the object's probability and rank, and how strong the noise is."""
    tables = [t for t in shown.page["tables"] if {"clean run", "corrupt run"} <= {c["label"] for c in t["columns"]}]
    asked = shown.table[shown.table["corrupt"].notna()] if len(shown.table) else shown.table
    if not len(asked):
        return []
    if not tables:
        return ["no table says the logit difference of the clean and the corrupted run"]
    rows = " ".join(str(r[0]) for t in tables for r in t["rows"])
    out = [f"no table says the {what}" for what in ("logit difference", "probability", "rank") if what not in rows]
    if (asked["corruption"] == "noise").any() and not any("standard deviation" in t["note"] for t in tables):
        out.append("no table says how strong the noise is")
    return out
