"""The command line: parse, call, print. No logic."""

from __future__ import annotations

import dataclasses
import errno
import math
import os
import re
import shlex
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import cyclopts
from cyclopts import App, Parameter

from lashley import experiments
from lashley.cli import unforeseen
from lashley.core.address import KINDS
from lashley.core.errors import BadClaim, BrokenStudy, LashleyError
from lashley.experiments import audit as audits
from lashley.report.console import Console, say, say_json, spelt_out
from lashley.report.progress import progress_of

_LISTS = ("--kinds=", "--units=", "--sites=")


def _whole(kind: Any, tokens: Any) -> Any:
    """A word as what an option takes; cyclopts would round 0.5 draws to none."""
    if int in (kind, *get_args(kind)) and (bad := [t.value for t in tokens if "." in t.value]):
        raise ValueError(f"{bad[0]} is no whole number; write it in digits alone")
    return cyclopts.convert(kind, tokens)


app = App(
    name="lashley",
    help="Where does a fact live in a language model?",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(converter=_whole),
)
facts_app = App(name="facts", help="The facts that can be asked about.")
tasks_app = App(name="tasks", help="Tasks of the literature, as families of prompts.")
models_app = App(name="models", help="The models that can be asked.")
plan_app = App(name="plan", help="What an experiment would cost: rows, operations, memory, time. Measures nothing.")
app.command(plan_app)
app.command(facts_app)
app.command(tasks_app)
app.command(models_app)


@Parameter(name="*")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Asking:
    """What is asked: a relation of the fact base, or the prompt given as the first word.

    Parameters
    ----------
    relation
        A relation of the fact base (see: lashley facts list).
    task
        A task of the literature instead (see: lashley tasks list).
    subject
        One subject of it; without, every subject is asked about.
    object
        The object: needed with a prompt of your own; or another than the fact base has, that of a planted fact.
    foil_subject
        The subject that is put in its place; a prompt of your own needs none under --corruption noise.
    foil_object
        That subject's object, against which the answer is read: needed with a prompt of your own, under noise too.
    language
        Language of the templates.
    register
        Only statement, question, dialogue or list templates.
    max_facts
        At most so many facts, or items of a task, drawn at random.
    question_seed
        Seed of that draw and of the foils.
    chat
        Put every prompt into the tokenizer's chat template, as a user's message; the answer is how the reply begins.
    """

    relation: str | None = None
    task: str | None = None
    subject: str | None = None
    object: str | None = None
    foil_subject: str | None = None
    foil_object: str | None = None
    language: str = "en"
    register: Literal["statement", "question", "dialogue", "list"] | None = None
    max_facts: int | None = None
    question_seed: int = 0
    chat: Annotated[bool, Parameter(negative=())] = False


@Parameter(name="*")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Running:
    """On what, and where it is kept.

    Parameters
    ----------
    model
        embedded, gemma3-270m, a folder, a .gguf file or a hub id.
    device
        As torch names it: cpu, cuda, mps; auto spreads the layers over all cards.
    dtype
        Arithmetic: float32, bfloat16, float16, float64.
    memory
        Bound on activations in flight.
    study
        Folder of the study; by default one under ./studies/.
    json
        Print the page object as JSON, and nothing else.
    """

    model: str = "embedded"
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16", "float16", "float64"] = "float32"
    memory: str = "512MiB"
    study: Path | None = None
    json: Annotated[bool, Parameter(negative=())] = False


def _experiment(name: str) -> None:
    """A sub-command whose options are the experiment's own `Params`, and the same under `plan`."""
    experiment = experiments.find(name)
    if experiment.asks == "claims":  # see `audit`
        return

    def command(prompt=None, /, *, params=None, asking=None, running=None) -> None:
        question, own = asked(prompt, params, asking)
        running = running or Running()

        from lashley import api

        with progress_of(running.json) as progress:
            study = api.run(name, own, question, _open(running), running.study, progress)
        _print(study, running.json)

    def plan(prompt=None, /, *, params=None, asking=None, running=None) -> None:
        question, own = asked(prompt, params, asking)
        running = running or Running()

        from lashley import api
        from lashley.cli import listings

        with progress_of(running.json) as progress:
            cost = api.plan(name, own, question, _open(running), progress)
        listings.cost(Console(), cost, running.json)

    def asked(prompt, params, asking):
        from lashley.core.question import Question
        from lashley.facts.question import resolve_all

        words = dataclasses.asdict(asking or Asking())
        words |= {"seed": words.pop("question_seed"), "prompt": prompt}
        question, own = Question(**words), params or experiment.Params()
        resolve_all(question, own.corruption)  # a slip is told before a model is opened
        return question, own

    for each, to in ((command, app), (plan, plan_app)):
        each.__doc__ = experiment.about
        each.__annotations__ = {
            "prompt": str | None,
            "params": Annotated[experiment.Params | None, Parameter(name="*")],
            "asking": Asking | None,
            "running": Running | None,
        }
        to.command(each, name=name)


