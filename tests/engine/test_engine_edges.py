"""Patched edges against path patching by definition, activation patching, finite differences and plain gradients."""

from functools import cache

import msgspec
import numpy as np
import pytest
import torch
from edge_oracle import EdgeOracle
from oracle import Oracle
from tiny import EVERY, open_model, run

from lashley.core.edit import Patch, Zero
from lashley.core.errors import BadPrompt, BadSite, LashleyError
from lashley.core.graph import Edges, Graph
from lashley.core.readout import KL, LogitDifference, LogProbability
from lashley.core.run import EmbeddingNoise, Run
from lashley.core.site import Site, Sites
from lashley.core.trial import Chunk, Sweep
from lashley.engine.attribution import estimates
from lashley.engine.bench import Bench
from lashley.engine.explain import explain

FAMILIES = [name for name in EVERY if not name.startswith("gptj")]
PRE_NORM = [name for name in FAMILIES if EVERY[name].attn == EVERY[name].head]
NEURON = "L1.mlp.n3"
CLEAN, CORRUPT = run(8, 1), run(8, 2)
ANSWER = LogitDifference((5,), (7,))
READOUTS = [ANSWER, LogitDifference((5, 6), (7, 8, 9)), LogProbability((5, 6))]


@cache
def bench_of(name: str, dtype: torch.dtype = torch.float32, memory: int = 1 << 29) -> Bench:
    return Bench(open_model(name, memory, dtype))


def graph_of(bench: Bench, drawn: bool = True) -> Graph:
    return Graph.of(bench.anatomy, [NEURON] if drawn and bench.anatomy.neurons else [])


def sweep(graph: Graph, sets, clean: Run = CLEAN, corrupt: Run = CORRUPT, readout=ANSWER, **labels: str) -> Sweep:
    edges = sets if isinstance(sets, Edges) else Edges.of(graph, sets)
    return Sweep(clean, corrupt, "damage", (Patch(corrupt),), Sites.of([]), readout, labels, edges=edges)


def answers(bench: Bench, *sweeps: Sweep) -> list[np.ndarray]:
    found = [np.full(len(s), np.nan) for s in sweeps]
    for chunks in bench.run(sweeps):
        for c in chunks:
            number = [s.key for s in sweeps].index(c.sweep)
            found[number][c.start : c.start + len(c.values)] = c.values
    return found


def out_of(graph: Graph, *senders: str) -> np.ndarray:
    """All edges out of these senders, bool [edges]."""
    return np.isin(np.array(graph.senders)[graph.edges[:, 0]], senders)


def random_sets(graph: Graph, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.random(len(graph)) < share for share in (0.02, 0.1, 0.5, 0.9)]


@pytest.mark.parametrize("name", FAMILIES)
def test_no_edge_is_the_clean_run_and_every_edge_the_corrupt_one(name):
    bench = bench_of(name)
    graph = graph_of(bench)
    for readout in READOUTS:
        (none, every), (clean, corrupt) = (
            *answers(bench, sweep(graph, [[], range(len(graph))], readout=readout)),
            (bench.value(run, readout) for run in (CLEAN, CORRUPT)),
        )
        assert abs(clean - corrupt) > 0.01
        np.testing.assert_allclose([none, every], [clean, corrupt], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_patched_edges_are_those_of_path_patching_by_definition(name):
    bench = bench_of(name)
    graph = graph_of(bench)
    oracle = EdgeOracle(name, graph.neurons)
    sets = random_sets(graph)
    expected = []
    for marked in sets:
        patched = {tuple(graph.name(i).split("->")) for i in np.flatnonzero(marked)}
        logits = oracle.logits(CLEAN, CORRUPT, patched)  # pyright: ignore[reportArgumentType]
        expected.append(float(logits[5] - logits[7]))
    assert np.ptp(expected) > 0.1
    (found,) = answers(bench, sweep(graph, sets))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_all_edges_out_of_a_sender_are_an_activation_patch_of_it(name):
    bench = bench_of(name)
    graph = graph_of(bench)
    whole = graph_of(bench, drawn=False)
    sites = {"embed": "L0.resid", "L0.mlp": "L0.mlp", "L1.mlp": "L1.mlp"}
    if name in PRE_NORM:
        sites |= {"L0.attn.h1": "L0.attn.h1", "L1.attn.h3": "L1.attn.h3"}
    sets = [out_of(whole, sender) for sender in sites]
    sets.append(out_of(whole, *(f"L1.attn.h{h}" for h in range(4))))
    places = [[Site.parse(site)] for site in (*sites.values(), "L1.attn")]
    plain = Sweep(CLEAN, CORRUPT, "damage", (Patch(CORRUPT),), Sites.of(places), ANSWER)
    found, expected = answers(bench, sweep(whole, sets), plain)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)
    if name in PRE_NORM and graph.neurons:
        plain = msgspec.structs.replace(plain, sites=Sites.of([[Site.parse(NEURON)]]))
        found, expected = answers(bench, sweep(graph, [out_of(graph, NEURON)]), plain)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_drawn_out_neuron_and_the_rest_of_its_mlp_are_the_whole_mlp(name):
    bench = bench_of(name)
    if not bench.anatomy.neurons:
        pytest.skip("no neurons")
    drawn, whole = graph_of(bench), graph_of(bench, drawn=False)
    (found,) = answers(bench, sweep(drawn, [out_of(drawn, NEURON), out_of(drawn, "L1.mlp", NEURON)]))
    (expected,) = answers(bench, sweep(whole, [out_of(whole, "L1.mlp")]))
    assert found[1] == pytest.approx(expected[0], rel=1e-4, abs=2e-5)
    assert abs(found[0] - found[1]) > 1e-4


