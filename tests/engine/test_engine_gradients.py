"""Runs that go back together get what each gets alone, however little memory there is; and what an edit would do
to first order is (what it writes - what is there) . gradient."""

import msgspec
import numpy as np
import pytest
import torch
from oracle import Oracle, unit
from tiny import open_model, run

from lashley.core.edit import Add, Identity, Mean, Noise, Patch, ProjectOut, Resample, Zero
from lashley.core.errors import BadPrompt, BadSite
from lashley.core.readout import LogitDifference, LogProbability, Loss, Rank
from lashley.core.run import EmbeddingNoise
from lashley.core.site import KINDS, Site, Sites
from lashley.core.trial import Sweep
from lashley.engine import gradients
from lashley.engine.attribution import attribution, estimates
from lashley.engine.bench import Bench
from lashley.engine.written import field

ONE, SEVERAL = LogitDifference((5,), (7,)), LogitDifference((5, 9), (7,))
NOISY = msgspec.structs.replace(run(6, seed=1), noise=EmbeddingNoise(2.0, seed=5))
ASKED = [
    (run(6), ONE),
    (run(9), SEVERAL),
    (NOISY, LogProbability((5, 9))),
    (run(6, seed=2), Loss()),
    (run(7), ONE),
    (run(6), LogitDifference((5, 9), (7, 8))),
]
REFERENCE = tuple(run(n, seed=s) for n in (6, 8) for s in (3, 4))


@pytest.fixture
def bench(name) -> Bench:
    return Bench(open_model(name, dtype=torch.float64))


@pytest.fixture
def batches(monkeypatch) -> list[int]:
    """How many passes went back together, each time."""
    sizes, batch = [], gradients._batch

    def counted(model, passes, kinds):
        sizes.append(len(passes))
        return batch(model, passes, kinds)

    monkeypatch.setattr(gradients, "_batch", counted)
    return sizes


def same(one, other) -> None:
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for kind in a:
            torch.testing.assert_close(a[kind], b[kind], rtol=1e-9, atol=1e-9)


def test_together_is_one_by_one(bench, batches):
    runs, readouts = [r for r, _ in ASKED], [r for _, r in ASKED]
    together = bench.grad(runs, readouts, KINDS)
    assert max(batches) >= 3 and sum(batches) == 8
    same(together, [g for r, readout in ASKED for g in bench.grad([r], readout, KINDS)])


def test_a_kind_alone_is_the_same_as_with_others(bench):
    every = bench.grad([run(6)], SEVERAL, KINDS)[0]
    for kind in KINDS:
        same(bench.grad([run(6)], SEVERAL, [kind]), [{kind: every[kind]}])


def test_little_memory_makes_more_batches_of_the_same(bench, batches):
    runs = [run(6, seed=s) for s in range(9)]
    whole = bench.grad(runs, SEVERAL, KINDS)
    assert batches == [9, 9]  # the target's continuations and the foil's
    bench.model.memory = 3 * gradients._bytes(bench.model, next(_passes(bench, runs[0]))) + 1
    batches.clear()
    same(bench.grad(runs, SEVERAL, KINDS), whole)
    assert max(batches) == 3 and sum(batches) == 18


def _passes(bench, one):
    return (p for slopes in gradients.backward(bench.model, [(one, SEVERAL)], ["mlp"]) for p in slopes.passes)


def test_nothing_to_ask(bench):
    assert bench.grad([], ONE, KINDS) == [] and list(estimates(bench, [])) == []


# -- attribution -----------------------------------------------------------------------------------------------


def every_site(bench) -> Sites:
    """Units and whole sub-layers at one position and at all, and a joint set."""
    units = {"head": 2, "neuron": 7}
    single = [
        (Site(layer, kind, units.get(kind), at),)
        for kind in KINDS
        for layer in range(bench.anatomy.layers + (kind == "resid"))
        for at in (None, 0, 3, 5)
    ]
    return Sites.of([*single, (Site(0, "head", 1), Site(1, "mlp", None, 3), Site(1, "neuron", 4, 3))])


