"""What can be asked about: facts and tasks."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from lashley.cli.options import Running, opened
from lashley.report.console import Console, say
from lashley.report.progress import progress_of

facts_app = App(name="facts", help="The facts that can be asked about.")
tasks_app = App(name="tasks", help="Tasks of the literature, as families of prompts.")


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
        bench = opened(running)
        known = api.known(bench, relation, language, progress)
    listings.known(Console(), known, running.model, running.json)


@tasks_app.command(name="list")
def tasks_list() -> None:
    """The tasks, each with an item, its readout and its corruption."""
    from lashley.cli import listings

    listings.tasks(Console())
