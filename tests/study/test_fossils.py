"""Studies made by the release before this one open, export, report, go on and are asked again as what they are.

`tests/data/studies_v1` holds one of every experiment with what that release exported of it, and some as they were when
stopped half-way. Whatever folder is put there is tested.
"""

import json
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, make_dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

import lashley
from lashley import api, experiments
from lashley.cli import app as cli
from lashley.cli import asking
from lashley.core.errors import StudyConflict
from lashley.core.question import Question
from lashley.engine.bench import Bench
from lashley.study import beginning, identity, study
from lashley.study.study import Study

FOSSILS = Path(__file__).parents[1] / "data" / "studies_v1"
WHOLE = sorted(f.name for f in (FOSSILS / "whole").iterdir())
HALF = sorted(f.name for f in (FOSSILS / "half").iterdir())
NO_TORCH = """
import sys

class Lacking:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("torch", "transformers"):
            raise ImportError(name)

sys.meta_path.insert(0, Lacking())
from pathlib import Path
from lashley.report import to_json
from lashley.study.study import Study

for folder in map(Path, sys.argv[1:]):
    found = Study.open(folder)
    found.export(folder / "now.parquet")
    page = found.page()
    assert found.complete and page.finding.sentence.endswith(".") and to_json(page), folder
"""


@pytest.fixture(scope="module")
def opened():
    return lashley.open_model("embedded-gpt2")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def copied(name: str, here: Path, of: str = "whole") -> Path:
    """A fossil where the release that made it had put it."""
    return Path(shutil.copytree(FOSSILS / of / name, here / "studies" / name))


def equal(made: Any, then: Any, within: float) -> None:
    """All that was exported then: words as they were, numbers within so much."""
    assert set(then) <= set(made) and len(made) == len(then)
    for name in then:
        if pd.api.types.is_float_dtype(then[name]):
            np.testing.assert_allclose(made[name].astype(float), then[name], rtol=0, atol=within, err_msg=name)
        else:
            plain = [column.astype(object).where(column.notna(), None).tolist() for column in (made[name], then[name])]
            assert plain[0] == plain[1], name


def again(command: str) -> None:
    """Type a command."""
    with suppress(SystemExit):
        cli.app(cli._listed(shlex.split(command)[1:]), exit_on_error=False, print_error=False)


@pytest.fixture
def nothing_measured(monkeypatch, opened):
    """A model that must not be asked what is measured already."""

    def run(*_, **__):
        raise AssertionError("it was measured again")

    monkeypatch.setattr(Bench, "run", run)
    monkeypatch.setattr(api, "open_model", lambda *_, **__: opened)
    monkeypatch.setattr(asking, "show", lambda *_: None)


def test_there_is_one_of_every_experiment():
    held = {json.loads((FOSSILS / "whole" / name / "spec.json").read_text())["experiment"] for name in WHOLE}
    assert held == set(experiments.names())


def test_all_open_and_report_without_torch_and_export_what_they_did(here):
    folders = [copied(name, here) for name in WHOLE]
    subprocess.run([sys.executable, "-W", "error", "-c", NO_TORCH, *folders], check=True)
    for folder in folders:
        then, now = (pd.read_parquet(folder / name) for name in ("measurements.parquet", "now.parquet"))
        equal(now, then, 1e-12)


@pytest.mark.parametrize("name", HALF)
def test_one_that_was_stopped_goes_on_to_what_the_whole_one_has(here, opened, monkeypatch, name):
    folder = copied(name, here, "half")
    monkeypatch.setattr(api, "open_model", lambda *_, **__: opened)
    assert not Study.open(folder).complete
    then = pd.read_parquet(FOSSILS / "whole" / name / "measurements.parquet")
    equal(api.resume(folder).table, then, 1e-5)


@pytest.mark.parametrize("name", WHOLE)
def test_its_command_takes_it_up_again(here, nothing_measured, name):
    folder = copied(name, here)
    held = Study.open(folder)
    before = held.ledger.progress(), list(held.ledger.planned())
    again(held.ledger.spec.command)
    assert [f.name for f in (here / "studies").iterdir()] == [name], "another study was begun"
    held = Study.open(folder)
    assert (held.ledger.progress(), list(held.ledger.planned())) == before


@pytest.mark.parametrize("name", WHOLE)
def test_a_parameter_that_is_added_leaves_it_what_it_was(here, opened, nothing_measured, monkeypatch, name):
    experiment = json.loads((FOSSILS / "whole" / name / "spec.json").read_text())["experiment"]
    folder = copied(name, here)
    old = Study.open(folder)
    known = experiments.find(experiment)
    Params: Any = make_dataclass("Params", [("added", int, 7)], bases=(known.Params,), frozen=True)
    Asked: Any = msgspec.defstruct("Asked", [("added", str | None, None)], bases=(Question,), frozen=True)
    monkeypatch.setattr(experiments, "find", lambda _: replace(known, Params=Params))
    for module in (study, identity):
        monkeypatch.setattr(module, "Question", Asked)
    read: Any = Study.open(folder).params
    assert read.added == 7
    words, question = asdict(old.params), msgspec.structs.asdict(old.question)
    for place in (None, folder):
        found = api.run(experiment, Params(**words), Asked(**question), opened, place)
        assert found.folder.resolve() == folder.resolve() and found.complete
    monkeypatch.setattr(Study, "prepare", lambda *_: None)
    with pytest.raises(StudyConflict, match=r"params\.added = 7, now 8"):
        api.run(experiment, Params(**words, added=8), Asked(**question), opened, folder)
    with pytest.raises(StudyConflict, match=r"question\.added = None, now 'x'"):
        api.run(experiment, Params(**words), Asked(**question, added="x"), opened, folder)
    assert beginning.begin(experiment, Params(**words, added=8), Asked(**question), opened).folder.resolve() != folder


@pytest.mark.parametrize("part", ["params", "question"])
def test_what_this_version_lacks_is_refused_by_name(here, opened, part):
    name = next(n for n in WHOLE if n.startswith("locate"))
    folder = copied(name, here)
    old = Study.open(folder)
    spec = json.loads((folder / "spec.json").read_text())
    spec[part]["depth"] = 3
    (folder / "spec.json").unlink()
    (folder / "spec.json").write_text(json.dumps(spec))
    with pytest.raises(StudyConflict, match=rf"{part}\.depth = 3, which this version lacks; update lashley"):
        Study.open(folder)
    with pytest.raises(StudyConflict, match=rf"{part}\.depth"):
        api.run("locate", old.params, old.question, opened, folder)


def test_a_folder_keeps_its_name_when_a_parameter_is_added_and_all_are_recorded(here, opened, monkeypatch):
    monkeypatch.setattr(Study, "prepare", lambda *_: None)
    known, asked = experiments.find("locate"), Question(relation="capital", subject="France")
    first = beginning.begin("locate", known.Params(draws=2), asked, opened).folder
    shutil.rmtree(first)
    Params: Any = make_dataclass("Params", [("added", int, 7)], bases=(known.Params,), frozen=True)
    monkeypatch.setattr(experiments, "find", lambda _: replace(known, Params=Params))
    second = beginning.begin("locate", Params(draws=2), asked, opened)
    assert second.folder == first and second.ledger.spec.params.keys() == asdict(Params()).keys()
