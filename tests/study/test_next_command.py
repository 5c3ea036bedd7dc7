"""`lashley next`: what it lists, and what it runs."""

import json
import sys

import msgspec
import pytest

import lashley
from lashley import api
from lashley.cli import app as cli
from lashley.experiments.audit import Params
from lashley.study.study import Study


@pytest.fixture(scope="module")
def opened():
    return lashley.open_model("embedded-gpt2")


@pytest.fixture(scope="module")
def study(opened, tmp_path_factory) -> Study:
    """So few peers that chance is open."""
    claim = "L2.mlp.n34 contributes to capital(France) by better than chance"
    folder = tmp_path_factory.mktemp("next") / "study"
    return api.audit(opened, claim, study=folder, controls=2, others=1)


@pytest.fixture
def said(monkeypatch, capsys, opened):
    def command(*argv: object) -> tuple[int, str, str]:
        monkeypatch.setattr(api, "open_model", lambda *_, **__: opened)
        monkeypatch.setattr(sys, "argv", ["lashley", *map(str, argv)])
        monkeypatch.setattr("warnings.showwarning", None)
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return command


def test_the_list_says_what_it_could_settle_and_what_to_type(said, study):
    code, out, _ = said("next", study.folder)
    flat = " ".join(out.split())
    assert code == 0 and flat.startswith("1. ") and "matched random sites in place of 2: 1 criterion" in flat
    assert "better than chance of “L2.mlp.n34" in flat
    assert f"lashley audit '{study.params.claims[0]}' --controls " in flat
    (step,) = json.loads(said("next", study.folder, "--json")[1])
    assert step["command"] in out and step["settles"] == [[study.params.claims[0], "better than chance"]]


def test_the_first_is_run(said, study):
    (step,) = json.loads(said("next", study.folder, "--json")[1])
    code, _, err = said("next", study.folder, "--run", "--json")
    assert code == 0, err
    done = Study.open(step["study"])
    assert done.complete and done.params == msgspec.convert(step["params"], Params)
    assert done.ledger.spec.command == step["command"]


def test_a_study_of_something_else_is_refused_with_what_to_do(said, opened, tmp_path):
    lashley.locate(opened, relation="capital", subject="France", register="list", kinds=("mlp",), study=tmp_path / "s")
    code, _, err = said("next", tmp_path / "s")
    assert code == 2 and "makes no claims" in err and "lashley audit" in err
