"""Noise on the subject needs no other subject: a foil object is enough."""

import pytest

import lashley
from lashley import experiments
from lashley.api import plan
from lashley.core.errors import BadFact, LashleyError
from lashley.core.question import Question
from lashley.facts.question import resolve

FACT = {"prompt": "The capital of {} is", "subject": "France", "object": "Paris", "foil_object": "Tokyo"}


def test_a_foil_subject_is_asked_for_where_it_is_used():
    with pytest.raises(BadFact, match="the foil subject is missing"):
        resolve(Question(**FACT))
    assert resolve(Question(**FACT), "noise").foils == {"France": ("",)}
    with pytest.raises(BadFact, match="the foil object is missing"):
        resolve(Question(**{**FACT, "foil_object": None}), "noise")


def test_what_is_measured_is_as_with_one_but_for_the_size_of_noise(bench, tmp_path):
    ask = {"kinds": ("resid",), "corruption": "noise", **FACT}
    own, other = (
        lashley.locate(bench, study=tmp_path / str(i), **ask, **more).table
        for i, more in enumerate(({}, {"foil_subject": "Japan"}))
    )
    assert own[["site", "clean"]].equals(other[["site", "clean"]])  # noise is as large as the subjects' embeddings vary
    assert own["corrupt"].iloc[0] < own["clean"].iloc[0] - 1
    assert set(own["foil"]) == {"Tokyo"} and set(own["pair"]) == {"France / noise"}


@pytest.mark.parametrize("experiment", ["knockout", "attention", "stability", "spread"])
def test_every_experiment_is_planned_without_one(bench, experiment):
    params = experiments.find(experiment).Params(corruption="noise")
    assert plan(experiment, params, Question(**FACT), bench).rows > 0


def test_what_would_be_patched_in_from_it_is_refused_in_one_line(bench, tmp_path):
    with pytest.raises(LashleyError, match="give a foil subject"):
        lashley.knockout(bench, corruption="noise", edit="resample", study=tmp_path / "s", **FACT)
    assert not (tmp_path / "s").exists()
