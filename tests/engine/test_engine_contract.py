"""Every family x site x edit x readout: both packed routes, the plain one and the oracle give the same numbers."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import msgspec
import numpy as np
import pytest
import torch
from oracle import Edits, Oracle, role, score, unit
from tiny import EVERY, MORE, TINY, WIDTH, open_model, run

from lashley.core.edit import Add, Block, Constant, Edit, Identity, Mean, Noise, Patch, ProjectOut, Resample, Zero
from lashley.core.errors import BadSite
from lashley.core.readout import KL, LogitDifference, LogProbability, Loss, Probability, Rank
from lashley.core.run import EmbeddingNoise, Run
from lashley.core.site import KINDS, Site, Sites
from lashley.core.trial import Chunk, Sweep
from lashley.engine import planner
from lashley.engine.bench import Bench

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
FEW = (LogitDifference((5, 9), (7,)), Rank((5,)), KL(), Loss())  # where the readout is not the point


def vector(width: int) -> bytes:
    return np.random.default_rng(width).standard_normal(width).astype("<f4").tobytes()


REFERENCE = tuple(run(n, seed=3) for n in (6, 7, 9))
EDITS: dict[str, Callable[[int, int], Edit]] = {  # run's length, site's width -> edit
    "zero": lambda length, width: Zero(),
    "patch": lambda length, width: Patch(run(length, seed=1)),
    "resample": lambda length, width: Resample(run(length, seed=2)),
    "mean": lambda length, width: Mean(REFERENCE),
    "constant": lambda length, width: Constant(vector(width)),
    "add": lambda length, width: Add(vector(width), 2.0),
    "project_out": lambda length, width: ProjectOut(vector(width)),
}


def beginning(runs: Iterable[Run], begin: int, subject: tuple[int, int]) -> tuple[Run, ...]:
    """The same tokens with other roles."""
    return tuple(msgspec.structs.replace(r, begin=begin, subject=subject) for r in runs)


ROLES = [(1, (2, 4)), (2, (2, 3)), (0, (2, 4)), (0, (0, 1)), (0, (0, 2)), (0, (0, 0)), (0, (1, 6))]


@pytest.fixture(params=EVERY)
def name(request) -> str:
    return request.param


@pytest.fixture
def routes(model) -> tuple[planner.Route, ...]:
    return ("suffix", "whole", "plain") if model.family.packed else ("plain",)


def by(model, route: planner.Route) -> Bench:
    """A bench that goes this way with every sweep, whatever it costs."""
    bench = Bench(model, "plain" if route == "plain" else "packed")
    bench.route = lambda sweep: route
    return bench


def trials(anatomy, length: int) -> list[list[Site]]:
    """Every kind at one early position, at the last and at all; both ends of the residual stream; joint sets."""
    last = anatomy.layers - 1
    singles = [
        Site((k + p) % anatomy.layers, kind, {"head": 1, "neuron": 5}.get(kind), at)
        for k, kind in enumerate(anatomy.kinds)
        for p, at in enumerate((2, length - 1, None))
    ]
    ends = [Site(0, "resid", None, 1), Site(last + 1, "resid", None, length - 1), Site(last + 1, "resid")]
    joint = [
        [Site(0, "head", 2, 1), Site(last, "neuron", 3, 4)],
        [Site(1, "resid", None, 3), Site(1, "mlp", None, 0), Site(0, "attn"), Site(1, "neuron", 0, 3)],
        [Site(1, "mlp", None, 2), Site(1, "neuron", 5, 2), Site(1, "neuron", 0, length - 1)],  # in the first layer
    ]
    joint = [[s for s in sites if s.kind in anatomy.kinds] for sites in joint]
    return [*([s] for s in singles + ends), *joint]


def sweeps_of(
    anatomy, cases: Iterable[tuple[Run, Run | None, str]], *makes: Callable[[int, int], Edit], readouts=READOUTS
) -> list[Sweep]:
    """One sweep a case and readout. A sweep's edits are for sites as wide as the stream, a head, a neuron.

    Of several edits each is done at every kind of site, but at one position of three, not the same for all.
    """
    widths = (WIDTH, anatomy.head_width, 1)
    found = []
    for clean, corrupt, effect in cases:
        numbered = list(enumerate(trials(anatomy, len(clean))))
        shares = [[s for i, s in numbered if len(makes) == 1 or i % 3 == (i // 3 + e) % 3] for e in range(len(makes))]
        sets = list(itertools.chain(*shares))
        edit_of = [
            len(widths) * e + (widths.index(anatomy.site_width(s.kind)) if s.unit is not None else 0)
            for e, share in enumerate(shares)
            for sites in share
            for s in sites
        ]
        table = Sites.of(sets).table.copy()
        table[4] = edit_of
        sites = Sites.pack(*table, sizes=[len(s) for s in sets])
        edits = tuple(make(len(clean), w) for make in makes for w in widths)
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


def agree(model, oracle: Oracle, routes, makes, readouts) -> None:
    """Every route gives the oracle's numbers."""
    cases = side_by_side()
    sweeps = sweeps_of(model.anatomy, cases, *makes, readouts=readouts)
    answers = {route: answer(by(model, route), sweeps) for route in routes}
    for i in range(len(cases)):
        asked = sweeps[i * len(readouts) : (i + 1) * len(readouts)]
        expected = np.array(
            [oracle.values(asked[0].run, edits_of(asked[0], t), readouts) for t in range(len(asked[0]))]
        )
        clean, corrupt = (oracle.values(r, (), readouts) for r in (asked[0].clean, asked[0].corrupt))
        for sweep, want, want_clean, want_corrupt in zip(asked, expected.T, clean, corrupt, strict=True):
            for route in routes:
                chunks = answers[route][sweep.key]
                close(np.concatenate([c.values for c in chunks]), want, (route, sweep.readout))
                scale = np.abs(want).max()
                assert {c.path for c in chunks} == {"plain" if route == "plain" else "packed"}
                assert all(abs(c.clean - want_clean) <= TOLERANCE * scale for c in chunks), sweep.readout
                assert all(abs(c.corrupt - want_corrupt) <= TOLERANCE * scale for c in chunks), sweep.readout
                assert all(c.noise_floor < 1e-4 for c in chunks), (route, sweep.readout)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("edit", EDITS)
