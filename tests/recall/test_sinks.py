"""What a first token with nothing before it, the attention sink, does is pooled with no other position."""

import msgspec
import numpy as np
import pytest

import lashley
from lashley.core.claim import About, Topic
from lashley.core.run import Run
from lashley.core.site import Site
from lashley.prompts.dossier import _quantiles, _sizes
from lashley.prompts.reference import mean_sizes
from lashley.study.page import SUNK

SITES = [Site(1, "neuron"), Site(2, "head"), Site(2, "mlp")]


def magnitudes(bench, runs):
    found = mean_sizes(bench, runs, [(1, "neuron"), (2, "head")])
    return {"L1": found[1, "neuron"], "L2": found[2, "head"]}


def firing(bench, runs):
    return _sizes(bench, runs, [Site(1, "neuron", 3), Site(2, "head", 1)])


def quantiles(bench, runs):
    return _quantiles(bench, Topic(About(relation="capital"), (tuple(SITES),)), runs)


@pytest.mark.parametrize("begin", [0, 1])
@pytest.mark.parametrize("pooled", [magnitudes, firing, quantiles])
def test_however_large_a_sink_is_what_is_pooled_stays(bench, asked, monkeypatch, pooled, begin):
    runs = [bench.tokens.ask(t, s) for t in asked.templates for s in ("France", "Peru")]
    runs = [msgspec.structs.replace(r, begin=begin) for r in runs]
    plain, read = pooled(bench, runs), bench.read

    def massive(runs, sites):
        first = np.concatenate([np.arange(len(r)) == 0 for r in runs])
        return {s: np.where(first[:, None] if x.ndim == 2 else first, 1e4, x) for s, x in read(runs, sites).items()}

    monkeypatch.setattr(bench, "read", massive)
    for site, found in pooled(bench, runs).items():
        changed = not np.allclose(found, plain[site], rtol=1e-5)
        # a beginning-of-text token, which every text has, is among what an activation can be
        assert changed == (pooled is quantiles and begin == 1), site


@pytest.mark.parametrize("sunk", [False, True])
def test_subjects_at_the_sink_are_told(bench, tmp_path, monkeypatch, sunk):
    assert [Run("x is", (5, 6, 7), begin, (begin, begin + 1)).sunk for begin in (0, 1)] == [True, False]
    assert not Run("x is", (5, 6, 7)).sunk and not Run("In x is", (5, 6, 7), 0, (1, 2)).sunk
    monkeypatch.setattr(Run, "sunk", property(lambda run: sunk))
    study = lashley.locate(
        bench, relation="capital", subject="France", register="list", kinds=("resid",), study=tmp_path / "s"
    )
    assert (SUNK in study.page().caveats) == sunk
