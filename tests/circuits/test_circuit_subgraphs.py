"""Cutting down and drawing circuits against a graph library written out: paths by depth-first search."""

import numpy as np
import pytest

from lashley.core.graph import Graph
from lashley.experiments.circuit.subgraphs import SIZES, by_sender, component, count, drawn, pruned, strongest

GRAPHS = {
    "sequential": Graph(layers=3, heads=2),
    "parallel": Graph(layers=3, heads=2, parallel=True),
    "neurons": Graph(layers=2, heads=1, neurons=("L0.mlp.n3", "L1.mlp.n0")),
}


@pytest.fixture(params=GRAPHS.values(), ids=GRAPHS.keys())
def graph(request) -> Graph:
    return request.param


def on_a_path(graph: Graph, chosen: np.ndarray) -> set[str]:
    """The edges met on walks from embed to logits, by names alone."""
    names = [graph.name(i) for i in np.flatnonzero(chosen)]
    pairs = [(name, *name.split("->")) for name in names]

    def follows(sender: str, target: str) -> bool:
        """Whether what a component hears by `target` is in what it sends as `sender`."""
        own = component(target)
        return sender == own or (own.endswith(".mlp") and sender.startswith(f"{own}.n"))

    def onward(name: str, target: str, seen: frozenset) -> set[str]:
        if target == "logits":
            return {*seen, name}
        found: set[str] = set()
        for other, sender, into in pairs:
            if follows(sender, target):
                found |= onward(other, into, seen | {name})
        return found

    return set().union(*(onward(n, v, frozenset()) for n, u, v in pairs if u == "embed"), set())


@pytest.mark.parametrize("seed", range(6))
def test_what_is_left_is_on_a_path(graph, seed):
    chosen = np.random.default_rng(seed).random(len(graph)) < 0.1 + 0.03 * seed
    left = pruned(graph, chosen)
    assert {graph.name(i) for i in np.flatnonzero(left)} == on_a_path(graph, chosen)


def test_the_whole_graph_stays_whole_and_nothing_nothing(graph):
    assert pruned(graph, np.ones(len(graph), bool)).all()
    assert not pruned(graph, np.zeros(len(graph), bool)).any()


@pytest.mark.parametrize("size", [1, 5, 20])
def test_random_circuits_are_connected_large_enough_and_of_their_seed(graph, size):
    made = drawn(graph, size, "a")
    assert made.sum() >= size and (pruned(graph, made) == made).all()
    assert (made == drawn(graph, size, "a")).all() and (made != drawn(graph, size, "b")).any()


def test_a_random_circuit_of_all_edges_is_all(graph):
    assert drawn(graph, len(graph), "a").all()


def test_the_strongest_are_by_size_whatever_their_sign():
    assert strongest(np.array([0.1, -3.0, 2.0, 0.0]), 2).tolist() == [False, True, True, False]


def test_sizes_are_rounded_down_as_in_mib():
    graph = GRAPHS["sequential"]
    assert [count(graph, share) for share in SIZES] == [int(share * len(graph)) for share in SIZES]


def test_every_edge_belongs_to_the_components_it_joins(graph):
    some = pruned(graph, np.ones(len(graph), bool))
    parts = by_sender(graph, some)
    assert list(parts) == list(graph.senders)
    head = {graph.name(i) for i in np.flatnonzero(parts["L1.attn.h0"])}
    assert head == {n for n in map(graph.name, range(len(graph))) if "L1.attn.h0->" in n or "->L1.attn.h0." in n}
