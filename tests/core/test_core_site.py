"""Addresses round-trip as text; tables of them round-trip as columns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lashley.core.anatomy import Anatomy
from lashley.core.errors import BadSite
from lashley.core.site import KINDS, ROLES, Site, Sites, parse_sites

UNITS = ("head", "neuron")
counts = st.integers(0, 10_000)


def sites(positions) -> st.SearchStrategy[Site]:
    return st.one_of(
        st.builds(Site, counts, st.sampled_from([k for k in KINDS if k not in UNITS]), st.none(), positions),
        st.builds(Site, counts, st.sampled_from(UNITS), counts, positions),
    )


anywhere = sites(st.none() | st.integers(-1000, 1000) | st.sampled_from([*ROLES, "subject"]))
resolved = sites(st.none() | counts)


@given(anywhere)
def test_an_address_round_trips(site):
    assert Site.parse(str(site)) == site
    assert Site.parse(f"  {site}\n") == site


@given(st.lists(anywhere, min_size=1, max_size=5))
def test_a_set_round_trips_in_one_order_without_repetitions(found):
    text = " + ".join(map(str, [*found, *reversed(found)]))
    assert set(parse_sites(text)) == set(found)
    assert len(parse_sites(text)) == len(set(found))
    assert parse_sites(text) == parse_sites("+".join(map(str, parse_sites(text))))


@pytest.mark.parametrize(
    "alias, address",
    [
        ("hook_embed", "L0.resid"),
        ("blocks.7.hook_resid_pre", "L7.resid"),
        ("blocks.7.hook_resid_post@-1", "L8.resid@-1"),
        ("blocks.7.hook_attn_out@subject_last", "L7.attn@subject_last"),
        ("blocks.7.hook_mlp_out", "L7.mlp"),
        ("blocks.7.attn.hook_z[3]", "L7.attn.h3"),
        ("blocks.7.mlp.hook_post[173]@5", "L7.mlp.n173@5"),
    ],
)
def test_names_of_transformer_lens_are_understood(alias, address):
    assert str(Site.parse(alias)) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", "L", "L7", "7.mlp", "L7.mlp.h3", "L7.attn.n3", "L7.attn.h", "L-1.mlp", "L7.mlp.n-3", "L7.mlp173"),
        *("L7.mlp@", "L7.mlp@--1", "L7.mlp@somewhere", "L7.mlp@1.5", "L7.mlp L8.mlp", "L7.mlp+", "l7.mlp"),
        *("blocks.7.hook_z[3]", "blocks.7.hook_mlp_out[3]", "blocks.7.mlp.hook_post", "blocks.7.hook_nothing"),
    ],
)
def test_what_is_no_address_is_one_clear_line(text):
    with pytest.raises(BadSite, match=r"^site .*(write|roles are).*$") as caught:
        parse_sites(text)
    assert "\n" not in str(caught.value)


@given(st.lists(st.lists(resolved, min_size=1, max_size=4), max_size=8))
def test_a_table_round_trips(sets):
    table = Sites.of(sets)
    assert len(table) == len(sets)
    assert list(table) == [tuple(s) for s in sets]
    assert Sites.pack(*table.table, sizes=np.diff(table.bounds)) == table
    assert [list(table.only(i)) for i in range(len(table))] == [[tuple(s)] for s in sets]


@pytest.mark.parametrize("trial", [2, -1])
def test_a_trial_that_a_table_lacks_is_an_index_error(trial):
    with pytest.raises(IndexError):
        Sites.pack([0, 1], 0)[trial]


def test_columns_are_broadcast_and_grouped():
    table = Sites.pack([0, 1, 2], KINDS.index("head"), 3, edit=[0, 1, 0], sizes=[2, 1])
    assert list(table) == [(Site(0, "head", 3), Site(1, "head", 3)), (Site(2, "head", 3),)]
    assert table.table[4].tolist() == [0, 1, 0]


@pytest.mark.parametrize("at", ["final", -1])
def test_a_table_takes_resolved_positions_only(at):
    with pytest.raises(BadSite, match=f"L1.mlp@{at} has no resolved position"):
        Sites.of([[Site(1, "mlp", None, at)]])


def test_a_million_trials_are_a_few_megabytes():
    table = Sites.pack(np.arange(1_000_000) % 18, KINDS.index("neuron"), np.arange(1_000_000) % 2048)
    assert len(table.columns) + len(table.offsets) <= 28_000_008


ANATOMY = Anatomy("tiny", layers=3, heads=4, head_width=4, neurons=24, width=16, vocabulary=97, context=64)


@pytest.mark.parametrize("text", ["L0.resid", "L3.resid@final", "L2.mlp", "L2.attn.h3", "L0.mlp.n23@-1"])
def test_a_site_that_the_model_has_is_itself(text):
    assert ANATOMY.check(Site.parse(text)) == Site.parse(text)


@pytest.mark.parametrize("text", ["L4.resid", "L3.mlp", "L3.attn", "L2.attn.h4", "L2.mlp.n24"])
def test_a_site_that_the_model_lacks_is_refused(text):
    with pytest.raises(BadSite, match=f"^site {text}: .* choose"):
        ANATOMY.check(Site.parse(text))


@pytest.mark.parametrize(
    "kind, units, width", [("resid", 1, 16), ("attn", 1, 16), ("mlp", 1, 16), ("head", 4, 4), ("neuron", 24, 1)]
)
def test_every_unit_of_a_kind(kind, units, width):
    table = ANATOMY.every(kind)
    assert (ANATOMY.units(kind), ANATOMY.site_width(kind)) == (units, width)
    assert len(set(table)) == len(table) == 3 * units
    assert all(ANATOMY.check(site) == site and site.position is None for (site,) in table)
