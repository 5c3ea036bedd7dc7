"""What an audit found in words: every verdict, what the claims come to together, the controls, and what is open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from lashley.claims.criteria import percent_of
from lashley.claims.grammar import parse
from lashley.claims.spread import broken, signed, told
from lashley.core.claim import CRITERIA, Verdict
from lashley.core.figure import Control, Estimate, Finding, number, plural
from lashley.core.outcome import Outcome
from lashley.experiments.audit.measuring import Audited, Controls, Result
from lashley.experiments.audit.params import Params
from lashley.stats.summary import CAP, share

OUTCOMES = ("supported", "refuted", "undecided", "not testable")
TOLD = 12  # claims that have a sentence of their own


def tell(params: Params, result: Result) -> Outcome:
    """The verdict, its weaker sentence, and the controls."""
    verdicts = result.verdicts
    together = [_count(verdicts), *map(told, result.spreads)] if len(verdicts) > 1 else []
    findings = (*together, *map(_finding, result.claims[:TOLD]))
    caveats = [
        "A verdict is about this model, these prompts and these thresholds; the README says how often the instrument "
        "errs on models whose truth is known.",
        "Self-repair is looked for in the later MLPs only, and rivals among sets of the same size and kind.",
        *_untested(verdicts),
    ]
    if params.unknown:
        caveats.insert(0, "Asked although the model may not know the facts: this is a trial of the instrument.")
    if params.searched:
        caveats.insert(0, "The sites were found by a search: of so many that were tried, some look strong by chance.")
    not_tested = ("Editing: whether changing the site changes the answer, and spares others.",)
    return Outcome(findings, tuple(_controls(result.controls)), tuple(caveats), not_tested, tuple(verdicts))


def _untested(found: Sequence[Verdict]) -> Iterator[str]:
    """Which criteria were not tested, and of how many claims."""
    judged_ = [v for v in found if v.criteria]
    for criterion in CRITERIA:
        of = sum(v[criterion].status == "not tested" for v in judged_)
        if of:
            whose = f" (of {number(of)} of {number(len(judged_))} claims)" if of < len(judged_) else ""
            yield f"Not tested: {criterion}{whose}."


def _finding(found: Audited) -> Finding:
    verdict, lost = found.verdict, found.loss
    first = next((c.effect for c in verdict.criteria if c.effect is not None), None)
    sentence = f"“{verdict.said}”: {verdict.outcome}. {verdict.why.split(': ', 1)[1]}"
    if verdict.weaker:
        sentence += f" What the evidence supports: {verdict.weaker}"
    if not verdict.criteria:
        return Finding(sentence, first)
    alpha = parse(verdict.claim).thresholds.alpha
    basis = f"Each criterion is tested at {percent_of(alpha)}, a failing one after Holm; {percent_of(1 - alpha)} t "
    basis += f"intervals on cluster means. {CAP}"
    if lost is not None and lost.value is not None:
        basis += f" Knocked out, the loss on unrelated text changes by {signed(lost.value)} nats a token "
        basis += f"({plural(lost.n or 0, 'text')})."
        if words := broken(lost.value):
            sentence += f" {words}"
    return Finding(sentence, first, basis)


def _count(verdicts: Sequence[Verdict]) -> Finding:
    counts = Counter(v.outcome for v in verdicts)
    words = ", ".join(f"{counts[o]} {o}" for o in OUTCOMES if counts[o])
    return Finding(f"Of {number(len(verdicts))} claims: {words}.", None, "Benjamini-Hochberg across the claims.")


def _controls(found: Controls) -> Iterator[Control]:
    reading = "the numerical noise floor, a share: smaller effects say nothing"
    yield Control("identity edit", Estimate(found.identity.value), reading)
    own = found.own.value
    what = (
        ("an untrained copy of the model", "in the readout of random weights", found.untrained),
        ("label-shuffled facts", "in the difference between two other facts' answers", found.shuffled),
    )
    for name, words, change in what:
        if change.value is not None and own:
            many = plural(change.n or 0, "knockout")
            reading = f"mean change, in logits, by the same knockouts ({many}) {words}, where nothing of this fact can "
            reading += (
                f"be lost: {share(Estimate(change.value / own))} of what they change in this fact's own readout, "
            )
            reading += f"{number(own)} logits"
            yield Control(name, Estimate(change.value), reading)
    if found.random.n:
        reading = f"damage, a share: mean and 95% range of {plural(found.random.n, 'site')}"
        yield Control("matched random sites", msgspec.structs.replace(found.random, unit=""), reading)