def _open(running: Running):
    from lashley import api

    return api.open_model(running.model, device=running.device, dtype=running.dtype, memory=running.memory)


for _name in experiments.names():
    _experiment(_name)


Gathering = dataclasses.make_dataclass(
    "Gathering",
    [(f.name, f.type, f) for f in dataclasses.fields(audits.Params) if f.name != "claims"],
    frozen=True,
    namespace={"__doc__": audits.Params.__doc__, "__module__": __name__},  # cyclopts takes no class of `types` apart
)


@app.command(help=audits.__doc__)
def audit(
    *claims: str,
    file: Path | None = None,
    strongest: int = 0,
    units: Literal["neurons", "heads"] = "neurons",
    of: str | None = None,
    chat: Annotated[bool, Parameter(negative=())] = False,
    gathering: Annotated[Gathering | None, Parameter(name="*")] = None,  # pyright: ignore[reportInvalidTypeForm]
    running: Running | None = None,
) -> None:
    """Audit claims.

    Parameters
    ----------
    claims
        Sentences: "L4.mlp.n173 stores capital(France)" (see: lashley claims).
    file
        A file of claims: TOML, JSON lines, CSV, or one a line.
    strongest
        Audit that each of so many units stores a fact: those that cost its recall most, on prompts that then
        confirm nothing.
    units
        What the strongest are sought among.
    of
        The fact that they are sought for: capital(France).
    chat
        Put every prompt into the tokenizer's chat template, as a user's message.
    """
    from lashley import api

    running = running or Running()
    words = dataclasses.asdict(gathering) if gathering else {}
    with progress_of(running.json) as progress:
        made = api.claims(claims, file)
        if not strongest:
            audits.frozen(made)  # a slip is told before a model is opened
        study = api.audit(
            _open(running), *made, strongest=strongest, units=units, of=of, study=running.study,
            progress=progress, chat=chat, **words,
        )  # fmt: skip
    _print(study, running.json)


claims_app = App(name="claims", help="What a claim may say: its language, options and files.", help_flags=())
app.command(claims_app)


@claims_app.default
def claims_page(*, help: Annotated[bool, Parameter(negative=(), alias="-h")] = False) -> None:
    """What a claim may say: its language, options and files."""
    from lashley.claims import manual

    say(manual.page())


@app.command
def calibrate(
    *,
    model: str = "embedded",
    quick: bool = False,
    small: bool = False,
    workers: int = 2,
    minutes: float = math.inf,
    device: str = "cpu",
    out: Path = Path("calibration"),
    json: bool = False,
) -> None:
    """How often the instrument errs: hundreds of claims of known truth, on planted and on null models.

    Stopped and started again, it goes on where it was.

    Parameters
    ----------
    quick
        Seven models, in minutes: single and redundant plants, and null models.
    small
        Few models, for a large one.
    workers
        Processes at work at once.
    minutes
        Begin no model after so many; what is done is summed up.
    device
        As torch names it: cpu, cuda, mps. Each worker has the model there once.
    out
        Folder of the records; the results go to a folder of the model's name in it.
    """
    from lashley.validation.calibrate import calibrate as work
    from lashley.validation.calibrate import trials
    from lashley.validation.rates import summary, table, write

    size = "quick" if quick else "small" if small else "standard"
    folder = out / (Path(model).name if size != "quick" else f"{Path(model).name}-quick")
    with progress_of(json, lines=True) as progress:
        records = work(model, folder, size, workers, progress, minutes, device)
        found = summary(Path(model).name, records, len(trials(model, size)))
    path = write(found, folder)
    if json:
        say_json(path.with_name("results.json").read_bytes())
    else:
        Console().print(table([found]), highlight=False)
        say(path)


