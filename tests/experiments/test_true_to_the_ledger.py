"""Pictures and sentences of locate, attention and knockout say what the table says, with draws, windows and sets."""

import itertools
import re
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from lashley.core.figure import Estimate
from lashley.experiments import knockout
from lashley.experiments.locate import measuring, telling
from lashley.stats.peers import different
from lashley.stats.summary import against, floor, measured, share, windows

from .conftest import OWN, told

NOISY = {**OWN, "corruption": "noise", "draws": 7}
ASKED = {
    "noise draws of one prompt": ("locate", NOISY),
    "windows of one prompt": ("locate", {**OWN, "window": 3}),
    "wide windows": ("locate", {**OWN, "window": 99, "kinds": ("attn",)}),
    "noise draws of windows": ("locate", {**NOISY, "window": 2}),
    "attention in windows": ("attention", {**OWN, "window": 3}),
    "attention in windows wider than the model": ("attention", {**OWN, "window": 9}),
    "attention of a role, in windows": ("attention", {"window": 2, "at": "relation"}),
    "attention under noise": ("attention", NOISY),
    "heads under noise": ("knockout", {**NOISY, "units": "heads"}),
}


class Once(NamedTuple):
    """A study with its table and its page, made once."""

    name: str
    params: Any
    layers: int
    table: pd.DataFrame
    shown: Any


@pytest.fixture(scope="module")
def once(study):
    @cache
    def made(asked: str) -> Once:
        experiment, words = ASKED[asked]
        own = study(experiment, **words)
        return Once(experiment, own.params, own.ledger.spec.model["layers"], own.table, own.page())

    return made


@pytest.fixture(params=ASKED)
def asked(request, once) -> Once:
    return once(request.param)


def layers_of(rows: pd.DataFrame) -> pd.Series:
    """What each trial edits, whatever its positions: `L3`, or `L3-5`."""
    found = rows["site"].str.findall(r"L(\d+)\.").map(lambda x: sorted(set(map(int, x))))
    return found.map(lambda x: f"L{x[0]}" + f"-{x[-1]}" * (len(x) > 1))


def by_site(made) -> dict[str, float]:
    """The mean effect of every cell by its address, worked out anew: over positions, then draws, then prompts."""
    rows = measured(made.table)
    layers = layers_of(rows)
    if made.name == "locate":
        at = [f"{la}.{k}@{r}" for la, k, r in zip(layers, rows["kind"], rows["role"], strict=True)]
        at += [f"{la}.{k}@{p}" for la, k, p in zip(layers, rows["kind"], rows["position"], strict=True)]
    elif made.name == "attention":
        at = [f"{la}.attn@{made.params.at} to {keys}" for la, keys in zip(layers, rows["keys"], strict=True)] * 2
    else:
        at = rows["site"].tolist() * 2
    twice = pd.concat([rows, rows]).assign(at=at)
    for by in (["template", "subject", "seed", "pair"], ["template", "subject"], []):
        twice = twice.groupby(["at", *by], observed=True)["effect"].mean().reset_index()
    return dict(zip(twice["at"], twice["effect"], strict=True))


def test_every_picture_shows_one_value_a_place_and_it_is_the_mean(asked):
    means = by_site(asked)
    for figure in asked.shown.figures:
        shown = figure.spec["data"]["values"]
        places = [(r["panel"], r["y"], r.get("x")) for r in shown]
        assert len(set(places)) == len(places), f"{figure.name}: two values in one place"
        assert len({r["site"] for r in shown}) == len(shown)
        for r in shown:
            assert r["effect"] == pytest.approx(means[r["site"]], rel=1e-5, abs=1e-9), r["site"]