def test_packed_and_plain_agree_with_full_forward_passes(model, oracle, routes, edit):
    agree(model, oracle, routes, [EDITS[edit]], READOUTS)


@pytest.mark.parametrize("name", ["gpt2"])
@pytest.mark.parametrize("roles", ROLES, ids=str)
def test_a_mean_goes_where_its_role_is(model, oracle, routes, roles):
    """To every position of runs of other lengths, an answer's tokens too, with a beginning-of-text token or without."""
    cases = [(*beginning((clean, corrupt), *roles), effect) for clean, corrupt, effect in side_by_side()]
    sweeps = sweeps_of(
        model.anatomy, cases, lambda length, width: Mean(beginning(REFERENCE, *roles)), readouts=READOUTS[1:2]
    )
    for route in routes:
        for sweep, found in zip(sweeps, values(by(model, route), sweeps), strict=True):
            want = [oracle.values(sweep.run, edits_of(sweep, t), READOUTS[1:2])[0] for t in range(len(sweep))]
            close(found, want, (route, sweep.run.text))


@pytest.mark.parametrize("name", MORE)
def test_more_families_agree_with_full_forward_passes(model, oracle, routes):
    agree(model, oracle, routes, EDITS.values(), FEW)


@pytest.mark.parametrize("name", MORE)
def test_more_families_are_read_and_differentiated_at_the_same_sites(model, oracle):
    runs, units = [run(6), run(6, seed=1), run(9)], {"head": 2, "neuron": 7}
    sites = [Site(layer, kind, units.get(kind)) for layer, kind in oracle.places()]
    for site, got in Bench(model).read(runs, sites).items():
        want = torch.cat([unit(oracle.seen(r)[site.layer, site.kind], site) for r in runs])
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-4, err_msg=str(site))
    kinds = model.anatomy.kinds
    for one, found in zip(runs, Bench(model).grad(runs, FEW[0], kinds), strict=True):
        expected = oracle.gradient(one, FEW[0])
        for kind in kinds:
            close(found[kind], np.stack([g for (_, k), g in expected.items() if k == kind]), kind)


def test_one_trial_may_do_different_things_at_different_sites(model, oracle, routes):
    clean, corrupt = run(7), run(7, seed=1)
    edits = (Patch(corrupt), Zero(), Add(vector(WIDTH), -1.5))
    kinds = [KINDS.index(k) for k in ("resid", "head", "mlp", "resid")]
    sites = Sites.pack([0, 1, 1, 1], kinds, [-1, 0, -1, -1], [2, 4, 3, 3], [0, 1, 2, 2], sizes=[3, 1])
    sweeps = [Sweep(clean, corrupt, "damage", edits, sites, r) for r in READOUTS]
    expected = np.array([oracle.values(clean, edits_of(sweeps[0], t), READOUTS) for t in range(2)])
    for route in routes:
        for got, want, readout in zip(values(by(model, route), sweeps), expected.T, READOUTS, strict=True):
            np.testing.assert_allclose(got, want, atol=1e-4, err_msg=str(readout))


