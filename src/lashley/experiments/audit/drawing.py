"""What an audit found in pictures and tables: criteria beside their thresholds, prompts, and all claims at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from lashley.claims import topics as about
from lashley.claims.grammar import parse
from lashley.claims.spread import BREAKS
from lashley.claims.verdicts import compared, lacking
from lashley.core.claim import Verdict
from lashley.core.figure import Column, Table, number
from lashley.core.outcome import Drawing
from lashley.core.site import brief
from lashley.experiments.audit.measuring import Audited, Result, evidence
from lashley.experiments.audit.params import Params, asks
from lashley.report.charts import audits
from lashley.stats.summary import CAP, measured, readings

if TYPE_CHECKING:
    import pandas as pd


def draw(params: Params, result: Result, table: pd.DataFrame) -> Drawing:
    """Criteria beside their thresholds, damage prompt by prompt, and the site among its peers; or all claims."""
    verdicts, claims = result.verdicts, [parse(c) for c in params.claims]
    each = evidence(params, claims, table)
    shown = [(v, c, e.rows) for v, c, e in zip(verdicts, claims, each, strict=True) if e is not None and v.criteria]
    figures = [audits.overview(verdicts)] if len(verdicts) > 1 else []
    for i, (verdict, claim, rows) in enumerate(shown[:3]):
        figures += audits.pictures(verdict, rows, i, claim.thresholds.alpha)
    tables = [*_readings(params, table), *(_criteria(v) for v in verdicts[:12] if v.criteria)]
    if len(verdicts) > 1:
        tables.insert(0, _became(result.claims))
    return Drawing(tuple(figures), tuple(tables))


def _readings(params: Params, table: pd.DataFrame) -> Iterator[Table]:
    """What effects are shares of, and what knocking out the first site of each topic makes of the readout."""
    rows = measured(table)
    for i, topic in enumerate(asks(params)[:3] if len(rows) else ()):
        own = rows[(rows["question"].astype(str) == str(i)) & (rows["group"] == "confirm")]
        knocked = own[(own["measure"] == "damage") & (own["edit"] == "mean") & (own["trial"] == 0) & own["set"].isna()]
        what = f"mean knockout of {brief(topic.sets[0])}"
        for each in readings(own, knocked, what):
            yield each if not i else msgspec.structs.replace(each, title=f"{about.name(topic.about)}: {each.title}")


def _became(claims: Sequence[Audited]) -> Table:
    """Every claim with its verdict, what its site costs the fact, and what it costs unrelated text."""
    rows = []
    for verdict, lost in ((c.verdict, c.loss) for c in claims[:200]):
        damage = next((c.effect for c in verdict.criteria if c.criterion == "necessary"), None)
        more = None if lost is None else lost.value
        rows.append((verdict.said, verdict.outcome, damage, more, verdict.weaker or verdict.why))
    note = f"The first 200 of {number(len(claims))}. " if len(claims) > 200 else ""
    note += f"{CAP} A site whose knockout costs unrelated text {BREAKS:g} nats a token or more breaks the model."
    columns = (
        Column("claim"), Column("verdict"), Column("damage", "share of the logit difference"),
        Column("loss on unrelated text", "nats a token more"), Column("what the evidence supports"),
    )  # fmt: skip
    return Table("What became of each claim", columns, tuple(rows), note)


def _criteria(verdict: Verdict) -> Table:
    columns = (Column("criterion"), Column("verdict"), Column("measured"), Column("p, adjusted"), Column("on"))
    rows = tuple(
        (c.criterion, c.status, compared(c), None if c.criterion == "monosemantic" else c.p, c.note)
        for c in verdict.criteria
    )
    note = f"{verdict.why} p: of the threshold itself, two-sided; of chance, by permutation where it holds and exact "
    note += f"binomial where it fails; after Holm where one fails. {CAP}"
    open_ = [f"{c.criterion}: about {lacking(c)}" for c in verdict.criteria if c.missing]
    note += f" What is open might be decided by {'; '.join(open_)}." if open_ else ""
    return Table(f"The criteria of “{verdict.said}”", columns, rows, note)
