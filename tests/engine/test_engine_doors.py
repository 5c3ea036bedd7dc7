"""The two doors beside `run`: activations are those that hooks see, gradients are autograd's and the slope of `run`."""

import msgspec
import numpy as np
import pytest
import torch
from oracle import Oracle, unit
from tiny import open_model, run

from lashley.core.edit import Add
from lashley.core.readout import KL, LogitDifference, LogProbability, Loss
from lashley.core.run import EmbeddingNoise
from lashley.core.site import KINDS, Site, Sites
from lashley.core.trial import Sweep
from lashley.engine.bench import Bench

NOISY = msgspec.structs.replace(run(6, seed=1), noise=EmbeddingNoise(2.0, seed=5))
RUNS = [run(6), run(9), NOISY, run(6, seed=2)]
UNITS = {"head": 2, "neuron": 7}


@pytest.mark.parametrize("at", [None, 1, -1, "subject", "subject_last", "relation", "final"])
def test_read_gives_what_hooks_see(model, oracle, at):
    sites = [Site(layer, kind, UNITS.get(kind), at) for layer, kind in oracle.places()]
    found = Bench(model).read(RUNS, sites)
    assert list(found) == sites
    for site, got in found.items():
        want = [
            unit(oracle.seen(r)[site.layer, site.kind], site)[
                [s.position for s in r.resolve(site)] if at is not None else ...
            ]
            for r in RUNS
        ]
        np.testing.assert_allclose(got, torch.cat(want), rtol=0, atol=1e-4, err_msg=str(site))


@pytest.mark.parametrize(
    "readout",
    [LogitDifference((5,), (7,)), LogitDifference((5, 9), (7,)), LogProbability((5, 9)), Loss()],
    ids=lambda r: type(r).__name__,
)
def test_gradients_are_those_of_autograd(name, readout):
    bench, oracle = Bench(open_model(name, dtype=torch.float64)), Oracle(name, torch.float64)
    asked = [run(6), NOISY]
    for one, found in zip(asked, bench.grad(asked, readout, KINDS), strict=True):
        expected = oracle.gradient(one, readout)
        for kind in KINDS:
            want = torch.stack([g for (_, k), g in expected.items() if k == kind])
            torch.testing.assert_close(found[kind], want, rtol=0, atol=1e-5 * float(want.abs().max()))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_the_slope_of_what_run_measures(name, kind):
    bench, step, at = Bench(open_model(name, dtype=torch.float64)), 2e-2, 3
    width = bench.anatomy.site_width(kind)
    vector = np.random.default_rng(0).standard_normal(width).astype("<f4")
    sites = [Site(layer, kind, UNITS.get(kind), at) for layer in range(bench.anatomy.layers)]
    edits = tuple(Add(vector.tobytes(), s) for s in (step, -step))
    table = Sites.of([(s,) for s in sites * 2]).table.copy()
    table[4] = np.repeat([0, 1], len(sites))
    readout = LogitDifference((5, 9), (7,))
    ((chunk,),) = bench.run([Sweep(run(6), None, "damage", edits, Sites.pack(*table), readout)])
    slope = np.subtract(*chunk.values.reshape(2, -1)) / (2 * step)
    (found,) = bench.grad([run(6)], readout, [kind])
    along = [float(unit(found[kind][s.layer], s)[at] @ torch.from_numpy(vector).double()) for s in sites]
    np.testing.assert_allclose(slope, along, rtol=0, atol=2e-2 * np.abs(along).max())


def test_a_readout_without_a_gradient_says_so(model):
    with pytest.raises(TypeError, match="kl has no gradient here"):
        Bench(model).grad([run(6)], KL(), ["resid"])
