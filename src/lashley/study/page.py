"""From a study to its page: what was found, beside all that is to be known of how it came about."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from lashley.core.cost import ROUTES
from lashley.core.experiment import AnyExperiment, Arrays
from lashley.core.figure import Finding, Omission
from lashley.core.question import Question
from lashley.facts.joins import told
from lashley.report.page import Page
from lashley.stats.summary import facts, measured
from lashley.study.ledger import Ledger, Spec

if TYPE_CHECKING:
    import pandas as pd

CHAT = "Every prompt is a user's message in the tokenizer's chat template, and answers are read where the reply begins."
LEFT_OUT = "left out of the search"  # the note that holds, in words, what a search passed over
SUNK = (
    "Some subjects begin their text, and the tokenizer puts nothing before it: their first token is the attention sink "
    "too, and what is done there is done to both."
)


def page(
    ledger: Ledger,
    experiment: AnyExperiment,
    params: Any,
    question: Question,
    rows: pd.DataFrame,
    arrays: Arrays,
    *,
    begun: bool,
    complete: bool,
) -> Page:
    """The page of what is measured so far, from the table `rows` and the `arrays` kept beside it. `begun`: it is known
    what is to be measured."""
    spec = ledger.spec
    name = Path(str(spec.model["name"])).name
    model = f"the {name} model" if name == "embedded" else name
    answered, planned = ledger.progress()
    common: dict[str, Any] = {
        "exclusions": tuple(Omission(_what(e), e.reason) for e in ledger.exclusions()),
        "environment": _environment(spec, ledger.notes()),
        "command": spec.command,
        "study": str(ledger.folder).encode(errors="backslashreplace").decode(),
        "created": spec.created,
    }
    kept = measured(rows)
    if not len(kept) and not (experiment.asks == "claims" and begun):
        nothing = Finding("Nothing is measured yet: run `lashley resume` on this study.")
        return Page(
            title=f"{spec.experiment}, not yet run", question="", finding=nothing, caveats=_lost(ledger), **common
        )
    what = experiment.topic(params, kept) if experiment.topic else facts(kept)
    result = experiment.measure(params, rows, arrays)
    outcome, drawing = experiment.tell(params, result), experiment.draw(params, result, rows)
    left = f"{answered:,} of {planned:,} trials are measured" if answered < planned else "a further round is to come"
    partial = () if complete else (f"Incomplete: {left}; `lashley resume {ledger.folder}` does the rest.",)
    return Page(
        title=f"{spec.experiment}: {what} in {model}",
        question=experiment.question.format(facts=what, model=model),
        finding=outcome.findings[0],
        verdicts=outcome.verdicts,
        also=outcome.findings[1:],
        figures=drawing.figures,
        tables=drawing.tables,
        caveats=_lost(ledger) + partial + _prompted(ledger, question, kept) + _searched(ledger) + outcome.caveats,
        not_tested=outcome.not_tested,
        result=msgspec.json.decode(msgspec.json.encode(result)),
        controls=outcome.controls,
        **common,
    )


def _lost(ledger: Ledger) -> tuple[str, ...]:
    notice = ledger.condition.notice
    return (f"{notice[0].upper()}{notice[1:]}.",) if notice else ()


def _searched(ledger: Ledger) -> tuple[str, ...]:
    """What a search left out that preceded the study."""
    return tuple(ledger.notes().get(LEFT_OUT, ()))


def _prompted(ledger: Ledger, question: Question, rows: pd.DataFrame) -> tuple[str, ...]:
    """What is to be known of the prompts: a chat, answers that follow by another join than one blank beyond doubt,
    subjects at the attention sink."""
    chat = (CHAT,) * bool(question.chat)
    joined = [f"Between prompt and answer: {told(j)}." for j in rows["join"].dropna().unique() if j]
    return (*chat, *joined, *(SUNK,) * ("subject first" in ledger.notes()))


def _what(e) -> str:
    under = f" under “{e.template}”" if e.template else ""
    return f"{e.relation}({e.subject}) = {e.object}{under}"


def _environment(spec: Spec, notes: dict[str, Any]) -> dict[str, str]:
    m = spec.model
    return {
        "model": f"{m['name']}: {m['family']}, {m['layers']} layers of {m['heads']} heads and {m['neurons']:,} neurons",
        "weights": str(m["weights"]),
        "tokenizer": str(m["tokenizer"]),
        "arithmetic": f"{m['dtype']} on {m['device']}",
        "fast path against plain passes": str(notes.get("self-test", "not run")),
        "sweeps by route": ", ".join(f"{ROUTES[r]}: {n}" for r, n in notes.get("routes", {}).items()) or "not run",
        **{k: str(v) for k, v in spec.versions.items()},
        "report made": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
