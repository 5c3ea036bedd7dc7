"""Matched random sets are like the set they stand beside, and never the set itself."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lashley.core.site import Site, parse_sites
from lashley.stats.peers import ENOUGH, NEAREST, different, matched

RNG = np.random.default_rng(0)
NEURONS = {(layer, "neuron"): RNG.random(300) for layer in range(4)}
HEADS = {(layer, "head"): RNG.random(4) for layer in range(4)}
LAYERS = {(layer, "mlp"): np.ones(1) for layer in range(4)}


def drawn(text: str, magnitudes, count: int = 50, **words):
    return matched(parse_sites(text), magnitudes, count, "seed", **words)


@pytest.mark.parametrize("text", ["L1.mlp.n7", "L1.mlp.n7@final", "L1.mlp.n7+L1.mlp.n9+L3.mlp.n7@subject_last"])
def test_peers_are_other_units_of_the_same_layers_kinds_and_places(text):
    own = parse_sites(text)
    for peer in drawn(text, NEURONS):
        assert [(s.layer, s.kind, s.position) for s in peer] == [(s.layer, s.kind, s.position) for s in own]
        assert len({(s.layer, s.unit) for s in peer}) == len(own)
        assert not {(s.layer, s.unit) for s in peer} & {(s.layer, s.unit) for s in own}


def test_they_are_near_in_activation():
    sizes = NEURONS[1, "neuron"]
    gap = np.abs(np.log(sizes + 1e-12) - np.log(sizes[7] + 1e-12))
    near = set(np.argsort(gap, kind="stable")[1 : NEAREST + 1].tolist())
    assert {s.unit for (s,) in drawn("L1.mlp.n7", NEURONS)} <= near


def test_of_one_unit_none_comes_twice_however_many_are_asked_for():
    for count in (10, 99, 1_000):
        peers = drawn("L1.mlp.n7", NEURONS, count)
        assert len(set(peers)) == len(peers) == min(count, 299)


def test_units_that_are_named_are_drawn_last():
    near = [s for (s,) in drawn("L1.mlp.n7", NEURONS)]
    assert not {s for (s,) in drawn("L1.mlp.n7", NEURONS, last=near)} & {*near}
    every = [s for (s,) in drawn("L1.mlp.n7", NEURONS, 299)]
    assert len(drawn("L1.mlp.n7", NEURONS, last=every)) == 50
    three = parse_sites("L0.attn.h0+L2.attn.h1+L3.attn.h3")
    peers = drawn("L1.attn.h2", HEADS, 9, anywhere=True, last=three)
    assert len(peers) == 9 and not {s for (s,) in peers} & {*three}
    sets = drawn("L1.mlp.n7+L1.mlp.n9", NEURONS, last=near)
    assert len(sets) == 50 and not {s for peer in sets for s in peer} & {*near}


def test_where_a_layer_has_few_units_all_layers_count_if_they_may():
    assert all(len(units) < ENOUGH for units in HEADS.values())
    assert {s.layer for (s,) in drawn("L1.attn.h2", HEADS)} == {1}
    wide = drawn("L1.attn.h2", HEADS, anywhere=True)
    assert {s.layer for (s,) in wide} == set(range(4)) and len(wide) == 15


def test_peers_of_a_whole_sublayer_are_the_other_layers():
    assert {s.layer for (s,) in drawn("L1.mlp", LAYERS)} == {0, 2, 3}


def test_where_too_few_are_left_there_are_none():
    assert drawn("L0.mlp+L1.mlp+L2.mlp", LAYERS) == []
    assert drawn("L0.mlp.n0", {(0, "neuron"): np.ones(1)}) == []


def test_they_depend_on_the_seed_alone():
    one, again = drawn("L1.mlp.n7", NEURONS), drawn("L1.mlp.n7", NEURONS)
    assert one == again != matched(parse_sites("L1.mlp.n7"), NEURONS, 50, "another seed")


def every(sites, units: int) -> set[frozenset]:
    """All sets of other heads of the same layers at the same places, by trying every one; `units` heads a layer."""
    own = list(dict.fromkeys((s.layer, s.unit) for s in sites))
    spare = [[u for u in range(units) if (layer, u) not in own] for layer, _ in own]
    found = set()
    for drawn in itertools.product(*spare):
        peers = dict(zip(own, drawn, strict=True))
        if len({(layer, u) for (layer, _), u in peers.items()}) == len(own):
            found.add(frozenset(Site(s.layer, s.kind, peers[s.layer, s.unit], s.position) for s in sites))
    return found


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 4), st.sampled_from([None, "final"])),
        min_size=1, max_size=4, unique=True,
    ),
    st.integers(1, 60),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_no_set_comes_twice_and_none_is_missing_where_they_are_few(chosen, count):
    sites = [Site(layer, "head", unit, at) for layer, unit, at in chosen]
    heads = {(layer, "head"): np.ones(5) for layer in range(3)}
    got = matched(sites, heads, count, "seed")
    exist = every(sites, 5)
    assert len({frozenset(s) for s in got}) == len(got) == min(count, len(exist))
    assert {frozenset(s) for s in got} <= exist


def test_all_are_found_where_a_layer_leaves_few_out_of_very_many_ways():
    """Eight of sixteen heads: 8! orders of one set."""
    text = "+".join(f"L0.attn.h{h}" for h in range(8))
    (one,) = matched(parse_sites(text), {(0, "head"): np.ones(16)}, 20, "seed")
    assert {s.unit for s in one} == set(range(8, 16))
    text = "+".join(f"L0.attn.h{h}" for h in range(12))
    assert len(matched(parse_sites(text), {(0, "head"): np.ones(26)}, 99, "seed")) == math.comb(14, 12)


def test_sets_that_an_earlier_version_drew_twice_count_once():
    rows = pd.DataFrame(
        {
            "trial": [0, 1, 2, 3, 4, 5] * 2,
            "site": ["L0.attn.h1+L0.attn.h2", "L0.attn.h2+L0.attn.h1", "L0.attn.h1+L0.attn.h3", "L0.attn.h1+L0.attn.h2",
                     "L0.mlp.n1+…(80 sites)", "L0.mlp.n1+…(80 sites)"] * 2,
        }
    )  # fmt: skip
    assert sorted(set(different(rows)["trial"])) == [0, 2, 4, 5] and len(different(rows)) == 8