@app.command
def plant(
    kind: str,
    /,
    *,
    fact: str,
    out: Path,
    model: str = "embedded",
    strength: float = 2.0,
    seed: int = 0,
    r: int | None = None,
    how: Literal["untrained", "shuffled weights"] | None = None,
) -> None:
    """Write a model of which it is known where a fact lives, because it was put there; or that it lives nowhere.

    KIND is single, redundant, split, shared or backup; cancelling, dormant, suppressor or unread, in which a naive
    measurement errs; or null.

    Parameters
    ----------
    fact
        The fact with its new object: "landmark(Trevi Fountain)=Madrid".
    out
        A new folder for the model, with truth.json beside it.
    strength
        How far the new object is to win, in gaps between the logits of facts that were learned.
    r
        Over how many neurons: of redundant and split.
    how
        What the weights are: of null.
    """
    from lashley import api

    own = {name: word for name, word in (("r", r), ("how", how)) if word is not None}
    with progress_of(False) as progress:
        truth = api.plant(model, kind, fact, out, strength=strength, seed=seed, progress=progress, **own)
    for role, sites in truth.units.items():
        say(f"{role}: {', '.join(sites)}")
    for name, number in truth.numbers.items():
        say(f"{name}: {number:.2f}")
    for claim in truth.true:
        say(f"true: {claim}")
    for claim in truth.false:
        say(f"false: {claim}")
    claim = next(iter((*truth.true, *truth.false)), f"L0.mlp stores {fact}")
    say(f"audit one with: {shlex.join(['lashley', 'audit', claim, '--model', str(out)])}")


@app.command
def demo(*, out: Path = Path("studies/demo")) -> None:
    """Two verdicts side by side: on a fact that training put into the embedded model, and on a planted one."""
    from lashley.report import terminal, write
    from lashley.validation.demo import demo as show

    with progress_of(False, lines=True) as progress:
        *studies, page = show(out, progress)
    for study in studies:
        study.write()
    path = write(page, out).html
    terminal.beside(Console(highlight=False), page.verdicts)
    for study in studies:
        say(study.folder / "report.html")
    say(path)


@app.command
def pitfalls(*, out: Path = Path("studies/pitfalls"), json: bool = False) -> None:
    """Published pitfalls on the embedded model: what standard methods say, what is there, what this instrument says."""
    from lashley.report import terminal, to_json, write
    from lashley.validation.pitfalls import pitfalls as show

    with progress_of(json, lines=True) as progress:
        page = show(out, progress)
    path = write(page, out).html
    if json:
        say_json(to_json(page))
    else:
        terminal.show(page, path)


@app.command
def judge(exported: Path, /, *, json: bool = False) -> None:
    """Judge the claims of an EXPORTED study again (parquet), with neither model nor torch."""
    from lashley.cli import listings
    from lashley.study.ledger.tidy import exported as read_export

    spec, table = read_export(exported)
    listings.verdicts(Console(), audits.again(spec.params, table), json)


@app.command(name="next")
def next_(
    study: Path, /, *, run: bool = False, json: bool = False, device: str = "cpu", memory: str = "512MiB"
) -> None:
    """What is worth measuring next in STUDY, an audit: what could settle the most open criteria a second comes first.

    Parameters
    ----------
    run
        Do the first, and show what came of it.
    """
    from lashley.cli import listings
    from lashley.study.next import following
    from lashley.study.study import Study

    steps = following(Study.open(study))
    if not (run and steps):
        listings.steps(Console(), steps, json)
        return

    from lashley import api

    with progress_of(json) as progress:
        done = api.follow(study, device=device, memory=memory, progress=progress)
    _print(done, json)


@app.command
def resume(study: Path, /, *, json: bool = False, device: str = "cpu", memory: str = "512MiB") -> None:
    """Do what is missing in STUDY, and nothing twice."""
    from lashley import api

    with progress_of(json) as progress:
        found = api.resume(study, device=device, memory=memory, progress=progress)
    _print(found, json)


@app.command
def report(study: Path, /, *, json: bool = False, out: Path | None = None) -> None:
    """Write and show the report of STUDY. Needs no model.

    Parameters
    ----------
    out
        The folder that it is written to; by default the study itself.
    """
    from lashley.study.study import Study

    _print(Study.open(study), json, out)


@app.command
def check(study: Path, /, *, json: bool = False) -> None:
    """Whether STUDY is as it was written: its checksums, and whether anything was lost. Every command that opens a
    study looks for the same."""
    from lashley.cli import listings
    from lashley.study.study import Study

    found = Study.open(study).ledger.condition  # which warns of what is lost
    listings.condition(Console(), study, found, json)
    if found.notice:
        sys.exit(2)


