"""The embedded model opened once, and small studies of it made once."""

from functools import cache
from pathlib import Path

import pandas as pd
import pytest

import lashley
from lashley import experiments
from lashley.core.case import Material
from lashley.core.outcome import Outcome
from lashley.core.question import Question
from lashley.facts.question import resolve
from lashley.prompts.pairs import prepare
from lashley.study.study import Study

EXAMPLES = Path(__file__).parents[1] / "data" / "experiments"
SMALL = {"relation": "capital", "subject": "France", "register": "list"}  # two prompts
OWN = {  # a prompt of one's own, in place of those
    "relation": None,
    "register": None,
    "prompt": "The capital of {} is",
    "subject": "France",
    "object": "Paris",
    "foil_subject": "Japan",
    "foil_object": "Tokyo",
}


CLAIM = "L4.mlp stores capital(France)"
ASKED = {"audit": {"claims": (CLAIM,), "draws": 1, "controls": 3, "others": 2}}  # parameters that have to be given


def told(made: Study, rows: pd.DataFrame) -> Outcome:
    """What a study would say, had it measured these rows."""
    return made.experiment.tell(made.params, made.experiment.measure(made.params, rows, {}))


@pytest.fixture(scope="session")
def bench():
    return lashley.open_model()


@pytest.fixture(scope="session")
def study(bench, tmp_path_factory):
    """`study("locate", window=3)`: a small study of France's capital, measured."""

    @cache
    def made(experiment: str, **words: object) -> Study:
        folder = tmp_path_factory.mktemp(experiment) / "study"
        if experiments.find(experiment).asks == "claims":
            own = ASKED[experiment] | words
            return lashley.audit(bench, *own.pop("claims"), study=folder, **own)
        return lashley.ask(experiment, bench, study=folder, **SMALL | words)

    return made


@pytest.fixture(scope="session")
def material(bench) -> Material:
    """What plans are made from, with the magnitudes of every layer's heads and neurons."""
    where = [(layer, kind) for layer in range(bench.anatomy.layers) for kind in ("head", "neuron")]
    return prepare(bench, resolve(Question(**SMALL)), magnitudes=where)


@pytest.fixture(scope="package", autouse=True)
def example():
    """One more experiment, as anybody would add it: a file in the folder."""
    experiments.__path__.append(str(EXAMPLES))
    yield
    experiments.__path__.remove(str(EXAMPLES))


@pytest.fixture(params=[*experiments.names(), "skip"])
def experiment(request) -> str:
    """Every experiment, and an example of a new one."""
    return request.param
