"""From the result of a tracing to its sentences. Pure."""

from __future__ import annotations

from lashley.core.figure import Control, Estimate, Finding, plain
from lashley.core.outcome import Outcome
from lashley.experiments.locate.measuring import Carrier, Handover, Restored, Result
from lashley.experiments.locate.planning import Params
from lashley.stats.summary import percent, share

NAMES = {"resid": "residual stream", "attn": "attention output", "mlp": "MLP output"}


def tell(params: Params, result: Result) -> Outcome:
    """Where the subject's position hands over to the final one, and how much the best single output restores."""
    basis, best = f"Over {result.basis.resting}", result.strongest
    sentence = f"In recalling {result.facts}, {_the_strongest(result)} restores {percent(best.share)}"
    if (other := result.opposite) is not None:
        sentence += f"; {other.site} does more, the other way: it restores {share(other.share)}"
    chosen = f"{basis} It is the largest of {result.outputs} cells, chosen on the same prompts."
    moves = () if result.handover is None else handover(result.handover, result.facts, basis)
    findings = (*moves, Finding(f"{sentence}.", best.share, chosen))
    findings = tuple(sorted(findings, key=lambda finding: finding.estimate is None))
    not_tested = (
        "Necessity (see knockout), other contexts and languages, editing, and single heads or neurons.",
        "An untrained copy of the model and label-shuffled facts: these controls come with claims.",
    )
    return Outcome(findings, tuple(_controls(result)), tuple(_caveats(result)), not_tested)


def _controls(result: Result) -> list[Control]:
    floor = Estimate(result.noise_floor)
    controls = [Control("identity edit", floor, "the numerical noise floor; smaller effects say nothing")]
    if result.beginning is not None:
        reading = "restored share; it precedes the subject: any effect would be an error"
        controls.append(Control("beginning of the text", Estimate(result.beginning), reading))
    return controls


def _caveats(result: Result) -> list[str]:
    caveats = [
        "Restoration shows that an activation suffices to carry the answer from there on, not that the fact is "
        "stored there, nor that it is needed: backups may exist.",
        "A position's role is averaged over the positions that have it, each restored alone.",
    ]
    if result.window:
        caveats.append(
            f"Windows of {result.window} layers were restored together; windows alone can make a peak. Those that the "
            "first or the last layer cuts off have fewer layers, and are cells of their own."
        )
    if result.templates == 1:
        caveats.append("One template only: the map may be that of the wording.")
    return caveats


def handover(found: Handover, what: str, basis: str) -> tuple[Finding, ...]:
    """Between which layers the answer leaves the last subject token, or why that is not to be seen. () while too little
    is measured."""
    begin, carried = f"In recalling {what}, ", found.subject_last
    if not carried:
        sentence = f"{begin}the subject ends at the final token: no handover between two tokens is to be seen."
        return (Finding(sentence),) if found.final else ()
    last, first, leaves = len(carried) - 1, found.arrives, found.leaves
    if first is None:
        peak = max(range(last + 1), key=lambda la: carried[la].value or 0.0)
        sentence = (
            f"{begin}no layer's residual stream at the last subject token brings back half of the logit difference: at "
            f"most {share(carried[peak])}, entering layer {peak}. {_carrier(found.carrier)}"
        )
        return (Finding(sentence, carried[peak], basis),)
    late = ""
    if first:
        late = (
            f"the answer reaches the last subject token by layer {first} ({share(carried[first])}; entering layer "
            f"{first - 1}, {share(carried[first - 1])}), and "
        )
    end = f" {_carrier(found.carrier)}" if first else ""
    if leaves is None:
        sentence = (
            f"{begin}{late}the residual stream restored at the last subject token still brings back "
            f"{percent(carried[last])} entering layer {last}, the last: the answer does not leave it before.{end}"
        )
        return (Finding(sentence, carried[last], basis),)
    before, after = carried[leaves - 1], carried[leaves]
    sentence = (
        f"{begin}{late or 'the answer '}leaves {'it' if first else 'the last subject token'} between layers "
        f"{leaves - 1} and {leaves}: the residual stream restored there brings back {percent(before)} entering layer "
        f"{leaves - 1} and {share(after)} entering layer {leaves}"
    )
    if leaves < len(found.final):
        sentence += f"; at the final token, {share(found.final[leaves - 1])} and {share(found.final[leaves])}"
    return (Finding(f"{sentence}.{end}", before, basis),)


def _carrier(found: Carrier | None) -> str:
    """What else of the subject brings back most entering layer 0, and where it no longer does."""
    if found is None:
        return "It is the only token of the subject."
    name = f"the {_role(found.role)}" if found.token is None else f"token {found.position} “{plain(found.token)}”"
    words = f"Of the subject's other tokens {name} brings back most entering layer 0, {share(found.shares[0])}"
    if found.leaves is None:
        return f"{words}."
    before, after = share(found.shares[found.leaves - 1]), share(found.shares[found.leaves])
    return f"{words}; the answer leaves it between layers {found.leaves - 1} ({before}) and {found.leaves} ({after})."


def _the_strongest(result: Result) -> str:
    best = result.strongest
    if result.window and best.kind != "resid":
        return f"the strongest window of {NAMES[best.kind]}s, {_place(best)},"
    return f"the strongest single {NAMES[best.kind]}, that of {_place(best)},"


def _place(best: Restored) -> str:
    first, last = best.layers
    return f"{f'layers {first} to {last}' if first < last else f'layer {first}'} at the {_role(best.role)}"


def _role(role: str) -> str:
    role = {"subject_last": "last subject", "subject_first": "first subject", "begin": "first"}.get(role, role)
    return f"{role.replace('_', ' ')} {'positions' if role in ('relation', 'subject_middle') else 'token'}"
