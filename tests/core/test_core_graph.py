"""The graph has the edges that a model has, no more; texts and tables of edge sets come back as they went."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lashley.core.anatomy import Anatomy
from lashley.core.edit import Patch
from lashley.core.errors import BadSite
from lashley.core.graph import Edges, Graph
from lashley.core.readout import LogitDifference
from lashley.core.run import Run
from lashley.core.site import Site, Sites
from lashley.core.trial import Sweep

GPT2 = Graph(layers=12, heads=12)
SMALL = Graph(layers=2, heads=2, neurons=("L0.mlp.n3", "L1.mlp.n0"))
ANATOMY = Anatomy("llama", 2, 2, 8, 24, 16, 97, 64)


def stage(node: str, parallel: bool = False) -> float:
    """When a node is computed."""
    if node in ("embed", "logits"):
        return {"embed": -1.0, "logits": 1e9}[node]
    layer, kind = node.split(".")[:2]
    return int(layer[1:]) + (0.5 if kind == "mlp" and not parallel else 0.0)


def test_gpt2_small_has_as_many_edges_as_elsewhere():
    """32,491, as Hanna et al. (2403.17806) count them."""
    assert len(GPT2) == 32_491


@pytest.mark.parametrize("parallel", [False, True])
@given(layers=st.integers(1, 4), heads=st.integers(1, 3))
def test_edges_go_from_earlier_to_later_and_none_is_missing(parallel, layers, heads):
    graph = Graph(layers, heads, parallel)
    named = {graph.name(i) for i in range(len(graph))}
    expected = {f"{u}->{v}" for u in graph.senders for v in graph.receivers if stage(u, parallel) < stage(v, parallel)}
    assert named == expected and len(graph) == len(expected)


def test_edges_are_sorted_by_receiver_and_then_by_sender():
    sender, receiver = SMALL.edges.T
    assert (np.lexsort((sender, receiver)) == np.arange(len(SMALL))).all()


def test_a_drawn_out_neuron_sends_what_its_mlp_did_and_hears_nothing():
    heard = [SMALL.name(i) for i in range(len(SMALL)) if SMALL.name(i).startswith("L0.mlp.n3->")]
    assert [edge.split("->")[1] for edge in heard] == [
        r for r in SMALL.receivers if r.startswith("L1") or r == "logits"
    ]
    assert not any(receiver.endswith("n3") for receiver in SMALL.receivers)


@pytest.mark.parametrize("graph", [SMALL, Graph(2, 3, parallel=True), Graph(1, 1)])
def test_names_are_found_again(graph):
    assert [graph.index(graph.name(i)) for i in range(len(graph))] == list(range(len(graph)))


def test_a_dense_table_holds_every_edge_at_its_place():
    values = np.arange(1.0, len(SMALL) + 1)
    dense = SMALL.dense(values)
    assert np.count_nonzero(dense) == len(SMALL)
    edge = SMALL.index("L0.mlp.n3->L1.attn.h1.k")
    assert dense[SMALL.receivers.index("L1.attn.h1.k"), SMALL.senders.index("L0.mlp.n3")] == values[edge]


@pytest.mark.parametrize(
    "text",
    ["embed", "L1.mlp->L0.mlp", "L0.mlp->L0.attn.h0.q", "L0.attn.h7->logits", "embed->L0.mlp.n3", "logits->embed"],
)
def test_an_edge_that_is_not_there_is_refused_in_one_line(text):
    with pytest.raises(BadSite, match=text) as refused:
        SMALL.index(text)
    assert "\n" not in str(refused.value)


def test_the_graph_of_a_model_draws_out_the_neurons_asked_for():
    drawn = Graph.of(ANATOMY, ["L1.mlp.n10", "L1.mlp.n9", "L0.mlp.n2", "L1.mlp.n9"])
    assert drawn.neurons == ("L0.mlp.n2", "L1.mlp.n9", "L1.mlp.n10")
    assert Graph.of(msgspec.structs.replace(ANATOMY, parallel=True)).parallel


@pytest.mark.parametrize("text", ["L0.mlp", "L0.attn.h1", "L0.mlp.n24", "L9.mlp.n0", "L0.mlp.n1@-1"])
def test_what_cannot_be_drawn_out_is_refused(text):
    with pytest.raises(BadSite, match=text.split("@")[0]):
        Graph.of(ANATOMY, [text])


@given(st.lists(st.sets(st.integers(0, len(SMALL) - 1)), max_size=5))
def test_sets_come_back_from_numbers_and_from_marks(sets):
    edges = Edges.of(SMALL, sets)
    assert len(edges) == len(sets) and [set(s.tolist()) for s in edges] == sets
    assert Edges.of(SMALL, list(edges.table)) == edges
    assert edges.sizes.tolist() == [len(s) for s in sets]
    np.testing.assert_array_equal(edges.members, np.nonzero(edges.table))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(edges), type=Edges) == edges


def test_each_is_every_edge_alone():
    np.testing.assert_array_equal(Edges.each(SMALL).table, np.eye(len(SMALL), dtype=bool))


@pytest.mark.parametrize("bad", [[len(SMALL)], [-1], np.ones(3, bool)])
def test_edges_outside_the_graph_are_refused(bad):
    with pytest.raises(BadSite):
        Edges.of(SMALL, [bad])


RUN = Run("a b", (4, 5))
SWEEP = Sweep(
    RUN,
    RUN,
    "damage",
    (Patch(RUN),),
    Sites.of([]),
    LogitDifference((1,), (2,)),
    edges=Edges.of(SMALL, [[], [3], [3, 4]]),
)


def test_an_edge_sweep_is_its_trials():
    assert len(SWEEP) == 3 and [t.index for t in SWEEP] == [0, 1, 2] and SWEEP[1].sites == ()
    with pytest.raises(IndexError):
        SWEEP[3]


def test_a_trial_is_known_by_its_edges():
    alone = msgspec.structs.replace(SWEEP, edges=Edges.of(SMALL, [[3]]))
    assert SWEEP[1].key == alone[0].key != SWEEP[2].key
    assert len({t.key for t in SWEEP}) == 3
    other = Edges.of(msgspec.structs.replace(SMALL, parallel=True, neurons=()), [[3]])
    assert msgspec.structs.replace(SWEEP, edges=other)[0].key != alone[0].key


def test_an_edge_sweep_comes_back_from_storage_and_sites_have_no_edges():
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(SWEEP), type=Sweep)
    assert again == SWEEP and again.key == SWEEP.key
    plain = msgspec.structs.replace(SWEEP, edges=msgspec.UNSET, sites=Sites.of([[Site(0, "mlp")]]))
    assert b"edges" not in msgspec.msgpack.encode(plain) and len(plain) == 1