def test_what_shares_a_pass_does_not_change_answers(tiny_llama):
    """Other prompts and lengths, answers of several tokens, site sweeps between, and a budget of single trials."""
    bench, narrow = Bench(tiny_llama), Bench(open_model("llama, grouped queries", memory=1))
    graph = graph_of(bench)
    plain = Sweep(run(6, 3), None, "damage", (Zero(),), bench.anatomy.every("head"), ANSWER)
    asked = [
        sweep(graph, random_sets(graph)),
        sweep(graph, random_sets(graph, 1), run(6, 3), run(6, 4), READOUTS[1]),
        plain,
        sweep(graph, random_sets(graph, 2), run(8, 5), CLEAN),
    ]
    alone = [answers(bench, s)[0] for s in asked]
    for one in (bench, narrow):
        for found, expected in zip(answers(one, *asked), alone, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_answers_that_are_there_are_not_computed_again(tiny_llama):
    bench = Bench(tiny_llama)
    graph = graph_of(bench)
    asked = sweep(graph, Edges.each(graph))
    (whole,) = answers(bench, asked)
    left: list[Chunk] = [c for cs in bench.run([asked], {asked.key: [(0, 100), (150, len(asked))]}) for c in cs]
    assert sum(len(c.values) for c in left) == 50
    for c in left:
        np.testing.assert_allclose(c.values, whole[c.start : c.start + len(c.values)], rtol=1e-5, atol=1e-5)


def test_the_floor_is_what_the_empty_set_does(tiny_llama):
    bench = Bench(tiny_llama)
    graph = graph_of(bench)
    chunks = [c for cs in bench.run([sweep(graph, random_sets(graph))]) for c in cs]
    assert 0 < max(c.noise_floor for c in chunks) < 1e-4
    assert {c.path for c in chunks} == {"plain"}


def test_what_edges_cost_is_told_before(tiny_llama):
    bench = Bench(tiny_llama)
    graph = graph_of(bench)
    asked = [sweep(graph, random_sets(graph)), sweep(graph, random_sets(graph), readout=READOUTS[1])]
    cost = explain(bench, asked)
    assert (cost.trials, cost.rows, cost.routes) == (8, 15, {"plain": 2})
    assert cost.operations > 8 * 3 * 8 * bench.model.layer_flops


GRAPH = Graph(3, 4)
BAD = {
    "another model's graph": ({"edges": Edges.of(Graph(2, 4), [[0]])}, BadSite),
    "a parallel graph": ({"edges": Edges.of(Graph(3, 4, parallel=True), [[0]])}, BadSite),
    "a neuron that is not there": ({"edges": Edges.of(Graph(3, 4, neurons=("L0.mlp.n99",)), [[0]])}, BadSite),
    "half a set": ({"edges": Edges(GRAPH, b"\0")}, BadSite),
    "sites, too": ({"sites": Sites.of([[Site(0, "mlp")]])}, BadSite),
    "another edit": ({"edits": (Zero(),)}, BadSite),
    "restoration": ({"effect": "restoration"}, BadSite),
    "a longer source": ({"edits": (Patch(run(9)),)}, BadPrompt),
}


@pytest.mark.parametrize("change, error", BAD.values(), ids=list(BAD))
def test_edge_sweeps_that_make_no_sense_are_refused_in_one_line(tiny_llama, change, error):
    with pytest.raises(error) as refused:
        list(Bench(tiny_llama).run([msgspec.structs.replace(sweep(GRAPH, [[0]]), **change)]))
    assert "\n" not in str(refused.value)


def test_a_family_whose_attention_cannot_be_reached_is_refused():
    bench = bench_of("gptj, not packed")
    asked = sweep(Graph.of(bench.anatomy), [[0]])
    for ask in (lambda: list(bench.run([asked])), lambda: list(estimates(bench, [asked]))):
        with pytest.raises(BadSite, match="gptj"):
            ask()


# -- screening -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_estimates_of_small_changes_are_what_the_changes_do(name):
    """Every edge, exactly patched from runs whose embeddings are a little off to either side."""
    bench = bench_of(name, torch.float32 if name == "mixtral" else torch.float64)
    graph = graph_of(bench)
    sides = [msgspec.structs.replace(CLEAN, noise=EmbeddingNoise(sd, 3)) for sd in (1e-3, -1e-3)]
    for readout in READOUTS[:2]:
        asked = [sweep(graph, Edges.each(graph), CLEAN, side, readout) for side in sides]
        up, down = answers(bench, *asked)
        (expected,) = estimates(bench, asked[:1])
        most = np.abs(up - down).max() / 2
        assert most > 1e-4
        np.testing.assert_allclose(expected, (up - down) / 2, atol=0.01 * most)


@pytest.mark.parametrize("name", FAMILIES)
def test_edges_out_of_a_sender_add_up_to_its_attribution_patching(name):
    bench = bench_of(name)
    graph = graph_of(bench, drawn=False)
    senders = ["embed", *(f"L{la}.mlp" for la in range(graph.layers))]
    sites = ["L0.resid", *senders[1:]]
    if name in PRE_NORM:
        sites += [s for s in graph.senders if "attn" in s]
        senders += [s for s in graph.senders if "attn" in s]
    for readout in READOUTS[:2]:
        plain = Sweep(CLEAN, CORRUPT, "damage", (Patch(CORRUPT),), Sites.of([[Site.parse(s)] for s in sites]), readout)
        sums = sweep(graph, [out_of(graph, sender) for sender in senders], readout=readout)
        each = sweep(graph, Edges.each(graph), readout=readout)
        found, single, expected = estimates(bench, [sums, each, plain])
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * scale)
        np.testing.assert_allclose(found, sums.edges.table @ single, rtol=1e-6, atol=1e-6 * scale)