@pytest.mark.parametrize("readout", [ONE, SEVERAL, LogProbability((5, 9))], ids=["one", "several", "log p"])
@pytest.mark.parametrize(
    "edit", [Zero(), Mean(REFERENCE), Patch(run(6, seed=8)), Resample(NOISY)], ids=lambda e: type(e).__name__
)
def test_estimates_are_the_written_less_the_clean_times_the_gradient(name, bench, edit, readout):
    oracle, clean = Oracle(name, torch.float64), run(6)
    sweep = Sweep(clean, None, "damage", (edit,), every_site(bench), readout)
    (found,) = estimates(bench, [sweep])
    match readout:
        case LogProbability(target):
            shares = [(target, 1.0)]
        case LogitDifference((target,), (foil,)):
            shares = [((target,), 1.0), ((foil,), -1.0)]
        case LogitDifference(target, foil):
            shares = [(target, 1.0), (foil, -1.0)]
    want = np.zeros(len(sweep))
    for answer, sign in shares:
        more = answer[:-1]
        longer = msgspec.structs.replace(clean, tokens=clean.tokens + more)
        forced = _forced(oracle, longer, answer, len(clean))
        for i, trial in enumerate(sweep.sites):
            for site in trial:
                there = unit(oracle.seen(clean, more)[site.layer, site.kind], site)
                step = oracle._written(site, edit, clean, more)(there) - there
                slope = unit(forced[site.layer, site.kind], site)
                at = slice(None) if site.position is None else [site.position]
                want[i] += sign * float((step * slope)[at].sum())
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-6 * np.abs(want).max())


def _forced(oracle, longer, answer, n):
    """Gradient of an answer's teacher-forced log-probability with respect to every activation, by autograd."""
    zeros = {p: torch.zeros_like(x).requires_grad_() for p, x in oracle.seen(longer).items()}
    logits = oracle.forward(longer, (), {p: lambda x, z=z: x + z for p, z in zeros.items()})
    log_p = logits.log_softmax(-1)
    torch.stack([log_p[n - 1 + i, t] for i, t in enumerate(answer)]).sum().backward()
    return {p: z.grad for p, z in zeros.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_adding_a_little_is_what_run_measures(bench, kind):
    vector = np.linspace(-1, 1, bench.anatomy.site_width(kind) + 1).astype("<f4")[1:].tobytes()
    unit_ = {"head": 2, "neuron": 7}.get(kind)
    sites = Sites.of([(Site(layer, kind, unit_),) for layer in range(bench.anatomy.layers)])
    up, down = (Sweep(run(6), None, "damage", (Add(vector, s),), sites, SEVERAL) for s in (1e-2, -1e-2))
    (found,) = estimates(bench, [up])
    higher, lower = (next(bench.run([sweep]))[0].values for sweep in (up, down))
    np.testing.assert_allclose(found, (higher - lower) / 2, rtol=0, atol=2e-2 * np.abs(found).max())


def test_nothing_is_estimated_for_what_changes_nothing(bench):
    sites = Sites.of([(Site(1, "mlp"),), (Site(1, "head", 0),)])
    (found,) = estimates(bench, [Sweep(run(6), None, "damage", (Identity(),), sites, SEVERAL)])
    assert not found.any()


def test_projecting_out_takes_the_whole_of_a_neuron(bench):
    sites = Sites.of([(Site(1, "neuron", n),) for n in range(5)])
    one, other = (
        next(estimates(bench, [Sweep(run(6), None, "damage", (e,), sites, SEVERAL)]))
        for e in (ProjectOut(np.float32(-3).tobytes()), Zero())
    )
    np.testing.assert_allclose(one, other, rtol=1e-9)


@pytest.mark.parametrize("edit", [Mean(REFERENCE), Noise(REFERENCE, 4)], ids=["mean", "noise"])
def test_what_is_estimated_is_what_run_writes(bench, edit):
    """Entering the final norm, only the last position's field matters, and the readout of it is known."""
    clean, last = run(6), bench.anatomy.layers
    ((chunk,),) = bench.run([Sweep(clean, None, "damage", (edit,), Sites.of([(Site(last, "resid"),)]), ONE)])
    wrote = field(bench.captures, ["resid"], edit, clean, len(clean), last, "resid")[-1]
    target, foil = bench.model.logits(bench.model.norm(wrote), torch.tensor([5, 7]))
    assert chunk.values[0] == pytest.approx(float(target - foil), rel=1e-6)


def test_several_sweeps_of_several_lengths_are_each_ones_own(bench):
    sweeps = [
        Sweep(r, None, "damage", (edit,), every_site(bench), readout)
        for r, readout in ((run(6), ONE), (NOISY, SEVERAL), (run(9), Loss()))
        for edit in (Zero(), Noise(REFERENCE, 4), Resample(run(len(r), seed=9)))
    ]
    together = list(estimates(bench, sweeps))
    for sweep, found in zip(sweeps, together, strict=True):
        (alone,) = estimates(bench, [sweep])
        np.testing.assert_allclose(found, alone, rtol=0, atol=1e-9 * np.abs(alone).max())


def test_two_edits_of_one_trial(bench):
    table = Sites.of([(Site(0, "mlp"), Site(1, "mlp"))]).table.copy()
    table[4] = [0, 1]
    both = Sweep(run(6), None, "damage", (Zero(), Mean(REFERENCE)), Sites.pack(*table, sizes=[2]), ONE)
    zero, mean = (
        next(estimates(bench, [Sweep(run(6), None, "damage", (e,), Sites.of([(s,)]), ONE)]))
        for e, s in zip(both.edits, both.sites[0], strict=True)
    )
    np.testing.assert_allclose(next(estimates(bench, [both])), zero + mean)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [None, "subject", "final"])