def test_identity_changes_nothing(model, routes):
    sweeps = sweeps_of(model.anatomy, side_by_side(), lambda length, width: Identity(), readouts=FEW)
    for route in routes:
        for sweep, chunks in zip(sweeps, answer(by(model, route), sweeps).values(), strict=True):
            for chunk in chunks:
                unedited = chunk.clean if sweep.effect == "damage" else chunk.corrupt
                np.testing.assert_allclose(chunk.values, unedited, rtol=0, atol=1e-4)


def test_means_and_deviations_are_those_of_the_reference_by_role(model, oracle):
    """Without a beginning-of-text token position 0 is a class of its own, whatever else it is."""
    for roles in ROLES:
        reference = beginning(REFERENCE, *roles)
        found = Bench(model).captures.moments(reference, model.anatomy.kinds)
        spots = [(r, p) for r in reference for p in range(len(r))]
        for (layer, kind), name in itertools.product(oracle.places(), {role(r, p) for r, p in spots}):
            seen = np.stack([oracle.seen(r)[layer, kind][p].numpy() for r, p in spots if role(r, p) == name])
            for got, want in ((found.mean, seen.mean(0)), (found.sd, seen.std(0))):
                where = f"{layer} {kind} {name} {roles}"
                np.testing.assert_allclose(got[kind][name][layer], want, rtol=0, atol=1e-4, err_msg=where)