@pytest.mark.parametrize("name", FAMILIES)
def test_integrated_gradients_are_those_on_the_way_from_source_to_clean(name):
    """Of each MLP, against plain autograd at its output with the embeddings replaced."""
    bench, oracle = bench_of(name), Oracle(name)
    graph = graph_of(bench, drawn=False)
    steps, layers = 3, range(graph.layers)
    clean, corrupt = oracle.seen(CLEAN), oracle.seen(CORRUPT)
    expected = np.zeros(graph.layers)
    for k in range(steps):
        start = corrupt[0, "resid"] + k / steps * (clean[0, "resid"] - corrupt[0, "resid"])
        leaves = {la: torch.zeros_like(clean[la, "mlp"]).requires_grad_() for la in layers}
        changes = {(la, "mlp"): lambda x, leaf=leaves[la]: x + leaf for la in layers}
        logits = oracle.forward(CLEAN, (), {(0, "resid"): lambda x, start=start: start[None], **changes})[-1]
        (logits[5] - logits[7]).backward()
        for la, leaf in leaves.items():
            step = (corrupt[la, "mlp"] - clean[la, "mlp"]).view_as(leaf)
            expected[la] += float((step * leaf.grad).sum()) / steps
    sets = [out_of(graph, f"L{la}.mlp") for la in layers]
    (found,) = estimates(bench, [sweep(graph, sets, attribution="eap-ig", steps=str(steps))])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_estimates_do_not_depend_on_what_is_asked_beside(tiny_llama):
    bench, narrow = Bench(tiny_llama), Bench(open_model("llama, grouped queries", memory=1))
    graph, drawn = graph_of(bench, drawn=False), graph_of(bench)
    asked = [
        sweep(graph, random_sets(graph)),
        sweep(graph, random_sets(graph), run(6, 3), run(6, 4), READOUTS[1], attribution="eap-ig", steps="2"),
        Sweep(run(6, 3), None, "damage", (Zero(),), bench.anatomy.every("head"), ANSWER),
        sweep(drawn, random_sets(drawn), run(8, 5), CLEAN, attribution="eap-ig"),
    ]
    alone = [next(estimates(bench, [s])) for s in asked]
    for one in (bench, narrow):
        for found, expected in zip(estimates(one, asked), alone, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("labels", [{"attribution": "guess"}, {"attribution": "eap-ig", "steps": "0"}])
def test_an_unknown_attribution_is_refused(tiny_llama, labels):
    with pytest.raises(LashleyError, match="eap-ig"):
        list(estimates(Bench(tiny_llama), [sweep(GRAPH, [[0]], **labels)]))


def test_a_readout_without_a_gradient_is_refused(tiny_llama):
    with pytest.raises(TypeError, match="gradient"):
        list(estimates(Bench(tiny_llama), [sweep(GRAPH, [[0]], readout=KL())]))
