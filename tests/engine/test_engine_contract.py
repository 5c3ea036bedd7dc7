"""Every family x site x edit x readout: the packed path, the plain path and the oracle give the same numbers."""

import itertools
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np
import pytest
from oracle import Edits, role
from tiny import WIDTH, open_model, run

from lashley.core.edit import Add, Edit, Identity, Mean, Noise, Patch, ProjectOut, Resample, Zero
from lashley.core.readout import KL, LogitDifference, LogProbability, Loss, Probability, Rank
from lashley.core.run import EmbeddingNoise, Run
from lashley.core.site import KINDS, Site, Sites
from lashley.core.trial import Chunk, Sweep
from lashley.engine import planner
from lashley.engine.bench import Bench
from lashley.engine.ops import Ops
from lashley.engine.replay import Replay

TOLERANCE = 1e-4  # of the largest value

READOUTS = (
    LogitDifference((5,), (7,)),
    LogitDifference((5, 9), (7, 11)),
    LogitDifference((5, 9), (7,)),
    LogProbability((5, 9)),
    Probability((5,)),
    Rank((5,)),
    Rank((5,), (5, 6, 7, 8)),
    KL(),
    Loss(),
)


def vector(width: int) -> bytes:
    return np.random.default_rng(width).standard_normal(width).astype("<f4").tobytes()


REFERENCE = tuple(run(n, seed=3) for n in (6, 7, 9))
EDITS: dict[str, Callable[[int, int], Edit]] = {  # run's length, site's width -> edit
    "zero": lambda length, width: Zero(),
    "patch": lambda length, width: Patch(run(length, seed=1)),
    "resample": lambda length, width: Resample(run(length, seed=2)),
    "mean": lambda length, width: Mean(REFERENCE),
    "add": lambda length, width: Add(vector(width), 2.0),
    "project_out": lambda length, width: ProjectOut(vector(width)),
}


def trials(anatomy, length: int) -> list[list[Site]]:
    """Every kind at one early position, at the last and at all; both ends of the residual stream; joint sets."""
    last = anatomy.layers - 1
    singles = [
        Site((k + p) % anatomy.layers, kind, {"head": 1, "neuron": 5}.get(kind), at)
        for k, kind in enumerate(KINDS)
        for p, at in enumerate((2, length - 1, None))
    ]
    ends = [Site(0, "resid", None, 1), Site(last + 1, "resid", None, length - 1), Site(last + 1, "resid")]
    joint = [
        [Site(0, "head", 2, 1), Site(last, "neuron", 3, 4)],
        [Site(1, "resid", None, 3), Site(1, "mlp", None, 0), Site(0, "attn"), Site(1, "neuron", 0, 3)],
    ]
    return [*([s] for s in singles + ends), *joint]


def sweeps_of(
    anatomy, cases: Iterable[tuple[Run, Run | None, str]], make: Callable[[int, int], Edit], readouts=READOUTS
) -> list[Sweep]:
    """One sweep a case and readout. A sweep's edits are for sites as wide as the stream, a head, a neuron."""
    widths = (WIDTH, anatomy.head_width, 1)
    found = []
    for clean, corrupt, effect in cases:
        sets = trials(anatomy, len(clean))
        flat = [s for sites in sets for s in sites]
        table = Sites.of(sets).table.copy()
        table[4] = [widths.index(anatomy.site_width(s.kind)) if s.unit is not None else 0 for s in flat]
        sites = Sites.pack(*table, sizes=[len(s) for s in sets])
        edits = tuple(make(len(clean), w) for w in widths)
        found += [Sweep(clean, corrupt, effect, edits, sites, r) for r in readouts]
    return found


def side_by_side() -> list[tuple[Run, Run | None, str]]:
    """Prompts of unequal length: damage to a clean run, restoration of a run with noisy embeddings."""
    short, long = run(6), run(9)
    noisy = msgspec.structs.replace(long, noise=EmbeddingNoise(2.0, seed=3))
    return [(short, run(6, seed=1), "damage"), (long, noisy, "restoration")]


def answer(bench: Bench, sweeps: Sequence[Sweep]) -> dict[str, list[Chunk]]:
    """All chunks by sweep key, in the order of their trials."""
    found: dict[str, list[Chunk]] = {s.key: [] for s in sweeps}
    for chunk in (c for pack in bench.run(sweeps) for c in pack):
        found[chunk.sweep].append(chunk)
    return {key: sorted(chunks, key=lambda c: c.start) for key, chunks in found.items()}


def values(bench: Bench, sweeps: Sequence[Sweep]) -> list[np.ndarray]:
    """One array of values a sweep."""
    return [np.concatenate([c.values for c in chunks]) for chunks in answer(bench, sweeps).values()]


def edits_of(sweep: Sweep, trial: int) -> Edits:
    a, b = sweep.sites.bounds[trial : trial + 2]
    return [(s, sweep.edits[e]) for s, e in zip(sweep.sites[trial], sweep.sites.table[4, a:b], strict=True)]


def close(got, expected, what: object = "") -> None:
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max(), err_msg=str(what))


