"""The command line as a person meets it: words in; exit code, output and errors out."""

import sys
import warnings
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from lashley import api
from lashley.api import opening
from lashley.cli.app import main

COMMAND = (sys.executable, "-c", "from lashley.cli.app import main; main()")
LOCATE = ("locate", "The capital of {} is")
KNOCKOUT = ("knockout", "The capital of {} is")
FRANCE = ("--subject", "France", "--object", "Paris")
JAPAN = ("--foil-subject", "Japan", "--foil-object", "Tokyo")


class Said(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="package", autouse=True)
def opened_once():
    """A model is opened once for all tests that ask for it with the same words."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "load", cache(opening.load))
        patch.setattr(opening, "checked", cache(opening.checked))
        yield


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """An empty working folder, and no relations of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LASHLEY_HOME", str(tmp_path / ".home"))
    return tmp_path


@pytest.fixture
def lashley(monkeypatch, capsys):
    """`lashley("facts", "list")`, in this process."""

    def command(*argv: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["lashley", *map(str, argv)])
        with warnings.catch_warnings():  # the command line's own way with them stays in there
            try:
                main()
                code = 0
            except SystemExit as stop:
                code = int(stop.code or 0)
        return Said(code, *capsys.readouterr())

    return command


@pytest.fixture(scope="package")
def bench(opened_once):
    return api.open_model()