def test_attribution_is_the_estimate_of_every_unit(bench, kind, at):
    sweep = Sweep(run(6), run(6, seed=1), "damage", (Zero(),), Sites.of([(Site(0, "mlp"),)]), ONE)
    found = attribution(bench, sweep, kind, at)
    assert found.shape == (bench.anatomy.layers + (kind == "resid"), bench.anatomy.units(kind))
    site = Site(1, kind, 2 if kind in ("head", "neuron") else None, at)
    (one,) = estimates(bench, [msgspec.structs.replace(sweep, sites=Sites.of([sweep.run.resolve(site)]))])
    assert found[1, site.unit or 0] == pytest.approx(one[0])


def test_restoration_is_estimated_in_the_corrupt_run(bench):
    clean, corrupt, sites = run(6), run(6, seed=1), Sites.of([(Site(1, "mlp"),)])
    one, other = (
        next(estimates(bench, [sweep]))
        for sweep in (
            Sweep(clean, corrupt, "restoration", (Patch(clean),), sites, ONE),
            Sweep(corrupt, None, "damage", (Patch(clean),), sites, ONE),
        )
    )
    assert one == pytest.approx(other) and one[0] != 0


def test_what_does_not_fit_is_refused(bench):
    sites = Sites.of([(Site(0, "mlp"),)])
    with pytest.raises(BadSite):
        list(estimates(bench, [Sweep(run(6), None, "damage", (Zero(),), Sites.of([(Site(9, "mlp"),)]), ONE)]))
    with pytest.raises(BadPrompt):
        list(estimates(bench, [Sweep(run(6), None, "damage", (Patch(run(7)),), sites, ONE)]))
    with pytest.raises(TypeError, match="rank has no gradient"):
        list(estimates(bench, [Sweep(run(6), None, "damage", (Zero(),), sites, Rank((5,)))]))
