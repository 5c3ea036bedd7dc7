"""Attention knockout: what is cut off altogether cannot matter, and every edge is asked about once."""

import re

import numpy as np
import pytest

from lashley.core.edit import Block
from lashley.core.errors import BadSite
from lashley.experiments import attention
from lashley.experiments.attention import Params

PAIR = {"relation": None, "register": None, "prompt": "The capital of {} is"}
FRANCE = {"subject": "France", "object": "Paris", "foil_subject": "Japan", "foil_object": "Tokyo"}
JAPAN = {"subject": "Japan", "object": "Tokyo", "foil_subject": "France", "foil_object": "Paris"}


def test_without_any_attention_to_the_subject_the_answer_does_not_depend_on_it(study, bench):
    """The subject is the last token but one: only the final token could have read it."""
    everywhere = 2 * bench.anatomy.layers + 1
    values = []
    for names in (FRANCE, JAPAN):
        table = study("attention", **PAIR, **names, window=everywhere).table
        cut = table[table["keys"] == "subject_last"]
        assert len(cut) == bench.anatomy.layers and cut["value"].std() < 1e-6, "every window holds all layers"
        values.append(cut["value"].iloc[0])
    assert values[0] == pytest.approx(-values[1], abs=1e-4)


@pytest.mark.parametrize("units", ["layers", "heads"])
def test_every_layer_or_head_and_role_is_asked_about_once(study, bench, units):
    a, run = bench.anatomy, bench.tokens.run("The capital of France is", (15, 21))
    table = study("attention", **PAIR, **FRANCE, units=units).table
    roles = {run.role(p) for p in range(len(run))}
    assert set(table["keys"].unique()) == roles
    assert len(table) == len(roles) * a.layers * (a.heads if units == "heads" else 1)
    assert not table.duplicated(["keys", "layer", "unit"]).any()
    assert (table["role"] == "final").all() and np.isfinite(table["effect"]).all()


def test_a_window_of_one_is_the_layer_itself(study):
    one, default = (study("attention", **PAIR, **FRANCE, **more).ledger.planned() for more in ({"window": 1}, {}))
    assert one == default


def test_keys_after_the_queries_are_not_asked_about(material):
    for sweep in attention.plan(Params(at="subject_last"), material):
        (edit,) = sweep.edits
        assert isinstance(edit, Block)
        assert max(edit.keys) <= sweep.run.subject[1] - 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"at": "nowhere"}, "write begin, subject_first"),
        ({"units": "heads", "window": 3}, "a window is of whole layers"),
    ],
)
def test_what_cannot_be_asked_is_refused(words, message):
    with pytest.raises(BadSite, match=message):
        Params(**words)


def test_the_report_names_the_edge(study):
    page = study("attention", **PAIR, **FRANCE, units="heads").page()
    assert "may not attend to the" in page.finding.sentence and "head" in page.finding.sentence
    assert {f.name for f in page.figures} == {"heads", "bars"}
    assert {f.name for f in study("attention").page().figures} == {"map", "curves"}


@pytest.mark.parametrize("words", [{}, {"window": 3}, {"units": "heads"}])
def test_the_result_is_what_the_rows_come_to(study, words):
    made = study("attention", **PAIR, **FRANCE, **words)
    result, table = made.result, made.table
    best = table.loc[table["effect"].idxmax()]
    layers = [int(la) for la in re.findall(r"L(\d+)\.", str(best["site"]))]
    assert result.cells == len(table) and result.window == words.get("window", 0)
    assert result.strongest.damage.value == pytest.approx(best["effect"])
    assert (result.strongest.keys, result.strongest.layers) == (best["keys"], (min(layers), max(layers)))
    assert result.strongest.head == (best["unit"] if "units" in words else None)
    assert (result.strongest.damage.n, result.strongest.damage.unit) == (1, "share of the logit difference")
    assert (result.opposite is not None) == (-table["effect"].min() > best["effect"])