@app.command
def compare(first: Path, second: Path, /, *, out: Path | None = None, json: bool = False) -> None:
    """Two studies of one experiment side by side: what was asked otherwise, and which effects differ. Needs no model.

    Parameters
    ----------
    out
        A folder for the comparison as a page.
    json
        Print all of it as JSON, every effect included.
    """
    from lashley.report import terminal, write
    from lashley.study.comparison import compare as beside

    found = beside(first, second)
    page = found.page()
    path = write(page, out).html if out else None
    if json:
        sys.stdout.buffer.write(found.to_json())
    else:
        terminal.show(page, path)


@app.command
def export(
    study: Path,
    /,
    *,
    format: Literal["parquet", "csv", "json", "circuit", "graphml"] = "parquet",
    out: Path | None = None,
) -> None:
    """Write one tidy row per measurement; or the circuit that was found, as JSON or GraphML.

    Parameters
    ----------
    out
        The file; by default measurements.FORMAT in the study, or circuit.json or circuit.graphml. In CSV, words that a
        spreadsheet would take for a formula begin with an apostrophe.
    """
    from lashley.study.study import Study

    name = {"circuit": "circuit.json", "graphml": "circuit.graphml"}.get(format, f"measurements.{format}")
    path = out or study / name
    Study.open(study).export(path, format)
    if path.is_file():  # what went to a pipe is not a place to look
        say(path)


@app.command
def read(
    texts: Path,
    /,
    *,
    sites: str,
    out: Path,
    store: Literal["float32", "float16"] = "float32",
    running: Running | None = None,
) -> None:
    """Write the activations at some sites for every line of TEXTS, as .npy files.

    Parameters
    ----------
    sites
        What is read: "L3.mlp+L5.attn.h1", at every position, or @final.
    out
        A new folder for a file a site, and an index of runs and positions.
    store
        The numbers that are kept.
    """
    from lashley.core import address

    for word in address.words(sites):
        address.read(word)  # a slip is told before a model is opened

    from lashley import api

    running = running or Running()
    with progress_of(running.json) as progress:
        bench = _open(running)
        found = api.read(bench, texts, sites, out, store, progress)
    for site, array in found.items():
        say(f"{out / f'{site}.npy'}: {len(array):,} positions, {array.shape[1]} numbers each")


@facts_app.command(name="list")
def facts_list(relation: str | None = None, /) -> None:
    """The relations, or the facts of RELATION."""
    from lashley.cli import listings

    listings.facts(Console(), relation)


@facts_app.command(name="import")
def facts_import(file: Path, /) -> None:
    """Take in relations: a FILE as it is, or a folder of them.

    LRE, ParaRel, CounterFact, lists of known facts (known_1000) and RAVEL are read as they are, and lashley's own TOML:
    relation = "capital", [[template]] with text = "The capital of {} is", [facts] with France = "Paris", and, perhaps,
    [aliases] with "Paris" = ["the city of Paris"].
    """
    from lashley.facts.importers import folder, import_all, said, save

    taken = import_all(file)
    for relation in taken.relations:
        save(relation)
    for note in said(taken.notes):
        say(f"note: {note}")
    say(f"{taken}; kept in {folder()}")
    say(f"ask about one with: lashley locate --relation {taken.relations[0].name}")


@facts_app.command(name="check")
def facts_check(relation: str, /, *, running: Running | None = None, language: str = "en") -> None:
    """Which facts of RELATION the model knows."""
    from lashley.facts.question import find

    find(relation)

    from lashley import api
    from lashley.cli import listings

    running = running or Running()
    with progress_of(running.json) as progress:
        bench = _open(running)
        known = api.known(bench, relation, language, progress)
    listings.known(Console(), known, running.model, running.json)


@tasks_app.command(name="list")
def tasks_list() -> None:
    """The tasks, each with an item, its readout and its corruption."""
    from lashley.cli import listings

    listings.tasks(Console())


@models_app.command(name="list")
def models_list() -> None:
    """Models by name, and the families that are understood."""
    from lashley.engine.checkpoints import NAMES
    from lashley.engine.families import known

    for name, what in NAMES.items():
        say(f"{name:12} {what}")
    say("or a model folder (safetensors), a .gguf file, a hub id ORG/NAME")
    say(f"families: {', '.join(known())}")