@pytest.mark.parametrize("edit", EDITS)
def test_packed_and_plain_agree_with_full_forward_passes(model, oracle, edit):
    cases = side_by_side()
    sweeps = sweeps_of(model.anatomy, cases, EDITS[edit])
    packed, plain = (answer(Bench(model, path), sweeps) for path in ("packed", "plain"))
    for i in range(len(cases)):
        asked = sweeps[i * len(READOUTS) : (i + 1) * len(READOUTS)]
        expected = np.array(
            [oracle.values(asked[0].run, edits_of(asked[0], t), READOUTS) for t in range(len(asked[0]))]
        )
        clean, corrupt = (oracle.values(r, (), READOUTS) for r in (asked[0].clean, asked[0].corrupt))
        for sweep, want, want_clean, want_corrupt in zip(asked, expected.T, clean, corrupt, strict=True):
            for path, answers in (("packed", packed), ("plain", plain)):
                chunks = answers[sweep.key]
                close(np.concatenate([c.values for c in chunks]), want, (path, sweep.readout))
                scale = np.abs(want).max()
                assert {c.path for c in chunks} == {path}
                assert all(abs(c.clean - want_clean) <= TOLERANCE * scale for c in chunks), sweep.readout
                assert all(abs(c.corrupt - want_corrupt) <= TOLERANCE * scale for c in chunks), sweep.readout
                assert all(c.noise_floor < 1e-4 for c in chunks), (path, sweep.readout)


def test_one_trial_may_do_different_things_at_different_sites(model, oracle):
    clean, corrupt = run(7), run(7, seed=1)
    edits = (Patch(corrupt), Zero(), Add(vector(WIDTH), -1.5))
    kinds = [KINDS.index(k) for k in ("resid", "head", "mlp", "resid")]
    sites = Sites.pack([0, 1, 1, 1], kinds, [-1, 0, -1, -1], [2, 4, 3, 3], [0, 1, 2, 2], sizes=[3, 1])
    sweeps = [Sweep(clean, corrupt, "damage", edits, sites, r) for r in READOUTS]
    expected = np.array([oracle.values(clean, edits_of(sweeps[0], t), READOUTS) for t in range(2)])
    for path in ("packed", "plain"):
        for got, want, readout in zip(values(Bench(model, path), sweeps), expected.T, READOUTS, strict=True):
            np.testing.assert_allclose(got, want, atol=1e-4, err_msg=str(readout))


def test_identity_changes_nothing(model):
    sweeps = sweeps_of(model.anatomy, side_by_side(), lambda length, width: Identity())
    for path in ("packed", "plain"):
        for sweep, chunks in zip(sweeps, answer(Bench(model, path), sweeps).values(), strict=True):
            for chunk in chunks:
                unedited = chunk.clean if sweep.effect == "damage" else chunk.corrupt
                np.testing.assert_allclose(chunk.values, unedited, rtol=0, atol=1e-4)


def test_means_and_deviations_are_those_of_the_reference_by_role(model, oracle):
    found = Bench(model).captures.moments(REFERENCE, KINDS)
    spots = [(r, p) for r in REFERENCE for p in range(len(r))]
    for (layer, kind), name in itertools.product(oracle.places(), ("begin", "subject_last", "final", "other")):
        seen = np.stack([oracle.seen(r)[layer, kind][p].numpy() for r, p in spots if role(r, p) == name])
        for got, want in ((found.mean, seen.mean(0)), (found.sd, seen.std(0))):
            np.testing.assert_allclose(
                got[kind][name][layer], want, rtol=0, atol=1e-4, err_msg=f"{layer} {kind} {name}"
            )


def test_noise_is_the_mean_plus_a_draw_that_its_seed_names(model):
    alike = (run(6, seed=3),) * 3  # their standard deviation is 0 wherever a role has one position
    single = [(run(6), None, "damage")]

    def at_final(make) -> np.ndarray:
        (sweep,) = sweeps_of(model.anatomy, single, make, READOUTS[:1])
        only = Sites.of([(s,) for sites in sweep.sites for s in sites if s.position == 5])
        sweep = msgspec.structs.replace(sweep, sites=only)
        packed, plain = (values(Bench(model, path), [sweep])[0] for path in ("packed", "plain"))
        close(packed, plain)
        return packed

    close(at_final(lambda length, width: Noise(alike, 0)), at_final(lambda length, width: Mean(alike)))
    first, again, other = (at_final(lambda length, width, s=s: Noise(REFERENCE, s)) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (np.abs(first - other) > 1e-3).all()


def test_a_prompt_alone_gives_the_numbers_it_gives_among_others(model):
    sweeps = sweeps_of(model.anatomy, side_by_side(), EDITS["patch"])
    together = values(Bench(model), sweeps)
    for sweep, want in zip(sweeps, together, strict=True):
        close(values(Bench(model), [sweep])[0], want, sweep.readout)


def test_many_small_packs_give_the_numbers_of_a_large_one(name, model):
    frugal = open_model(name, memory=1)
    sweeps = sweeps_of(model.anatomy, side_by_side(), EDITS["mean"])
    assert len(list(planner.packs(sweeps, frugal.tokens_per_pass))) >= 4
    assert len(list(planner.packs(sweeps, model.tokens_per_pass))) == 1
    for path in ("packed", "plain"):
        for sweep, few, many in zip(
            sweeps, values(Bench(model, path), sweeps), values(Bench(frugal, path), sweeps), strict=True
        ):
            close(many, few, sweep.readout)


def test_reusing_the_prefix_equals_recomputing_it(model):
    sweeps = sweeps_of(model.anatomy, side_by_side(), EDITS["patch"], READOUTS[:4])
    pieces = [planner.Piece(i, 0, len(s)) for i, s in enumerate(sweeps)]
    final, computed = [], []
    for prefixes in (True, False):
        bench = Bench(model)
        rows = planner.rows(pieces, sweeps, prefixes)
        replay = Replay(bench.captures, rows, Ops(bench.captures, rows, sweeps))
        hidden = replay.packed()
        ends = replay.first_token(np.diff(replay.bounds)) + rows.length - rows.prefix - 1
        order = np.lexsort((rows.trial, rows.identity, rows.variant, rows.piece))
        final.append(hidden[ends[order]].numpy())
        computed.append(len(hidden))
    close(*final)
    assert computed[0] < 0.8 * computed[1]
