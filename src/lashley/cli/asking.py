"""A command for each experiment, and one that says beforehand what it would cost: both are made of its record."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from lashley import experiments
from lashley.cli.options import Flag, Running, opened, options, show
from lashley.core.experiment import AnyExperiment
from lashley.core.parameters import parameters
from lashley.core.question import Question, seed_of
from lashley.core.question import words as question_words
from lashley.experiments import audit as audits
from lashley.report.console import Console, say
from lashley.report.progress import progress_of

plan_app = App(name="plan", help="What an experiment would cost: rows, operations, memory, time. Measures nothing.")
claims_app = App(name="claims", help="What a claim may say: its language, options and files.", help_flags=())
COMMANDS: dict[str, Callable[..., None]] = {}  # by the experiment's name
Sentence = Annotated[str, Parameter(help='Sentences: "L4.mlp.n173 stores capital(France)" (see: lashley claims).')]
File = Annotated[Path | None, Parameter(help="A file of claims: TOML, JSON lines, CSV, or one a line.")]
Chat = Annotated[
    bool,
    Parameter(negative=(), help="Put every prompt into the tokenizer's chat template, as a user's message."),
]
REGISTER = Literal["statement", "question", "dialogue", "list"] | None


@claims_app.default
def claims_page(*, help: Annotated[bool, Parameter(negative=(), alias="-h")] = False) -> None:
    """What a claim may say: its language, options and files."""
    from lashley.claims import manual

    say(manual.page())


def of_facts(experiment: AnyExperiment) -> tuple[Callable[..., None], Callable[..., None]]:
    """The command of an experiment on facts, and the one that plans it."""

    def run(prompt=None, /, *, params=None, asking=None, running=None) -> None:
        own, question = asked(prompt, params, asking)
        running = running or Running()

        from lashley import api

        with progress_of(running.json) as progress:
            study = api.run(experiment.name, own, question, opened(running), running.study, progress)
        show(study, running.json)

    def plan(prompt=None, /, *, params=None, asking=None, running=None) -> None:
        planned(experiment, *asked(prompt, params, asking), running)

    def asked(prompt, params, asking) -> tuple[Any, Question]:
        from lashley.facts.question import resolve_all

        own = params or experiment.Params()
        given = dataclasses.asdict(asking) if asking else {}
        seed = seed_of(own, given.pop("seed", 0), given.pop("question_seed", None))
        question = Question(**given, prompt=prompt, seed=seed)
        resolve_all(question, own.corruption)  # a slip is told before a model is opened
        return own, question

    for each in (run, plan):
        each.__annotations__ = {
            "prompt": str | None,
            "params": Annotated[experiment.Params | None, Parameter(name="*")],
            "asking": asking_of(experiment),
            "running": Running | None,
        }
    return run, plan


def asking_of(experiment: AnyExperiment) -> Any:
    """The options that say what is asked."""
    kinds = {"register": REGISTER, "chat": Flag}
    taken = (
        p._replace(kind=kinds.get(p.name, p.kind)) for p in question_words(experiment.Params) if p.name != "prompt"
    )
    return options("Asking", taken)


def planned(experiment: AnyExperiment, params: Any, question: Question, running: Running | None) -> None:
    """Print what it would cost."""
    from lashley import api
    from lashley.cli import listings

    running = running or Running()
    with progress_of(running.json) as progress:
        cost = api.plan(experiment.name, params, question, opened(running), progress)
    listings.cost(Console(), cost, running.json)


def of_claims(experiment: AnyExperiment) -> tuple[Callable[..., None], Callable[..., None]]:
    """The command of an experiment on claims, and the one that plans it."""

    def run(
        *claims: Sentence,
        file: File = None,
        strongest: int = 0,
        units: Literal["neurons", "heads"] = "neurons",
        of: str | None = None,
        chat: Chat = False,
        gathering=None,
        running: Running | None = None,
    ) -> None:
        """Audit claims.

        Parameters
        ----------
        strongest
            Audit that each of so many units stores a fact: those that cost its recall most, on prompts that then
            confirm nothing.
        units
            What the strongest are sought among.
        of
            The fact that they are sought for: capital(France).
        """
        from lashley import api

        running = running or Running()
        words = dataclasses.asdict(gathering) if gathering else {}
        with progress_of(running.json) as progress:
            made = api.claims(claims, file)
            if not strongest:
                audits.frozen(made)  # a slip is told before a model is opened
            study = api.about_claims(
                experiment.name, opened(running), *made, strongest=strongest, units=units, of=of, chat=chat,
                study=running.study, progress=progress, **words,
            )  # fmt: skip
        show(study, running.json)

    def plan(
        *claims: Sentence, file: File = None, chat: Chat = False, gathering=None, running: Running | None = None
    ) -> None:
        from lashley import api

        words = dataclasses.asdict(gathering) if gathering else {}
        own = experiment.Params(claims=audits.frozen(api.claims(claims, file)), **words)
        planned(experiment, own, Question(chat=chat), running)

    gathering = options("Gathering", (p for p in parameters(experiment.Params) if p.name != "claims"))
    run.__annotations__["gathering"] = plan.__annotations__["gathering"] = gathering
    return run, plan


ON = {"facts": of_facts, "claims": of_claims}
for _name in experiments.names():
    _experiment = experiments.find(_name)
    COMMANDS[_name], _plan = ON[_experiment.asks](_experiment)
    COMMANDS[_name].__name__ = _plan.__name__ = _name
    plan_app.command(_plan, name=_name, help=_experiment.about)
