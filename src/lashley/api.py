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
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lashley import experiments
from lashley.claims import grammar
from lashley.claims.files import read as read_claims
from lashley.core.case import Estimated, Known
from lashley.core.claim import Claim
from lashley.core.cost import Cost
from lashley.core.errors import BadFact, BadModel, BadPlant, BadPrompt, LashleyError, StudyConflict
from lashley.core.fact import Fact
from lashley.core.progress import Progress, silent
from lashley.core.question import Question
from lashley.core.run import Run
from lashley.core.site import Site, parse_sites
from lashley.engine.bench import Bench
from lashley.engine.checkpoints import EMBEDDED, load
from lashley.engine.explain import explain
from lashley.engine.families import family
from lashley.engine.model import Model
from lashley.engine.selftest import checked
from lashley.engine.stream import Store
from lashley.experiments import audit as audits
from lashley.facts.base import shipped
from lashley.facts.question import find, resolve
from lashley.features.search import search
from lashley.models import planted
from lashley.models.embedded.check import figures
from lashley.prompts.joining import settled
from lashley.prompts.recall import recall
from lashley.study.next import following
from lashley.study.study import LEFT_OUT, STUDIES, Study, begin, keeping, planned, resumable


def open_model(
    model: str | Path | PreTrainedModel = EMBEDDED,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    memory: str | int = "512MiB",
) -> Bench:
    """A model on the bench, self-tested: by name, folder, GGUF file or hub id; or a model of transformers that is open
    already, with its tokenizer. That one stays where it is and as precise as it is, and is frozen, in evaluation mode,
    with its attention reached through ours. `memory` bounds activations in flight. Raises `BadModel` or
    `UnknownFamily`."""
    if isinstance(model, str | Path):
        if tokenizer is not None:
            raise BadModel(f"{model} brings its own tokenizer; leave tokenizer out")
        return checked(load(str(model), device, dtype, size(memory)))
    kind = type(model).__name__
    if not isinstance(model, PreTrainedModel):
        raise BadModel(f"a {kind} is no model; give a name, a folder, or a PreTrainedModel with tokenizer=")
    family(model.config.model_type)
    if model.get_output_embeddings() is None:
        raise BadModel(f"{kind} unembeds nothing; give a causal language model, as AutoModelForCausalLM opens it")
    if tokenizer is None:
        raise BadModel(f"{kind} comes without its tokenizer; give it too: open_model(model, tokenizer=tokenizer)")
    if not (isinstance(tokenizer, PreTrainedTokenizerBase) and tokenizer.is_fast):
        raise BadModel("this is no fast tokenizer, which locating the subject's tokens needs; open it by AutoTokenizer")
    return checked(Model(model, tokenizer, model.name_or_path or kind, size(memory)))


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


def ask(
    experiment: str,
    bench: Bench | str = EMBEDDED,
    prompt: str | None = None,
    *,
    study: str | Path | None = None,
    **words,
) -> Study:
    """Run one experiment. `words` are the fields of `Question` (relation, subject, object, ...) and of the
    experiment's own `Params`, and `progress`. Lists are taken where the command line takes them: of `kinds`, and of
    `units`, as text or `Site`."""
    words = {k: _text(v) if k == "units" else v for k, v in words.items()} | ({"prompt": prompt} if prompt else {})
    kind = experiments.find(experiment).Params
    own = {f.name for f in fields(kind)}
    asking = set(Question.__struct_fields__)
    progress: Any = words.pop("progress", silent)
    if unknown := set(words) - own - asking:
        raise LashleyError(
            f"{experiment} has no {', '.join(sorted(unknown))}; it takes {', '.join(sorted(own | asking))}"
        )
    try:
        question = msgspec.convert({k: v for k, v in words.items() if k in asking}, Question)
        params = msgspec.convert({k: v for k, v in words.items() if k in own}, kind)
    except msgspec.ValidationError as e:
        raise LashleyError(f"{experiment}: {e}") from e
    return run(experiment, params, question, _bench(bench), study, progress)


def _text(sites: Any) -> Any:
    """Sites as one text, where they are a list.

    >>> _text(["L4.mlp.n1", "L5.attn+L6.attn"]), _text("heads")
    ('L4.mlp.n1 L5.attn+L6.attn', 'heads')
    """
    return " ".join(map(str, sites)) if isinstance(sites, list | tuple) else sites


def locate(bench: Bench | str = EMBEDDED, prompt: str | None = None, **words) -> Study:
    """Causal tracing; see `lashley.experiments.locate.Params` and `Question` for the words."""
    return ask("locate", bench, prompt, **words)


def knockout(bench: Bench | str = EMBEDDED, prompt: str | None = None, **words) -> Study:
    """Knockouts; see `lashley.experiments.knockout.Params` and `Question` for the words."""
    return ask("knockout", bench, prompt, **words)


def attention(bench: Bench | str = EMBEDDED, prompt: str | None = None, **words) -> Study:
    """Attention knockouts; see `lashley.experiments.attention.Params` and `Question` for the words."""
    return ask("attention", bench, prompt, **words)


def stability(bench: Bench | str = EMBEDDED, prompt: str | None = None, **words) -> Study:
    """Stability of a map; see `lashley.experiments.stability.Params` and `Question` for the words."""
    return ask("stability", bench, prompt, **words)


def spread(bench: Bench | str = EMBEDDED, prompt: str | None = None, **words) -> Study:
    """How spread out a fact is; see `lashley.experiments.spread.Params` and `Question` for the words."""
    return ask("spread", bench, prompt, **words)