@models_app.command(name="check")
def models_check(*, running: Running | None = None) -> None:
    """What the model knows: facts on trained and held-out templates, and grammar. Also the self-test."""
    from lashley import api
    from lashley.cli import listings

    running = running or Running()
    with progress_of(running.json) as progress:
        bench = _open(running)
        shares = api.check(bench, progress)
    listings.check(Console(), shares, bench.checked, running.json)


def _print(study, json: bool, out: Path | None = None) -> None:
    """Write the report and show it; where it cannot be written beside its study, it is shown all the same."""
    from lashley.report import terminal, to_json, write

    page, path = study.page(), None
    try:
        path = write(page, out or study.folder).html
    except BrokenStudy as e:
        if out:
            raise
        warnings.warn(
            f"{e}; `lashley report {shlex.quote(str(study.folder))} --out FOLDER` writes it elsewhere", stacklevel=1
        )
    if json:
        say_json(to_json(page))
    else:
        terminal.show(page, path)


def main() -> None:
    """Run. A user's mistake is one line and exit code 2, never a traceback; what nobody foresaw is one line, a file
    with the details, and 70; Ctrl-C is 130, and 141 where nobody reads the output any longer."""
    os.environ |= {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_VERBOSITY": "error"} | os.environ
    warnings.simplefilter("ignore")
    warnings.filterwarnings("default", module=r"lashley\.")
    warnings.showwarning = lambda message, *_, **__: _complain(f"warning: {_line(message)}")
    spelt_out()
    try:
        app(_listed(sys.argv[1:]), exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except cyclopts.CycloptsError as e:
        _complain(f"lashley: {_line(e).rstrip('.')}; see lashley --help")
        sys.exit(2)
    except BadClaim as e:
        told = e.pointed() if sys.stderr.isatty() else f"lashley: {_line(e)}"
        _complain(f"{told}; see lashley claims")
        sys.exit(2)
    except LashleyError as e:
        _complain(f"lashley: {_line(e)}")
        sys.exit(2)
    except KeyboardInterrupt as stop:
        _complain("; ".join(filter(None, ("lashley: stopped", str(stop)))))
        sys.exit(130)
    except BrokenPipeError:
        _unheard(sys.stdout)
        sys.exit(141)
    except Exception as e:
        if isinstance(e, UnicodeEncodeError) and "surrogates" in e.reason:
            _complain(f"lashley: {e.object[:80]!r} is not UTF-8; type it in UTF-8")
            sys.exit(2)
        if isinstance(e, OSError) and e.errno in FULL and not e.filename:
            _unheard(sys.stdout)
            _complain(f"lashley: the output cannot be written ({e.strerror}); make room, or send it elsewhere")
            sys.exit(2)
        _complain(f"lashley: {_line(unforeseen.told(e, sys.argv))}")
        sys.exit(70)


def _listed(words: list[str]) -> list[str]:
    """Lists as people write them: `--kinds attn mlp` and `--kinds attn,mlp` name the option again before each, and
    sites after `--units` or `--sites` become one list. What follows `--` stays as it is.

    >>> _listed(["locate", "--kinds", "attn,mlp", "resid", "A {} is", "--units", "L7.attn", "L8.attn"])
    ['locate', '--kinds', 'attn', '--kinds', 'mlp', '--kinds', 'resid', 'A {} is', '--units=L7.attn L8.attn']
    """
    made: list[str] = []
    end = words.index("--") if "--" in words else len(words)
    left = [part for word in words[:end] for part in (word.split("=", 1) if word.startswith(_LISTS) else [word])]
    while left:
        option = left.pop(0)
        made.append(option)
        if option == "--kinds" and left:
            kinds = left.pop(0).split(",")
            while left and set(left[0].split(",")) <= {*KINDS, ""}:
                kinds += left.pop(0).split(",")
            made += [word for kind in filter(None, kinds) for word in (option, kind)][1:]
        elif option in ("--units", "--sites") and left:
            sites = [left.pop(0)]
            while left and re.match(r"L[0-9*]|blocks\.|hook_|[+,]", left[0]):
                sites.append(left.pop(0))
            made[-1] = f"{option}={' '.join(sites)}"
    return made + words[end:]


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _complain(line: str) -> None:
    with suppress(OSError):  # nobody can be told
        say(line, error=True)
        sys.stderr.flush()


def _unheard(stream) -> None:
    """Send what is still to be written nowhere, so that ending does not fail as well."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _line(e: object) -> str:
    return " ".join(str(e).split())