def test_every_intervention_has_a_place_of_its_own(asked):
    """None is averaged with another under one name, and the last layers are there."""
    figure = next(f for f in asked.shown.figures if f.name in ("tokens", "map", "heads", "layers"))
    rows = measured(asked.table)
    assert {r["site"].split(".")[0] for r in figure.spec["data"]["values"]} == set(layers_of(rows))
    width = 2 * asked.layers
    if not getattr(asked.params, "window", 1) * 2 > width:
        assert {r["x"] for r in figure.spec["data"]["values"]} == set(range(width // 2))


def test_tables_and_sentences_name_windows_as_windows(asked):
    page = asked.shown
    means = by_site(asked)
    for site, estimate, n in page.tables[0].rows:
        assert estimate.value == pytest.approx(means[site]) and n == estimate.n <= len(set(asked.table["template"]))
    if getattr(asked.params, "window", 1) > 1:
        text = " ".join(f.sentence for f in (page.finding, *page.also))
        assert re.search(r"layers \d+ to \d+|layer \d+", text) and "about it" not in text


def test_the_readings_are_the_headlines_own(asked):
    page = asked.shown
    rows = measured(asked.table)
    table = next(t for t in page.tables if t.title.startswith("Corruption takes"))
    (_, clean, corrupt, edited), *_ = table.rows
    best = max(page.tables[0].rows, key=lambda row: row[1].value)
    first = rows.groupby(["template", "seed", "pair"], observed=True)[["clean", "corrupt"]].first()
    first = first.groupby("template", observed=True).mean()
    assert (clean.value, corrupt.value) == pytest.approx(tuple(first.mean()))
    if rows["template"].nunique() == 1 and rows["seed"].nunique() == 1:
        gap, start = clean.value - corrupt.value, corrupt.value
        share_ = (edited.value - start) / gap if asked.name == "locate" else (clean.value - edited.value) / gap
        assert share_ == pytest.approx(best[1].value, abs=1e-6)
    assert ("standard deviation" in table.note) == (asked.params.corruption == "noise")


def test_told_apart_from_0_is_a_matter_of_the_interval_where_there_is_one(study):
    page = study("locate", **NOISY).page()
    for figure in page.figures:
        for r in figure.spec["data"]["values"]:
            assert r["clear"] == (r["low"] > 0 or r["high"] < 0) or abs(r["effect"]) < 1e-4
        assert "told apart from 0" in figure.caption or figure.name == "curves"
        assert "over the draws of this prompt" in figure.caption
    bare = study("locate", **OWN).page()
    assert all("told apart" not in f.caption for f in bare.figures)
    assert "No interval" in bare.finding.basis


SETS = [
    "L1.attn.h0+L1.attn.h1+blocks.2.attn.hook_z[1]",
    "L1.attn.h0-2",
    "blocks.1.attn.hook_z[0]+L1.attn.h0@final",
    "L1.attn.h0+L1.attn.h0",
]


@pytest.mark.parametrize("units", SETS)
def test_control_sets_are_counted_when_they_differ(study, units):
    made = study("knockout", units=units)
    rows = measured(made.table)
    drawn = rows[(rows["control"] == knockout.RANDOM) & (rows["template"] == rows["template"].iloc[0])]
    sets = [frozenset(re.sub(r"@\d+", "@", s).split("+")) for s in drawn["site"]]
    assert len(set(sets)) == len(sets) <= 20
    control = next(c for c in made.page().controls if c.name == knockout.RANDOM)
    assert control.estimate.n == len(sets)
    p = float(re.search(r"p = ([\d.]+)", control.reading)[1])
    joint = rows[(rows["control"] == "") & (rows["trial"] == rows[rows["control"] == ""]["trial"].max())][
        "effect"
    ].mean()
    each = rows[rows["control"] == knockout.RANDOM].groupby("trial")["effect"].mean()
    assert p == pytest.approx((1 + (each >= joint - 1e-12).sum()) / (len(sets) + 1), abs=5e-4)
    decidable = len(sets) >= 19
    assert any("cannot be decided" in c for c in made.page().caveats) != decidable
    assert re.search(rf"{len(sets)} (different )?matched random set", made.page().finding.sentence)


def test_sets_drawn_twice_by_an_earlier_version_are_counted_once(study):
    made = study("knockout", units="L1.attn.h0+L2.attn.h1")
    table = made.table
    random_ = table["control"] == knockout.RANDOM
    again = table[random_ & (table["trial"] == 0)].assign(trial=20)
    doubled = pd.concat([table, again], ignore_index=True)
    assert told(made, doubled) == told(made, table)
    assert len(different(doubled[doubled["control"] == knockout.RANDOM])) == random_.sum()


def test_the_band_of_random_sets_stands_at_the_set_alone(study):
    (figure,) = study("knockout", units="L1.attn.h0+L2.attn.h1").page().figures
    banded = [r["y"] for r in figure.spec["data"]["values"] if r.get("control_low") is not None]
    assert banded == ["L1.attn.h0+L2.attn.h1"] and len(figure.spec["data"]["values"]) == 3


def test_sites_keep_their_own_place_in_names(study):
    page = study("knockout", units="L0.mlp@subject_last+L1.mlp", at="final", controls=0).page()
    assert {row[0] for row in page.tables[0].rows} == {
        "L0.mlp@subject_last", "L1.mlp@final", "L0.mlp@subject_last+L1.mlp@final"
    }  # fmt: skip
    one = study("knockout", units="L1.mlp", controls=0).page()
    assert [row[0] for row in one.tables[0].rows] == ["L1.mlp"]


@pytest.mark.parametrize("effects", [(0.3, -0.4), (0.3, -0.2), (-0.1, -0.4), (0.0, 0.0)])
def test_a_unit_whose_loss_helps_is_named_where_it_does_more(study, effects):
    made = study("knockout", units="layers")
    table = made.table
    most, least = effects
    kept = table["trial"] > 1
    table["effect"] = np.where(kept, 0.0, np.where(table["trial"] == 0, most, least))
    sentence = told(made, table).findings[0].sentence
    named = {site for site in ("L0.attn", "L1.attn") if site in sentence}
    wanted = {"L0.attn"} if most > 0 else set()
    wanted |= {"L1.attn"} if -least > max(most, 0.0) else set()
    assert named == wanted and (share(Estimate(least)) in sentence) == ("L1.attn" in wanted)
    assert ("none costs" in sentence) == (most <= 0)


@pytest.mark.parametrize("effect", [0.3, 0.0, -0.2])
@pytest.mark.parametrize("beside", [0.1, -0.1])
def test_a_set_whose_loss_helps_is_said_to_help(study, effect, beside):
    made = study("knockout", units="L1.attn.h0")
    table = made.table
    table["effect"] = np.where(table["control"] == "matched random", beside, effect)
    sentence = told(made, table).findings[0].sentence
    own, _, other = sentence.partition("; ")
    assert ("recall gains" in own) == ("nothing" in own) == (effect < 0)
    assert share(Estimate(effect)) in own and f"damage of {share(Estimate(beside))}" in other


def test_against_is_only_what_is_larger_and_of_the_other_sign():
    for a, b in itertools.product([-2.0, -1.0, 0.0, 1.0, 2.0], repeat=2):
        cell = pd.DataFrame({"effect": sorted([a, b])})
        other = against(cell, cell.iloc[1])
        assert (other is not None) == (min(a, b) < 0 and -min(a, b) > max(a, b))


def test_the_floor_is_the_largest_of_all_prompts():
    """Not their mean: an effect below the floor of its own prompt must not be called one."""
    table = pd.DataFrame({"clean": [2.0, 2.0, 1.0], "corrupt": [0.0, 0.0, -1.0], "noise_floor": [0.002, 0.2, 0.02]})
    assert floor(table) == pytest.approx(0.1)
    assert floor(table.assign(clean=-table["clean"], corrupt=-table["corrupt"])) == pytest.approx(0.1)


@pytest.mark.parametrize("width", range(1, 9))
@pytest.mark.parametrize("layers", [1, 4, 6])
def test_windows_are_told_from_their_ends(layers, width):
    """What the windows of locate and of attention are about, worked out from the table alone."""
    below = (width - 1) // 2
    first = [max(la - below, 0) for la in range(layers)]
    last = [min(la - below + width, layers) - 1 for la in range(layers)]
    sites = [
        "+".join(f"L{la}.attn@{p}" for la in range(a, b + 1) for p in (2, 3)) for a, b in zip(first, last, strict=True)
    ]
    table = pd.DataFrame({"site": sites, "window": str(width), "trial": range(layers)})
    table["layer"] = pd.array([a if a == b else None for a, b in zip(first, last, strict=True)], "Int16")
    table["size"] = [2 * (b - a + 1) for a, b in zip(first, last, strict=True)]
    names = [f"L{a}" + f"-{b}" * (b > a) for a, b in zip(first, last, strict=True)]
    found = windows(table, about=table["trial"])
    assert found["layers"].tolist() == names and found["layer"].tolist() == list(range(layers))
    if width <= layers:
        found = windows(table)
        assert found["layers"].tolist() == names and found["layer"].tolist() == list(range(layers))
    if width > 1:
        short = table.assign(
            site=[f"{s.split('+')[0]}+…({n} sites)" for s, n in zip(sites, table["size"], strict=True)]
        )
        assert windows(short, about=table["trial"])["layers"].tolist() == names


CURVES = {
    "stays and leaves": ([0.9, 0.8, 0.2], "leaves the last subject token between layers 1 and 2"),
    "never leaves": ([0.9, 0.8, 0.7], "does not leave it before"),
    "comes late": ([0.1, 0.8, 0.2], "reaches the last subject token by layer 1"),
    "comes late and stays": ([0.1, 0.3, 0.9], "reaches the last subject token by layer 2"),
    "is never there": ([0.1, 0.3, 0.2], "no layer's residual stream at the last subject token brings back half"),
}


TOKENS = [
    ("begin", "<bos>"),
    ("subject_first", " E"),
    ("subject_middle", "iffel"),
    ("subject_last", " T"),
    ("final", " is"),
]


@pytest.mark.parametrize(("carried", "words"), CURVES.values(), ids=CURVES.keys())
@pytest.mark.parametrize("several", [False, True])
def test_the_handover_is_told_wherever_it_is_or_why_it_is_not(carried, words, several):
    rows = []
    for template, layer in itertools.product(["a {}", "b {}"][: 1 + several], range(3)):
        for position, (role, token) in enumerate(TOKENS):
            value = {
                "subject_last": carried[layer],
                "final": 1 - carried[layer],
                "subject_middle": [0.7, 0.6, 0.3][layer],
                "subject_first": 0.2,
            }
            rows.append((template, layer, role, position, token, value.get(role, 0.0)))
    table = pd.DataFrame(rows, columns=["template", "layer", "role", "position", "token", "effect"])
    base = {"relation": "landmark", "subject": "E", "context": None, "pair": "p", "seed": "0", "corruption": "replace"}
    table = table.assign(**base, asked=table["template"], prompt=table["template"])
    (finding,) = telling.handover(measuring.handover(table), "X", "")
    assert words in finding.sentence and finding.estimate.value in carried
    late = carried[0] < 0.5
    assert ("iffel" in finding.sentence) == (late and not several)
    assert ("subject middle positions" in finding.sentence) == (late and several)
    assert ("70%" in finding.sentence) >= late
    assert ("leaves it between layers 1 (60%) and 2 (30%)" in finding.sentence) == late
    bare = table[table["role"] != "subject_last"]
    (other,) = telling.handover(measuring.handover(bare), "X", "")
    assert "ends at the final token" in other.sentence and other.estimate is None


def test_attention_that_costs_nothing_is_said_to(study):
    made = study("attention", **OWN)
    table = made.table.assign(effect=-0.2)
    finding = told(made, table).findings[0]
    assert "No attention" in finding.sentence and "costs" in finding.sentence and "loses most" not in finding.sentence