def circuit(bench: Bench | str = EMBEDDED, prompt: str | None = None, **words) -> Study:
    """The circuit of a fact, a relation or a task; see `lashley.experiments.circuit.Params` and `Question`."""
    return ask("circuit", bench, prompt, **words)


def claims(sentences: Iterable[str] = (), file: str | Path | None = None) -> tuple[Claim, ...]:
    """Claims from sentences and from a file. Raises `BadClaim`, or `LashleyError` for a file that cannot be read."""
    typed = [grammar.parse(text) for text in sentences]
    return (*typed, *(read_claims(file).claims if file else ()))


def audit(
    bench: Bench | str,
    *asserted: str | Claim,
    strongest: int = 0,
    units: str = "neurons",
    of: str | None = None,
    study: str | Path | None = None,
    progress: Progress = silent,
    chat: bool = False,
    **words,
) -> Study:
    """Audit claims; see `lashley.experiments.audit.Params` for the words. `strongest` units that recall `of` needs
    most, on discovery templates, are claimed to store it each. `chat`: prompts are messages in the tokenizer's chat
    template."""
    bench = _bench(bench)
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
        asserted = (*asserted, *(Claim((site,), "stores", about) for site in found.sites))
        words["searched"] = True
    params = audits.Params(claims=audits.frozen(asserted), **words)
    notes = {LEFT_OUT: found.left_out} if found else {}
    with keeping(bench, place) if place else nullcontext():  # a search is found again until its audit is planned
        begun = begin("audit", params, Question(chat=chat), bench, study, progress, notes)
    return begun.run(bench, progress)


def follow(
    study: str | Path, *, device: str = "cpu", memory: str | int = "512MiB", progress: Progress = silent
) -> Study | None:
    """Do what is best to measure next in an audit (see `lashley.study.next`): the study that it makes or goes on with,
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


def known(bench: Bench, relation: str, language: str = "en", progress: Progress = silent) -> list[Known]:
    """Which facts of a relation the model knows: its object ranks first on at least half of the templates."""
    asked = settled(bench, resolve(Question(relation=relation, language=language)))
    found = []
    for number, fact in enumerate(asked.facts):
        progress("asking what the model knows", number, len(asked.facts))
        try:
            answers = recall(bench, asked.relation, [fact], asked.templates)
        except BadPrompt as e:
            found.append(Known(fact, 0, 0, str(e)))
            continue
        wrong = [a.better for a in answers if a.better]
        first = len(answers) - len(wrong)
        found.append(Known(fact, first, len(answers), max(wrong, key=wrong.count) if wrong else ""))
    return found


def check(bench: Bench, progress: Progress = silent) -> dict[str, Any]:
    """What the embedded model knows: shares of prompts, facts and minimal pairs; see `lashley.models.embedded.check`.

    Of any other model: the share of facts known, for each shipped relation.
    """
    if bench.model.name == EMBEDDED:
        progress("asking every fact under every template", 0, 1)
        return figures(bench.model.module, bench.tokens.tokenizer)
    shares = {}
    for name in shipped():
        facts = known(bench, name, progress=lambda w, d, t, name=name: progress(f"{name}: {w}", d, t))
        shares[name] = sum(k.known for k in facts) / len(facts)
    return {"relations": shares}


def read(
    bench: Bench,
    texts: str | Path,
    sites: str | Sequence[str | Site],
    out: str | Path,
    store: Store = "float32",
    progress: Progress = silent,
) -> dict[Site, np.ndarray]:
    """Activations at `sites` (`L3.mlp+L5.attn.h1`) of every line of a text file, into .npy files in the folder
    `out`; see `Bench.stream`. Blank lines are left out; runs are numbered from 0 without them.

    Raises `BadSite`, `BadPrompt` with the line, and `LashleyError`; nothing is left behind then.
    """
    wanted = tuple(bench.anatomy.check(site) for site in parse_sites(_text(sites), bench.anatomy))
    total = 0
    for run in _lines(bench, texts):  # a slip in the last line is told before anything is computed
        total += 1
        for site in wanted:
            run.resolve(site)
    runs = _lines(bench, texts)
    return bench.stream(runs, wanted, out, store, lambda done: progress("reading", done, total))


def _lines(bench: Bench, texts: str | Path) -> Iterator[Run]:
    """The lines of a text file as runs."""
    number = 0
    try:
        with Path(texts).open(encoding="utf-8") as file:
            for line in file:
                number += 1
                if line.strip():
                    yield bench.tokens.run(line.rstrip("\r\n"))
    except BadPrompt as e:
        raise BadPrompt(f"{texts}, line {number}: {e}") from e
    except (OSError, UnicodeDecodeError) as e:
        why = e.strerror if isinstance(e, OSError) else "it is not UTF-8"
        raise LashleyError(f"{texts} cannot be read ({why}); give a text file, one text a line") from e


def size(text: str | int) -> int:
    """Bytes from `512MiB`, `2G` or a number. Raises `LashleyError`.

    >>> size("2GiB"), size("512M"), size(4096)
    (2147483648, 536870912, 4096)
    """
    if isinstance(text, int):
        return text
    number = text.strip().lower().removesuffix("ib").removesuffix("b")
    powers = {"k": 10, "m": 20, "g": 30, "t": 40}
    try:
        found = float(number.rstrip("kmgt")) * 2 ** powers.get(number[-1:], 0)
    except ValueError:
        found = 0
    if found < 1 << 20:
        raise LashleyError(f"memory {text!r} is not a size of at least 1MiB; write it as 512MiB or 2GiB")
    return int(found)
