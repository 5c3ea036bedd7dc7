"""What Python offers: a function for each experiment, with its words in its signature; and nouns that need no torch."""

import dataclasses
import inspect
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import msgspec
import pytest

import lashley
from lashley import api, experiments
from lashley.core.errors import LashleyError
from lashley.core.question import Question

ROOT = Path(__file__).parents[2]
NOUNS = """
import sys
sys.modules["torch"] = sys.modules["transformers"] = None
import lashley
heavy = {"Bench", "ask", "open_model", "compare", "Study", *EXPERIMENTS}
print([getattr(lashley, name) for name in lashley.__all__ if name not in heavy])
"""
ANOTHER = '''"""Is anything there? Another file."""

from dataclasses import dataclass

from lashley.core.experiment import Experiment


@dataclass(frozen=True)
class Params:
    """What is looked for.

    Parameters
    ----------
    depth
        How deep it is
        looked for.
    corruption
        How the corrupted run is made.
    """

    depth: int = 7
    corruption: str = "replace"


EXPERIMENT = Experiment(
    name="another", about=__doc__, question="?", Params=Params, gather=None, plan=None, measure=None, tell=None,
    draw=None, topic=None,
)
'''


def words(name: str) -> dict[str, object]:
    """Every word of an experiment with its default, as its record has them."""
    kind = experiments.find(name)
    own = {f.name: getattr(kind.Params(), f.name) for f in dataclasses.fields(kind.Params) if f.name != "claims"}
    if kind.asks == "claims":
        return own
    return {f.name: f.default for f in msgspec.structs.fields(Question)} | {"question_seed": None} | own


@pytest.mark.parametrize("name", experiments.names())
def test_every_word_stands_in_the_signature_and_is_explained(name):
    door = getattr(lashley, name)
    assert door is getattr(api, name) and door.__name__ == name and door.__module__ == "lashley.api"
    taken = inspect.signature(door).parameters
    assert not any(p.kind is p.VAR_KEYWORD or p.annotation is p.empty for p in taken.values())
    assert {n: taken[n].default for n in words(name)} == words(name)
    assert {"bench", "study", "progress"} <= taken.keys() <= door.__annotations__.keys()
    told = door.__doc__.split("Parameters\n----------\n")[1].split("\nReturns")[0].splitlines()
    for n in taken:
        (at,) = (i for i, line in enumerate(told) if line.lstrip("*").startswith(f"{n} : "))
        assert told[at + 1].startswith("    ") and len(told[at + 1]) > 10, n


def test_an_experiment_is_a_function_as_soon_as_its_file_is_there(tmp_path, monkeypatch):
    (tmp_path / "another.py").write_text(ANOTHER)
    monkeypatch.setattr(experiments, "__path__", [*experiments.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "lashley.experiments.another", raising=False)
    taken = inspect.signature(lashley.another).parameters
    assert taken["depth"].default == 7 and taken["relation"].default is None and taken["seed"].default == 0
    assert "depth : int, default 7\n    How deep it is looked for.\n" in lashley.another.__doc__
    assert "another" in dir(lashley)


WRONG = {"units": "unit", "relation": "relations", "corruption": "corupted", "study": "studdy"}


@pytest.mark.parametrize(("right", "wrong"), WRONG.items())
def test_a_word_that_is_none_is_refused_and_the_near_one_named(right, wrong):
    with pytest.raises(LashleyError, match=rf"knockout has no {wrong} .did you mean '{right}'"):
        lashley.knockout("embedded", **{wrong: "x"})
    with pytest.raises(LashleyError, match=r"audit has no control .did you mean 'controls'"):
        lashley.audit("embedded", "L1.mlp stores capital(France)", control=3)
    with pytest.raises(LashleyError, match=r"no experiment 'knokout' .did you mean 'knockout'"):
        lashley.ask("knokout", "embedded")
    with pytest.raises(LashleyError, match="`int`"):
        lashley.audit("embedded", "L1.mlp stores capital(France)", controls="3")


def test_a_name_that_is_nothing_is_no_attribute():
    for module in (lashley, api):
        with pytest.raises(AttributeError, match="'nothing'"):
            module.nothing  # noqa: B018


def test_type_checkers_see_what_is_there():
    """A parameter was changed, or an experiment split: `python tools/doors.py` writes the file again."""
    subprocess.run([sys.executable, ROOT / "tools/doors.py", "--check"], check=True)


def test_nouns_need_no_torch_and_the_version_is_that_of_the_package():
    code = NOUNS.replace("*EXPERIMENTS", f"*{experiments.names()}")
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
    assert lashley.__version__ == version("lashley")
    assert set(dir(lashley)) >= {*lashley.__all__, *experiments.names()}


def test_the_wheel_has_the_types():
    built = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert built == {"packages": ["src/lashley"]}, "a folder as it is, py.typed and doors.pyi with it"
    assert (ROOT / "src/lashley/py.typed").is_file() and (ROOT / "src/lashley/api/doors.pyi").is_file()
