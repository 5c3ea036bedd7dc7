"""Studies of the smallest model that ships, each made when its page is read: the one place that imports the package."""

import pytest

import lashley
from lashley import api
from lashley.report import to_json
from lashley.study.study import Study

from .studies import STUDIES
from .study import Shown, load


class Stopped(Exception):
    """What cuts a study off."""


@pytest.fixture(scope="session")
def small():
    return lashley.open_model("embedded-gpt2")


@pytest.fixture
def shown(small, tmp_path):
    """`shown(name)`: the table that a study exports, and its page as JSON."""

    def made(name: str) -> Shown:
        experiment, words = STUDIES[name]
        words, folder = dict(words), tmp_path / "study"
        share = words.pop("stop", None)

        def stop(what: str, done: int, total: int) -> None:
            if share is not None and what == "measuring" and done > share * total:
                raise Stopped

        try:
            if experiment == "audit":
                api.audit(small, *words.pop("claims"), study=folder, progress=stop, **words)
            else:
                api.ask(experiment, small, study=folder, progress=stop, **words)
        except Stopped:
            pass
        study = Study.open(folder)
        assert study.complete == (share is None)
        study.export(tmp_path / "table.parquet")
        (tmp_path / "page.json").write_bytes(to_json(study.page()))
        return load(tmp_path / "table.parquet", tmp_path / "page.json")

    return made
