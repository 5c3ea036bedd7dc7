"""A search for what a fact needs passes over what every text needs, and says so."""

import pytest

from lashley.core.claim import About
from lashley.core.edit import Zero
from lashley.core.errors import BadFact
from lashley.core.readout import Loss
from lashley.core.site import Site
from lashley.features import search
from lashley.prompts.reference import texts

ABOUT = About("capital", "France")


def found(bench, monkeypatch, bad: dict[Site, float], count: int = 2) -> search.Strongest:
    """The strongest heads, were the loss on unrelated text to rise so where these sites are knocked out."""
    monkeypatch.setattr(search, "rise", lambda bench, runs, sites, edit: [bad.get(s, 0.0) for s in sites])
    return search.search(bench, ABOUT, count, "heads", 0, lambda *_: None)


def test_units_that_break_the_model_or_carry_the_sink_are_left_out_and_named(bench, monkeypatch):
    first, second, third = found(bench, monkeypatch, {}, 3).sites
    assert found(bench, monkeypatch, {first: 0.4}).sites == [first, second]
    got = found(bench, monkeypatch, {first: 7.2})
    assert got.sites == [second, third]
    (said,) = got.left_out
    assert said.startswith(f"{first} ") and "breaks the model" in said and "rises by 7.2 nats a token" in said
    sink = Site(second.layer, second.kind, second.unit, 0)  # at the first position
    got = found(bench, monkeypatch, {sink: 7.2})
    assert got.sites == [first, third]
    assert got.left_out[0].startswith(f"{second} ") and "carries the attention sink" in got.left_out[0]


def test_where_every_unit_breaks_the_model_nothing_is_found(bench, monkeypatch):
    every = {site: 1.0 for (site,) in bench.anatomy.every("head")}
    with pytest.raises(BadFact, match="breaks the model"):
        found(bench, monkeypatch, every)


def test_the_rise_is_that_of_the_loss(bench):
    runs, sites = list(texts(bench, 0))[:2], [Site(0, "mlp"), Site(3, "head", 1)]
    big, small = search.rise(bench, runs, sites, Zero())
    assert big > 1.0 > 0.1 > abs(small)
    plain = bench.values([(run, Loss()) for run in runs])
    assert all(1.0 < x < 6.0 for x in plain)
