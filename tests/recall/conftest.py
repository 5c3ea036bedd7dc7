"""The embedded model opened once, and relations to ask it about."""

import pytest

import lashley
from lashley.core.case import Material
from lashley.core.question import Asked, Question
from lashley.facts.question import resolve
from lashley.prompts.pairs import prepare


@pytest.fixture(scope="session")
def bench():
    return lashley.open_model()


@pytest.fixture(scope="session")
def asked() -> Asked:
    """Ten capitals under two templates."""
    return resolve(Question(relation="capital", register="list", max_facts=10))


@pytest.fixture(scope="session")
def material(bench, asked) -> Material:
    """Those capitals against two foils each."""
    return prepare(bench, asked, draws=2)
