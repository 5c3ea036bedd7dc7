from functools import cache

import pytest
from oracle import Oracle
from tiny import TINY, open_model

open_once, oracle_once = cache(open_model), cache(Oracle)


@pytest.fixture(params=TINY)
def name(request) -> str:
    """Every tiny model in turn."""
    return request.param


@pytest.fixture
def model(name):
    return open_once(name)


@pytest.fixture
def oracle(name):
    return oracle_once(name)


@pytest.fixture
def tiny_llama():
    return open_once("llama, grouped queries")