def test_noise_is_the_mean_plus_a_draw_that_its_seed_names(name, model, routes):
    alike = (run(6, seed=3),) * 3  # their standard deviation is 0 wherever a role has one position
    single = [(run(6), None, "damage")]

    def at_final(make) -> np.ndarray:
        (sweep,) = sweeps_of(model.anatomy, single, make, readouts=READOUTS[:1])
        only = Sites.of([(s,) for sites in sweep.sites for s in sites if s.position == 5])
        sweep = msgspec.structs.replace(sweep, sites=only)
        first, *others = (values(by(model, route), [sweep])[0] for route in routes)
        for other in others:
            close(first, other)
        return first

    close(at_final(lambda length, width: Noise(alike, 0)), at_final(lambda length, width: Mean(alike)))
    first, again, other = (at_final(lambda length, width, s=s: Noise(REFERENCE, s)) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    still = (np.abs(first - other) < 1e-3).sum()
    assert still == (name == "opt")  # whose neuron is off in all the reference runs


def test_a_prompt_alone_gives_the_numbers_it_gives_among_others(model, routes):
    sweeps = sweeps_of(model.anatomy, side_by_side(), EDITS["patch"], readouts=FEW)
    together = values(by(model, routes[0]), sweeps)
    for sweep, want in zip(sweeps, together, strict=True):
        close(values(by(model, routes[0]), [sweep])[0], want, sweep.readout)


@pytest.mark.parametrize("name", TINY)
def test_many_small_packs_give_the_numbers_of_a_large_one(name, model, routes):
    frugal = open_model(name, memory=1)
    sweeps = sweeps_of(model.anatomy, side_by_side(), EDITS["mean"], readouts=FEW)
    for route in routes:
        packs = [list(planner.packs(sweeps, m.tokens_per_pass, (), [route] * len(sweeps))) for m in (frugal, model)]
        assert len(packs[0]) >= 3 and len(packs[1]) == 1
        few, many = (values(by(m, route), sweeps) for m in (model, frugal))
        for sweep, one, other in zip(sweeps, few, many, strict=True):
            close(other, one, sweep.readout)


def test_the_suffix_route_computes_fewer_tokens(tiny_llama):
    sweeps = sweeps_of(tiny_llama.anatomy, side_by_side(), EDITS["patch"], readouts=FEW[:3])
    pieces = [planner.Piece(i, 0, len(s)) for i, s in enumerate(sweeps)]
    computed = {}
    for route in ("suffix", "whole"):
        rows = planner.rows(pieces, sweeps, [route] * len(sweeps))
        computed[route] = (rows.length - rows.prefix).sum()
    assert computed["suffix"] < 0.8 * computed["whole"]


@pytest.mark.parametrize("name", [n for n in EVERY if n != "gptj, not packed"])
def test_long_rows_over_long_prefixes_are_those_of_plain_passes(model):
    """Rows too long to share their prefix, alone in a pack and beside another prompt of equal length."""
    sets = [
        [Site(la, kind, None, at)] for la in range(model.anatomy.layers) for kind in ("resid", "mlp") for at in (5, 30)
    ]
    both = [Sweep(run(36, s), None, "damage", (Patch(run(36, s + 5)),), Sites.of(sets), READOUTS[0]) for s in range(2)]
    for sweeps in (both[:1], both):
        for got, want in zip(*(values(by(model, route), sweeps) for route in ("suffix", "plain")), strict=True):
            close(got, want)


BLOCKED = (  # of queries at 2 and later keys 1 and 0 are never all that there is
    [Site(0, "head", 1, 4)],
    [Site(1, "attn", None, 5)],
    [Site(0, "attn", None, 3), Site(1, "attn", None, 3)],
    [Site(1, "head", 2, 5), Site(0, "head", 0, 2)],
    [Site(1, "attn", None, 4)],
    [Site(0, "head", 3), Site(1, "attn")],
)


@pytest.mark.parametrize("name", [n for n in EVERY if n != "gptj, not packed"])
def test_blocked_attention_is_what_a_masked_forward_pass_gives(model, oracle, routes):
    last = model.anatomy.layers - 1
    sets = [*BLOCKED, [Site(last, "attn", None, 3)], [Site(last, "head", 1, 5)]]
    runs, keys = [run(6), run(9)], (1, 2)
    sweeps = [Sweep(r, None, "damage", (Block(keys),), Sites.of(sets), readout) for r in runs for readout in FEW]
    for route in routes:
        for sweep, got in zip(sweeps, values(by(model, route), sweeps), strict=True):

            def logits(more=(), sites=(), sweep=sweep):
                return oracle.blocked(sweep.run, more, sites, keys)

            want = [
                float(score(sweep.readout, sweep.run, partial(logits, sites=sites), lambda: logits())) for sites in sets
            ]
            close(got, want, (route, sweep.readout))


def test_blocked_attention_is_refused_where_it_cannot_be_had(model):
    def ask(site: Site, keys=(1,), of=model):
        return list(Bench(of).run([Sweep(run(6), None, "damage", (Block(keys),), Sites.of([[site]]), FEW[0])]))

    with pytest.raises(BadSite, match="attention is blocked at attn and head sites, not at mlp"):
        ask(Site(0, "mlp"))
    with pytest.raises(BadSite, match=r"blocked keys .* lie outside"):
        ask(Site(0, "attn"), (6,))
    with pytest.raises(BadSite, match="none of it can be blocked"):
        ask(Site(0, "attn"), of=open_model("gptj, not packed"))


@pytest.mark.parametrize("name", [n for n in EVERY if n != "gptj, not packed"])
def test_a_query_without_any_key_gets_nothing_from_any_head(model, routes):
    nothing = Sites.of([[Site(0, "head", h, 1) for h in range(model.anatomy.heads)]]), Zero()
    keyless = Sites.of([[Site(0, "attn", None, 1)]]), Block((0, 1))
    for route in routes:
        close(
            *(values(by(model, route), [Sweep(run(6), None, "damage", (e,), s, FEW[0])]) for s, e in (nothing, keyless))
        )


def test_a_site_named_twice_in_one_trial_is_refused(model):
    twice = [Site(0, "mlp", None, 3), Site(1, "mlp"), Site(0, "mlp")]
    with pytest.raises(BadSite, match=r"one trial edits L0\.mlp twice"):
        list(Bench(model).run([Sweep(run(6), None, "damage", (Zero(),), Sites.of([twice]), FEW[0])]))


def test_neuron_sites_of_a_mixture_of_experts_are_refused():
    model = open_model("mixtral")
    site = Site(0, "neuron", 3)
    sweep = Sweep(run(6), None, "damage", (Zero(),), Sites.of([[site]]), READOUTS[0])
    with pytest.raises(BadSite, match=r"mixtral has no neuron sites: .* choose mlp"):
        Bench(model).read([run(6)], [site])
    with pytest.raises(BadSite, match=r"mixtral has no neuron sites: .* choose mlp"):
        model.anatomy.every("neuron")
    with pytest.raises(BadSite, match=r"L0 has no neuron sites: .* choose mlp"):
        Bench(model).captures.get([run(6)], ["neuron"])
    with pytest.raises(BadSite):
        list(Bench(model).run([sweep]))
