"""Studies of the smallest model that ships, each made when its page is read."""

import pytest

import lashley
from lashley import api
from lashley.report import to_json

from .studies import STUDIES
from .study import Shown, load


@pytest.fixture(scope="session")
def small():
    return lashley.open_model("embedded-gpt2")


@pytest.fixture
def shown(small, tmp_path):
    """`shown(name)`: the table that a study exports, and its page as JSON."""

    def made(name: str) -> Shown:
        experiment, words = STUDIES[name]
        folder = tmp_path / "study"
        if experiment == "audit":
            words = dict(words)
            study = api.audit(small, *words.pop("claims", ()), study=folder, **words)
        else:
            study = lashley.ask(experiment, small, study=folder, **words)
        study.export(tmp_path / "table.parquet")
        (tmp_path / "page.json").write_bytes(to_json(study.page()))
        return load(tmp_path / "table.parquet", tmp_path / "page.json")

    return made
