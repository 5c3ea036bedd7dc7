"""The laboratory from Python.

import lashley
bench = lashley.open_model("embedded")
study = lashley.locate(bench, relation="capital", subject="France")
study.table                      # a tidy data frame
study.figures[0]                 # shows itself in a notebook
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import fields
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from lashley import experiments
from lashley.api.opening import open_model, size
from lashley.api.reading import check, known, read, site_text
from lashley.claims import grammar
from lashley.claims.files import read as read_claims
from lashley.core.case import Estimated
from lashley.core.claim import Claim
from lashley.core.cost import Cost
from lashley.core.errors import BadFact, BadPlant, LashleyError, StudyConflict
from lashley.core.fact import Fact
from lashley.core.progress import Progress, silent
from lashley.core.question import Question, seed_of
from lashley.engine.bench import Bench
from lashley.engine.checkpoints import EMBEDDED
from lashley.engine.explain import explain
from lashley.experiments import audit as audits
from lashley.facts.question import find
from lashley.features.search import search
from lashley.models import planted
from lashley.study.beginning import begin
from lashley.study.identity import STUDIES
from lashley.study.page import LEFT_OUT
from lashley.study.planning import keeping, planned, resumable
from lashley.study.steps import following
from lashley.study.study import Study

if TYPE_CHECKING:
    from lashley.api.doors import ask, attention, audit, circuit, knockout, locate, spread, stability

__all__ = [
    "ask",
    "attention",
    "audit",
    "check",
    "circuit",
    "claims",
    "follow",
    "knockout",
    "known",
    "locate",
    "open_model",
    "plan",
    "plant",
    "read",
    "resume",
    "run",
    "size",
    "spread",
    "stability",
]

T = TypeVar("T")


def __getattr__(name: str) -> Any:
    """The function of an experiment; see `lashley.api.doors`."""
    if name == "ask" or name in experiments.names():
        return getattr(import_module(f"{__name__}.doors"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _bench(asked: Any) -> Bench:
    """What was given in place of a bench, opened."""
    return asked if isinstance(asked, Bench) else open_model(asked)


def run(
    experiment: str,
    params: Any,
    question: Question,
    bench: Bench,
    study: str | Path | None = None,
    progress: Progress = silent,
) -> Study:
    """Run one experiment. Asked again, it takes up the same study where it stands."""
    return begin(experiment, params, question, bench, study, progress).run(bench, progress)


def plan(experiment: str, params: Any, question: Question, bench: Bench, progress: Progress = silent) -> Cost:
    """What an experiment would cost, before it runs; asks the model what it knows, and measures nothing."""
    params = experiments.find(experiment).settled(params, bench.anatomy)
    sweeps = planned(experiment, params, question, bench, progress).sweeps
    return explain(bench, [s.sweep if isinstance(s, Estimated) else s for s in sweeps])


def resume(
    study: str | Path, *, device: str = "cpu", memory: str | int = "512MiB", progress: Progress = silent
) -> Study:
    """Do what is missing in a study, with the model it names. Raises `StudyConflict` where that model changed."""
    found = Study.open(study)
    if found.complete:
        found.ledger.recount()
        return found
    model = found.ledger.spec.model
    bench = open_model(model["name"], device=device, dtype=model["dtype"], memory=memory)
    if (bench.model.weights_hash, bench.model.tokenizer_hash) != (model["weights"], model["tokenizer"]):
        raise StudyConflict(
            f"{study} was made with other weights than {model['name']!r} has now; restore them, or begin another study"
        )
    return found.run(bench, progress)


def about_facts(
    experiment: str,
    bench: Bench | str | Path = EMBEDDED,
    prompt: str | None = None,
    *,
    study: str | Path | None = None,
    progress: Progress | None = None,
    **words: Any,
) -> Study:
    """Run one experiment on facts. `words` are those of its question and of its own `Params`, as `lashley.NAME` has
    them in its signature. Raises `LashleyError`.

    Parameters
    ----------
    bench
        A model that is open (see `open_model`); or its name, folder, GGUF file or hub id.
    prompt
        A prompt of your own, with {} where the subject goes: "The capital of {} is". Without, a relation or a task is
        asked about.
    study
        Folder of the study; by default one under ./studies/. What is measured there already is not measured again.
    progress
        Called as progress(doing, done, all) meanwhile.
    """
    kind = experiments.find(experiment).Params
    own = {f.name for f in fields(kind)}
    params = _made(experiment, kind, {k: site_text(v) if k == "units" else v for k, v in words.items() if k in own})
    asked: dict[str, Any] = {k: v for k, v in words.items() if k not in own} | (
        {} if prompt is None else {"prompt": prompt}
    )
    asked["seed"] = seed_of(params, asked.get("seed", 0), asked.pop("question_seed", None))
    question = _made(experiment, Question, asked)
    return run(experiment, params, question, _bench(bench), study, progress or silent)


def _made(experiment: str, kind: type[T], words: dict[str, Any]) -> T:
    """Parameters or a question from words. Raises `LashleyError` for one of another type."""
    try:
        return msgspec.convert(words, kind)
    except msgspec.ValidationError as e:
        raise LashleyError(f"{experiment}: {e}") from e


def claims(sentences: Iterable[str] = (), file: str | Path | None = None) -> tuple[Claim, ...]:
    """Claims from sentences and from a file. Raises `BadClaim`, or `LashleyError` for a file that cannot be read."""
    typed = [grammar.parse(text) for text in sentences]
    return (*typed, *(read_claims(file).claims if file else ()))


def about_claims(
    experiment: str,
    bench: Bench | str | Path,
    *claims: str | Claim,
    strongest: int = 0,
    units: Literal["neurons", "heads"] = "neurons",
    of: str | None = None,
    chat: bool = False,
    study: str | Path | None = None,
    progress: Progress | None = None,
    **words: Any,
) -> Study:
    """Run one experiment on claims. `words` are those of its own `Params`, as `lashley.NAME` has them in its signature.
    Raises `LashleyError`.

    Parameters
    ----------
    bench
        A model that is open (see `open_model`); or its name, folder, GGUF file or hub id.
    claims
        Sentences, as "L4.mlp.n173 stores capital(France)" (see: lashley claims), or `Claim`.
    strongest
        Claim that each of so many units stores a fact: those that its recall needs most, on discovery prompts, which
        then confirm nothing.
    units
        What the strongest are sought among.
    of
        The fact that they are sought for: capital(France).
    chat
        Put every prompt into the tokenizer's chat template, as a user's message.
    study
        Folder of the study; by default one under ./studies/. What is measured there already is not measured again.
    progress
        Called as progress(doing, done, all) meanwhile.
    """
    bench, progress = _bench(bench), progress or silent
    place, found = None, None
    if strongest:
        if not of:
            raise LashleyError("whose strongest units? name a fact: --of 'capital(France)'")
        about = grammar.check(grammar.parse(f"L0.mlp stores {of}")).about
        seed = words.get("seed", 0)
        asked = hashlib.blake2b(f"{of} {strongest} {units} {seed} {chat} {study}".encode(), digest_size=6).hexdigest()
        place = (Path(study).parent if study else STUDIES) / f".search-{asked}.sqlite"
        with resumable("the same command"), keeping(bench, place, planned=False):
            found = search(bench, about, strongest, units, seed, progress, chat=chat)
        claims = (*claims, *(Claim((site,), "stores", about) for site in found.sites))
        words["searched"] = True
    params = _made(experiment, audits.Params, {**words, "claims": audits.frozen(claims)})
    notes = {LEFT_OUT: found.left_out} if found else {}
    with keeping(bench, place) if place else nullcontext():  # a search is found again until its audit is planned
        begun = begin(experiment, params, Question(chat=chat), bench, study, progress, notes)
    return begun.run(bench, progress)


def follow(
    study: str | Path, *, device: str = "cpu", memory: str | int = "512MiB", progress: Progress = silent
) -> Study | None:
    """Do what is best to measure next in an audit (see `lashley.study.steps`): the study that it makes or goes on with,
    None where nothing is open. Raises `LashleyError` where only words would help."""
    found = Study.open(study)
    steps = following(found)
    if not steps:
        return None
    best = steps[0]
    if not best.command:
        raise LashleyError(f"{study}: nothing that can be run would settle what is open; it needs {best.what}")
    if not best.params:
        return resume(study, device=device, memory=memory, progress=progress)
    model = found.ledger.spec.model
    bench = open_model(model["name"], device=device, dtype=model["dtype"], memory=memory)
    params = msgspec.convert(best.params, audits.Params)
    return begin("audit", params, found.question, bench, best.study, progress).run(bench, progress)


def plant(
    bench: Bench | str,
    kind: str,
    fact: str | Fact,
    out: str | Path,
    *,
    strength: float = planted.STANDARD,
    seed: int = 0,
    progress: Progress = silent,
    **words,
) -> planted.Truth:
    """Plant `landmark(Trevi Fountain)=Madrid`, and write the model with its truth into the new folder `out`; the bench
    keeps the weights it has. `words` are those of one kind: `r` of redundant and split, `how` of null. Raises
    `BadPlant`."""
    module = planted.find(kind)
    own = {k: signature(planted.find(k).plant).parameters for k in planted.names()}
    for name in words:
        if name not in own[kind]:
            raise BadPlant(f"{kind} takes no {name}, which is for {' and '.join(k for k in own if name in own[k])}")
    if not 0 < strength < math.inf:
        raise BadPlant(f"strength {strength} is impossible; write a number above 0, {planted.STANDARD:g} as a rule")
    planted.free(out)
    fact = _new(fact) if isinstance(fact, str) else fact
    bench = _bench(bench)
    progress(f"planting {fact}", 0, 1)
    with planted.undoing(bench):
        truth = module.plant(bench, fact, strength=strength, seed=seed, **words)
        planted.write(bench, truth, out)
    progress(f"planting {fact}", 1, 1)
    return truth


def _new(text: str) -> Fact:
    """A fact with the object it shall get: `landmark(Trevi Fountain)=Madrid`."""
    claim = grammar.parse(f"L0.mlp stores {text}")
    about = grammar.check(claim).about
    if about.prompt or not (about.subject and claim.about.object):
        raise BadFact(
            f"{grammar.shown(text)} names no object to plant; write one, as 'landmark(Trevi Fountain)=Madrid'"
        )
    own = find(about.relation).objects[about.subject]
    return Fact(about.relation, about.subject, about.object or own)
