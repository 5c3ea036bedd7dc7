"""Addresses round-trip as text; tables of them round-trip as columns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lashley.core import address
from lashley.core.anatomy import Anatomy
from lashley.core.errors import BadSite
from lashley.core.site import KINDS, ROLES, Site, Sites, brief, parse_sites

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


ANATOMY = Anatomy("tiny", layers=3, heads=4, head_width=4, neurons=24, width=16, vocabulary=97, context=64)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("L2.attn.h*", "L2.attn.h0 L2.attn.h1 L2.attn.h2 L2.attn.h3"),
        ("L*.attn@final", "L0.attn@final L1.attn@final L2.attn@final"),
        ("L*.resid", "L0.resid L1.resid L2.resid L3.resid"),
        ("L1.mlp.n1-3", "L1.mlp.n1 L1.mlp.n2 L1.mlp.n3"),
        ("L0-1.mlp", "L0.mlp L1.mlp"),
        ("L0,2.attn.h0,2-3", "L0.attn.h0 L0.attn.h2 L0.attn.h3 L2.attn.h0 L2.attn.h2 L2.attn.h3"),
        ("L2.attn.h0, 2@-1", "L2.attn.h0@-1 L2.attn.h2@-1"),
        ("L2.mlp, L0.mlp", "L0.mlp L2.mlp"),
        ("L2.mlp,L0.mlp.n1 , 2 L1.mlp +L1.attn", "L0.mlp.n1 L0.mlp.n2 L1.attn L1.mlp L2.mlp"),
        ("blocks.1.attn.hook_z[0,2] blocks.0.mlp.hook_post[5-6]", "L0.mlp.n5 L0.mlp.n6 L1.attn.h0 L1.attn.h2"),
        ("blocks.1.attn.hook_z[*]", "L1.attn.h0 L1.attn.h1 L1.attn.h2 L1.attn.h3"),
        ("L1.mlp.n3,3,1-3", "L1.mlp.n1 L1.mlp.n2 L1.mlp.n3"),
    ],
)
def test_lists_are_read_as_people_write_them(text, found):
    assert list(map(str, parse_sites(text, ANATOMY))) == found.split()


spans = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 4)), min_size=1, max_size=3)


@given(spans, st.sampled_from([("attn.h", "head"), ("mlp.n", "neuron")]), spans, st.sampled_from(["", "@final", "@-1"]))
def test_a_list_is_every_layer_with_every_unit(layers, kind, units, at):
    said = [",".join(f"{a}-{a + n}" if n else str(a) for a, n in each) for each in (layers, units)]
    numbers = [{a + i for a, n in each for i in range(n + 1)} for each in (layers, units)]
    found = parse_sites(f"L{said[0]}.{kind[0]}{said[1]}{at}")
    assert {(s.layer, s.unit) for s in found} == {(la, u) for la in numbers[0] for u in numbers[1]}
    assert len(found) == len(numbers[0]) * len(numbers[1])
    assert {(s.kind, str(s)[len(str(s)) - len(at) :]) for s in found} == {(kind[1], at)}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("L1.mlp.n3-1", "the range 3-1 is empty"),
        ("L1.mlp.n0-99999", "is 100,000 sites, more than 1,024; write fewer"),
        ("L0-2147483647.mlp.n0-2147483647", "sites, more than 1,024; write fewer"),
        ("L1.mlp.n" + ",".join(["1"] * 5000), "is 5,000 sites"),
        ("L1.mlp.n99999999999", "lies in no model; write"),
        ("L1.attn.h*", "depends on the model; write"),
        ("L1.attn.h*,2", "does not parse; write"),
        ("L1.attn.h2,*", "does not parse; write"),
        ("L1.attn.h2,", "does not parse; write"),
        ("L1.attn@1,2", "does not parse; write"),
        ("L1.attn++L2.attn", "does not parse; write"),
    ],
)
def test_a_list_that_is_none_or_too_large_is_refused(text, why):
    with pytest.raises(BadSite) as caught:
        parse_sites(text)
    assert why in str(caught.value) and len(str(caught.value)) < 400


def test_a_star_is_refused_where_the_model_has_no_such_unit():
    with pytest.raises(BadSite, match="no neuron sites"):
        parse_sites("L1.mlp.n*", Anatomy("mixtral", 3, 4, 4, 0, 16, 97, 64))


def test_one_site_is_not_several():
    assert Site.parse("L1.attn.h2-2") == Site(1, "head", 2)
    with pytest.raises(BadSite, match="is 3 sites; write one"):
        Site.parse("L1.attn.h0-2")


@given(st.text(st.characters() | st.sampled_from("L0123456789.*,-+@[]\n\0\ud800٣"), max_size=40), st.integers(0, 40))
def test_any_text_is_a_site_or_one_line(text, at):
    for whole in (text, "L7.attn.h3@final"[: at % 17] + text, "blocks.7.attn.hook_z[3]"[: at % 24] + text):
        try:
            site = Site.parse(whole)
        except BadSite as e:
            assert str(e).isprintable() and len(str(e)) < 400
        else:
            assert Site.parse(str(site)) == site


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


@pytest.mark.parametrize("name", sorted(address.NO_SITES))
def test_other_names_of_transformer_lens_say_why_not_and_which_are_known(name):
    with pytest.raises(BadSite) as caught:
        Site.parse(name if name.startswith("ln_final") else f"blocks.7.{name}[3]")
    said = str(caught.value)
    assert "write " in said and all(known in said for known in address.HOOKS) and len(said) < 400


@pytest.mark.parametrize(
    ("module", "site"),
    [
        *(("model.layers.7.mlp", "L7.mlp "), ("transformer.h.3.attn", "L3.attn "), ("gpt_neox.layers.2", "L2.resid ")),
        *(("model.layers[7].self_attn.o_proj", "L7.attn.h3 "), ("model.layers.7.mlp.down_proj", "L7.mlp.n173 ")),
        ("model.layers.7.input_layernorm", "L7.resid "),
        ("model.layers.7.post_attention_layernorm", "L7.resid "),
        ("model.layers.7.self_attn.q_norm", "L7.resid "),
        ("model.decoder.layers.7.self_attn_layer_norm", "L7.resid "),
    ],
)
def test_a_module_is_told_from_a_site(module, site):
    with pytest.raises(BadSite, match=f"is a module, .*write .*{site}for"):
        Site.parse(module)


@pytest.mark.parametrize(
    "text",
    [
        *("", "L", "L7", "7.mlp", "L7.mlp.h3", "L7.attn.n3", "L7.attn.h", "L-1.mlp", "L7.mlp.n-3", "L7.mlp173"),
        *("L7.mlp@", "L7.mlp@--1", "L7.mlp@somewhere", "L7.mlp@1.5", "L7.mlp mlp", "L7.mlp+", "l7.mlp"),
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


UNITS = st.sets(
    st.builds(
        Site, st.integers(0, 2), st.sampled_from(["neuron", "head"]), st.integers(0, 7),
        st.sampled_from([None, "final", -1]),
    ) | st.builds(Site, st.integers(0, 2), st.sampled_from(["attn", "mlp", "resid"])),
    min_size=1,
)  # fmt: skip


@given(UNITS)
def test_what_is_written_shortly_is_read_as_the_same_sites(sites: set[Site]) -> None:
    said = brief(sites)
    assert set(parse_sites(said)) == sites
    for part in said.split("+"):
        if "-" in part.split("@")[0]:
            assert len(parse_sites(part)) > 2
        elif (site := Site.parse(part)).unit is not None:
            assert not {Site(site.layer, site.kind, site.unit + i, site.position) for i in range(3)} <= sites


def test_no_digit_of_a_layer_is_passed_over():
    with pytest.raises(BadSite, match="lies in no model"):
        Site.parse("blocks.000000000031.hook_mlp_out")
