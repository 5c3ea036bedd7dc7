"""What is worth measuring next: which change of an audit could settle the most open criteria a second. Pure.

A criterion is open where a claim is undecided and needs it. What could settle it is more draws (of the topic's own
prompts), more matched random sites, or more other facts; where none of these helps, the reason is said in words.
"""

from __future__ import annotations

import itertools
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from lashley.claims.criteria import Evidence
from lashley.claims.grammar import parse
from lashley.claims.verdicts import UNREQUIRED
from lashley.core.claim import Claim, Judged, Verdict
from lashley.core.command import command
from lashley.core.question import Question
from lashley.stats.inference import FEWEST

if TYPE_CHECKING:
    from lashley.experiments.audit.params import Params

FOILS = 12  # corruptions of a prompt, at most, that are worth proposing
ASKED = Question()
WORDS = {  # the parameter -> what there are more of
    "draws": "corruptions of each prompt",
    "controls": "matched random sites",
    "others": "other facts",
}
OWN_PROMPTS = (
    "prompts of one's own: more templates of the fact, in a relation for `lashley facts import`; writing them costs "
    "nothing"
)


class Step(msgspec.Struct, frozen=True):
    """One thing to do. `settles` are (claim, criterion) that it could decide; `seconds`, None where the speed is not
    known, are those of measuring. `command` is what to type, "" where nothing can be run; a new audit has the `params`
    and the folder `study`, and finishing one has no `params`."""

    what: str
    settles: tuple[tuple[str, str], ...]
    seconds: float | None = None
    command: str = ""
    study: str = ""
    params: dict[str, Any] = {}


class Open(NamedTuple):
    """A criterion that is to be settled: by parameters at least as large, or, in words, why by none."""

    number: int  # of its claim
    criterion: str
    by: dict[str, int] | str


def steps(
    params: Params,
    verdicts: Sequence[Verdict],
    found: Sequence[Evidence | None],
    *,
    folder: str | Path,
    progress: tuple[int, int],
    speed: float | None,
    model: Mapping[str, Any],
    question: Question = ASKED,
) -> list[Step]:
    """What to do next, best first: most open criteria a second; what cannot be run comes last. [] where nothing is
    open.

    `found` is the evidence of each claim, `progress` how many of the study's trials are answered, `speed` how many it
    answers a second, `model` the heading of its model, `question` what is asked beside the claims. A study with trials
    missing is to be finished first.
    """
    answered, planned = progress
    if answered < planned or not planned:
        return [_finish(verdicts, folder, (planned - answered) / speed if speed and planned else None)]
    every = list(_open(params, verdicts))
    on = {option: str(model[name]) for option, name in (("model", "name"), ("dtype", "dtype")) if name in model}
    made = []
    for changes in _candidates(params, every):
        could = [o for o in every if isinstance(o.by, dict) and all(changes.get(k, 0) >= v for k, v in o.by.items())]
        which = sorted({o.number for o in could})
        trials = _trials(params, [found[i] for i in which], changes)
        changed = replace(params, claims=tuple(params.claims[i] for i in which), **changes)
        to = f"{folder}-{'-'.join(f'{k}-{v}' for k, v in changes.items())}"
        what = " and ".join(f"{v} {WORDS[k]} in place of {getattr(params, k)}" for k, v in changes.items())
        settles = tuple((verdicts[o.number].claim, o.criterion) for o in could)
        seconds = trials / speed if speed else None
        typed = command("audit", changed, question, study=to, **on)
        made.append(Step(what, settles, seconds, typed, to, asdict(changed)))
    made.sort(key=lambda s: -len(s.settles) / (s.seconds or 1.0))
    by_reason = sorted((o for o in every if isinstance(o.by, str)), key=lambda o: str(o.by))
    for reason, those in itertools.groupby(by_reason, lambda o: str(o.by)):
        made.append(Step(reason, tuple((verdicts[o.number].claim, o.criterion) for o in those)))
    return made


def _finish(verdicts: Sequence[Verdict], folder: str | Path, seconds: float | None) -> Step:
    settles = []
    for verdict in verdicts:
        if verdict.outcome == "undecided":
            decided = {c.criterion for c in verdict.criteria if c.status in ("holds", "fails")}
            needed = [c for c in parse(verdict.claim).required if c not in decided and c not in UNREQUIRED]
            settles += [(verdict.claim, c) for c in needed]
    what = "finish the study: trials are missing"
    return Step(what, tuple(settles), seconds, shlex.join(["lashley", "resume", str(folder)]), str(folder))


def _open(params: Params, verdicts: Sequence[Verdict]) -> Iterator[Open]:
    for number, verdict in enumerate(verdicts):
        if verdict.outcome == "undecided":
            claim = parse(verdict.claim)
            for c in verdict.criteria:
                if c.criterion in claim.required and c.status in ("undecided", "not tested"):
                    yield Open(number, c.criterion, remedy(params, claim, c))


def remedy(params: Params, claim: Claim, c: Judged) -> dict[str, int] | str:
    """The parameter that has to grow, and how far, for an open criterion to be probably decided; or why none does."""
    n = (c.effect.n or 0) if c.effect else 0
    if c.criterion == "better than chance":
        if n < params.controls:
            return "no more units of that kind are left to compare with: claim a head, a neuron or a set of them"
        least = max(params.controls, math.ceil(2 / claim.thresholds.alpha))
        return {"controls": params.controls + (c.missing or least)}
    if c.criterion == "specific":
        if c.note.startswith("other facts"):
            return {"others": _grown(params.others, n, c.missing)}
        return f"specific is open on what is not drawn ({c.note}): another threshold, or another seed"
    if c.criterion in UNREQUIRED or c.criterion == "monosemantic":
        return c.note
    if claim.about.prompt or c.criterion == "stable under domain":
        return OWN_PROMPTS
    if n < FEWEST:  # a template more is needed, not a draw
        return c.note if c.criterion == "not redundant" and not n else OWN_PROMPTS
    draws = _grown(params.draws, n, c.missing)
    return OWN_PROMPTS if params.corruption == "replace" and draws > FOILS else {"draws": draws}


def _grown(now: int, n: int, missing: int) -> int:
    """A parameter so much larger that there are as many replicates as are wanted."""
    return max(now + 1, math.ceil(now * (n + missing) / n)) if n else max(now + 1, FEWEST)


def _candidates(params: Params, every: Sequence[Open]) -> list[dict[str, int]]:
    """Each value that one parameter would have to grow to, and the largest of all at once."""
    wanted: dict[str, set[int]] = {}
    for o in every:
        for name, value in o.by.items() if isinstance(o.by, dict) else ():
            wanted.setdefault(name, set()).add(value)
    alone = [{name: value} for name, values in wanted.items() for value in sorted(values)]
    return [*alone, {name: max(values) for name, values in wanted.items()}] if len(wanted) > 1 else alone


def _trials(params: Params, found: Sequence[Evidence | None], changes: Mapping[str, int]) -> float:
    """Trials of an audit of these claims, were it to grow so; those that several claims rest on count once."""
    total, seen = 0.0, set()
    for rows in (e.rows[~e.rows.index.isin(seen)] for e in found if e is not None):
        seen |= set(rows.index)
        random_ = rows["measure"].astype(str).str.startswith("random")
        grows = {
            "draws": rows["group"].isin(("confirm", "paraphrase")) & ~random_,
            "controls": random_,
            "others": rows["group"] == "other",
        }
        total += len(rows)
        for name, value in changes.items():
            total += float(grows[name].sum()) * (value / max(getattr(params, name), 1) - 1)
    return total
