"""What is worth measuring next in a study of claims."""

from __future__ import annotations

from lashley.claims.grammar import parse
from lashley.core.errors import LashleyError
from lashley.experiments.audit import Params, evidence, verdicts
from lashley.experiments.audit.steps import Step, steps
from lashley.study.study import Study


def following(study: Study) -> list[Step]:
    """What is worth measuring next, best first; [] where nothing is open. Raises `LashleyError` for another study."""
    if not isinstance(study.params, Params):
        raise LashleyError(f"{study.folder} makes no claims; `lashley audit` takes them, and this takes its studies")
    params, table, ledger = study.params, study.table, study.ledger
    return steps(
        params,
        verdicts(params, table),
        evidence(params, [parse(c) for c in params.claims], table),
        folder=study.folder,
        progress=ledger.progress(),
        speed=ledger.notes().get("trials a second"),
        model=ledger.spec.model,
        question=study.question,
    )
