"""Every command that README, docs and the help show is understood; those that cost little are run as they are written.

All of them, as written and one after another, are run by `make test-examples`: gemma3-270m and half an hour are needed.
"""

import ast
import re
import shlex
import subprocess
import sys
from functools import cache
from inspect import getdoc
from pathlib import Path

import msgspec
import pytest

import lashley as package
from lashley import api, experiments
from lashley.claims import grammar
from lashley.cli import app as cli
from lashley.core.errors import LashleyError
from lashley.core.site import parse_sites
from lashley.validation import calibrate
from lashley.validation.demo import FACT

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [code for page in PAGES for kind, code in FENCED.findall(page.read_text("utf-8")) if kind == language]


def commands() -> list[tuple[str, ...]]:
    """The words of every command in a block of code, as a shell reads them."""
    lines = [line for code in blocks("") for line in code.replace("\\\n", " ").splitlines()]
    typed = [tuple(shlex.split(line, comments=True)) for line in lines]
    return [words[1:] for words in typed if words[:1] == ("lashley",)]


def mentioned() -> list[tuple[str, ...]]:
    """The words of every command in the running text: of pages, and of the help."""
    texts = [page.read_text("utf-8") for page in PAGES] + [" ".join(getdoc(app) or app.help for app in apps())]
    found = {m for text in texts for m in re.findall(r"`lashley ([^`]+)`|see:? lashley ([\w ]+)", text)}
    return sorted({tuple(shlex.split(" ".join(filter(None, m)))) for m in found})


def apps(app=cli.app):
    """The command line and all that is below it."""
    yield app
    for name in app:
        if not name.startswith("-"):
            yield from apps(app[name])


COMMANDS = commands()
EMBEDDED = [c for c in COMMANDS if c[0] in experiments.names() and "gemma3-270m" not in c and c[0] != "audit"]
LIGHT = ("report", "export", "check", "read", "facts list", "models list", "claims", "tasks list")
CHEAP = [c for c in COMMANDS if " ".join(c).startswith(LIGHT)]


class Reached(BaseException):
    """As far as opening a model."""


@pytest.fixture
def named(tmp_path, monkeypatch) -> Path:
    """A folder with the files that the examples name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LASHLEY_HOME", str(tmp_path / "home"))
    (tmp_path / "claims.toml").write_text("claims = ['L4.mlp.n173 stores capital(France)']\n")
    (tmp_path / "texts.txt").write_text("The capital of France is Paris.\n")
    return tmp_path


opened = cache(api.open_model)


def run(monkeypatch, capsys, words: tuple[str, ...]) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["lashley", *words])
    monkeypatch.setattr("warnings.showwarning", None)
    monkeypatch.setattr("warnings.filters", [])
    code = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    except Reached:
        code = -1
    return code, *capsys.readouterr()


def test_there_are_examples_of_every_kind():
    assert len(COMMANDS) > 20 and len(EMBEDDED) > 5 and len(CHEAP) > 5 and blocks("python")
    assert {c[0] for c in COMMANDS} >= {*experiments.names()} - {"stability"}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_an_example_is_understood_up_to_the_model(named, monkeypatch, capsys, words):
    if words[0] in ("report", "export", "check", "compare", "next", "resume"):
        with pytest.raises(LashleyError, match="STUDY is not a study"):
            package.Study.open(words[1])
        cli.app.parse_args(words, exit_on_error=False, print_error=False)
        return

    def reached(*_, **__):
        raise Reached

    monkeypatch.setattr(api, "open_model", reached)
    monkeypatch.setattr(calibrate, "_each", reached)
    code, _, err = run(monkeypatch, capsys, words)
    assert code in (0, -1), err


@pytest.mark.parametrize("words", mentioned(), ids=" ".join)
def test_a_command_that_is_mentioned_is_there_with_its_options(words):
    app = cli.app
    while words and words[0] in app:
        app, words = app[words[0]], words[1:]
    options = {name for argument in app.assemble_argument_collection() for name in argument.names}
    assert app is not cli.app and all(w in options for w in words if w.startswith("--"))


@pytest.mark.parametrize("words", EMBEDDED, ids=" ".join)
def test_an_example_of_an_experiment_can_be_planned(named, monkeypatch, capsys, words):
    monkeypatch.setattr(api, "open_model", lambda *_, **__: opened())
    code, out, err = run(monkeypatch, capsys, ("plan", *words))
    assert code == 0 and "Nothing was measured" in out, err


def test_cheap_examples_run_as_they_are_written(named, monkeypatch, capsys):
    monkeypatch.setattr(api, "open_model", lambda *_, **__: opened())
    asked = {"relation": "capital", "subject": "France", "kinds": ("resid",), "register": "list"}
    package.locate(opened(), **asked, study=named / "STUDY")
    for words in CHEAP:
        code, out, err = run(monkeypatch, capsys, words)
        assert code == 0 and out, (words, err)


@pytest.mark.parametrize("code", [*blocks("python"), package.__doc__ or ""], ids=lambda c: f"{len(c)} letters")
def test_python_examples_run(named, monkeypatch, code):
    monkeypatch.setattr(api, "open_model", lambda *_, **__: opened())
    if "\n    " in code:
        code = "import lashley\n" + "\n".join(line[4:] for line in code.splitlines() if line.startswith("    "))
    space: dict = {}
    exec(compile(ast.parse(code), "example", "exec"), space)
    assert len(space["study"].table) and (space["study"].folder / "report.html").is_file()


# -- examples in the help of an option ------------------------------------------------------------------------


def shown() -> list[tuple[str, str]]:
    """(option, its help), of every command."""
    found = {}
    for app in apps():
        for argument in app.assemble_argument_collection(parse_docstring=True) if app.default_command else ():
            found[argument.name, str(argument.parameter.help or "")] = None
    return list(found)


QUOTED = [(option, text) for option, help in shown() for text in re.findall(r'"([^"]*)"', help)]
QUOTED = sorted({q for q in QUOTED if re.search(r"^L\d|^blocks|\w\(", q[1])})


@pytest.mark.parametrize(("option", "text"), QUOTED, ids=map(" ".join, QUOTED))
def test_a_value_that_the_help_shows_is_taken(option, text):
    if re.match(r"L\d|blocks", text) and " " not in text:
        anatomy = msgspec.structs.replace(opened().anatomy, layers=18)
        assert [anatomy.check(site) for site in parse_sites(text, anatomy)]
    elif option == "--fact":
        assert api._new(text) == FACT, "what the help tells to plant is what the demo plants"
    else:
        assert grammar.check(grammar.parse(text if " " in text else f"L0.mlp stores {text}"))


def test_the_help_shows_sites_claims_and_a_fact():
    assert {"--units", "--sites", "--fact"} <= {option for option, _ in QUOTED} and len(QUOTED) > 5


@pytest.mark.examples
def test_all_examples_as_they_are_written(named):
    """In a folder of their own, in which STUDY is an audit."""
    lashley = [sys.executable, "-c", "from lashley.cli.app import main; main()"]
    made = [*lashley, "audit", "L4.mlp.n173 stores capital(France)", "--study", "STUDY"]
    subprocess.run(made, check=True, capture_output=True)
    failed = {}
    for words in COMMANDS:
        done = subprocess.run([*lashley, *words], capture_output=True, text=True)
        print(done.returncode, *words, flush=True)
        if done.returncode:
            failed[words] = done.stderr
    assert not failed
