"""The embedded model opened once, and a question that is quick to answer."""

from pathlib import Path

import pytest

import lashley
from lashley.study.study import Study

ASK = {"relation": "capital", "subject": "France", "register": "list", "draws": 2}  # two prompts, two foils
OWN = {
    "prompt": "The capital of {} is",
    "subject": "France",
    "object": "Paris",
    "foil_subject": "Japan",
    "foil_object": "Tokyo",
}


@pytest.fixture(scope="session")
def bench():
    return lashley.open_model()


@pytest.fixture(scope="session")
def small():
    """A model whose memory holds a few trials at a time, so that a small study is many packs."""
    return lashley.open_model(memory="1MiB")


@pytest.fixture(scope="session")
def whole(small, tmp_path_factory) -> Study:
    """A study that nobody disturbed."""
    return lashley.locate(small, **ASK, study=tmp_path_factory.mktemp("whole") / "study")


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "study"
