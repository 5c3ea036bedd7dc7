"""What a fact's units cost every other fact is what the associative memory's keys and values say."""

import numpy as np
import pytest
from associative import memory
from scipy.stats import spearmanr

from lashley.core.edit import Zero
from lashley.core.site import Sites
from lashley.core.trial import Sweep
from lashley.engine.selftest import checked


@pytest.fixture(scope="module", params=[0.0, 0.4, 0.7])
def built(request):
    return memory(alike=request.param)


def interference(built) -> np.ndarray:
    """Logit difference that case j loses when the units of fact i are knocked out, [facts, cases]."""
    sites = Sites.of(built.units)
    sweeps = [Sweep(c.clean, None, "damage", (Zero(),), sites, c.readout) for c in built.cases]
    found = {s.key: np.zeros(len(sites)) for s in sweeps}
    for chunks in built.bench.run(sweeps):
        for chunk in chunks:
            found[chunk.sweep][chunk.start : chunk.start + len(chunk.values)] = chunk.clean - chunk.values
    return np.stack([found[s.key] for s in sweeps], 1)


def test_every_fact_is_recalled_and_the_fast_path_holds(built):
    assert checked(built.bench.model).path == "packed"
    assert min(built.bench.values([(c.clean, c.readout) for c in built.cases])) > 0


def test_interference_is_the_analytic_cross_talk(built):
    off = ~np.eye(len(built.cases), dtype=bool)
    found = interference(built)
    assert spearmanr(found[off], built.crosstalk[off]).statistic >= 0.9
    assert (np.diag(found) > 0).all() and np.diag(found).mean() > 3 * np.abs(found[off]).mean()
