"""The laboratory from Python: what a notebook may hand over, and what it shows."""

import base64

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import lashley
from lashley import api
from lashley.core.errors import BadModel, LashleyError, UnknownFamily
from lashley.core.site import Site
from lashley.models.embedded import WEIGHTS
from lashley.report import vega

WEIGHTS_GPT2 = WEIGHTS.with_name("weights_gpt2")
PROMPT = "The capital of {} is"
FACT = {"subject": "France", "object": "Paris", "foil_subject": "Japan", "foil_object": "Tokyo", "kinds": ("mlp",)}


@pytest.fixture(scope="module")
def module():
    return AutoModelForCausalLM.from_pretrained(WEIGHTS_GPT2, dtype="float32")


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(WEIGHTS_GPT2)


def test_a_model_that_is_open_already_gives_the_numbers_of_its_folder(module, tokenizer, here):
    mine = lashley.open_model(module, tokenizer=tokenizer)
    named = lashley.open_model("embedded-gpt2")
    assert mine.model.weights_hash == named.model.weights_hash
    assert mine.model.tokenizer_hash == named.model.tokenizer_hash
    assert mine.path == "packed" and mine.checked
    found, wanted = (lashley.locate(b, PROMPT, **FACT, study=here / n) for b, n in ((mine, "a"), (named, "b")))
    tables = [study.table.drop(columns=["model", "study"], errors="ignore") for study in (found, wanted)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert str(WEIGHTS_GPT2) in found.ledger.spec.command, "where the model came from"


STATES = {  # how a notebook may have its model, and with which attention
    "in training, on its way to an optimiser": ("sdpa", lambda m: m.train().requires_grad_(True)),
    "eager attention": ("eager", lambda m: m),
    "without gradients": ("sdpa", lambda m: m.eval().requires_grad_(False)),
}
SITES = ["L1.mlp", "L0.attn.h1@final", "L2.mlp.n3+L1.attn@subject_last", "L3.resid@1"]


@pytest.mark.parametrize(("attention", "as_it_is"), STATES.values(), ids=STATES.keys())
def test_however_a_model_is_held_its_numbers_are_those_of_its_folder(tokenizer, attention, as_it_is):
    """Dropout, which a model in training would do, is off; and the model's own forward pass is as it was."""
    how = {"attn_implementation": attention, "dtype": "float32", "resid_pdrop": 0.5, "attn_pdrop": 0.5}
    opened = AutoModelForCausalLM.from_pretrained(WEIGHTS_GPT2, **how)
    held = as_it_is(opened)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    words = tokenizer(["The capital of France is", "Peru"], return_tensors="pt", padding=True)
    held.eval()
    before = held(**words).logits
    as_it_is(held)
    mine, named = lashley.open_model(held, tokenizer=tokenizer), lashley.open_model("embedded-gpt2")
    asked = {"subject": "France", "corrupt": "Japan"}
    for edit in ("zero", "resample", "patch"):
        found, wanted = (b.effects(PROMPT, "Paris", "Tokyo", SITES, **asked, edit=edit) for b in (mine, named))
        assert np.array_equal(found, wanted)
    after = held(**words).logits
    real = words["attention_mask"].bool()
    torch.testing.assert_close(after[real], before[real], rtol=0, atol=1e-4)


WRONG = {
    "no tokenizer": (lambda m, t: {"model": m}, "give it too: open_model"),
    "a slow tokenizer": (lambda m, t: {"model": m, "tokenizer": object()}, "no fast tokenizer"),
    "two tokenizers": (lambda m, t: {"model": "embedded", "tokenizer": t}, "leave tokenizer out"),
    "no model": (lambda m, t: {"model": 3}, "a int is no model"),
    "no unembedding": (lambda m, t: {"model": m.transformer, "tokenizer": t}, "unembeds nothing"),
}


@pytest.mark.parametrize(("given", "words"), WRONG.values(), ids=WRONG.keys())
def test_what_is_no_model_is_refused(module, tokenizer, given, words):
    with pytest.raises(BadModel, match=words):
        lashley.open_model(**given(module, tokenizer))


def test_an_unknown_family_that_is_open_already_is_refused(module, tokenizer, monkeypatch):
    monkeypatch.setattr(module.config, "model_type", "perceiver")
    with pytest.raises(UnknownFamily):
        lashley.open_model(module, tokenizer=tokenizer)


def test_a_folder_may_be_a_path_and_an_experiment_may_open_it(here):
    study = lashley.locate(WEIGHTS_GPT2, PROMPT, **FACT, study=here / "study")
    assert study.complete


def test_lists_are_taken_where_text_is(bench, here):
    words = {k: v for k, v in FACT.items() if k != "kinds"} | {"controls": 0}
    sites = ["L1.mlp.n3", Site(2, "attn")]
    study = lashley.knockout(bench, PROMPT, **words, units=sites, study=here / "study")
    again = lashley.knockout(bench, PROMPT, **words, units=sites, chat=False, study=here / "study")
    assert again.folder == study.folder, "not to chat is to say nothing"
    assert study.params.units == "L1.mlp.n3 L2.attn" and "L1.mlp.n3+L2.attn" in set(study.table["site"])
    (here / "texts").write_text("Lima is far away\n")
    found = api.read(bench, here / "texts", ["L1.mlp", Site(2, "attn")], here / "out")
    assert [str(site) for site in found] == ["L1.mlp", "L2.attn"]
    with pytest.raises(LashleyError):
        lashley.knockout(bench, PROMPT, **words, units=[3])


KNOCKED_OUT = {"units": "L1.mlp.n3+L2.attn+L4.attn.h1@final", "controls": 0}
STUDIED = {  # an experiment and its parameters, by the edit
    "zero": ("knockout", KNOCKED_OUT | {"edit": "zero"}),
    "resample": ("knockout", KNOCKED_OUT | {"edit": "resample"}),
    "patch": ("locate", {"kinds": ("attn",)}),
}


@pytest.mark.parametrize("edit", STUDIED)
def test_effects_without_a_study_are_those_of_a_study(bench, here, edit):
    """To the last bit: both are the same sweep."""
    experiment, words = STUDIED[edit]
    fact = {k: v for k, v in FACT.items() if k != "kinds"}
    table = api.ask(experiment, bench, PROMPT, **fact, **words, study=here / "study").table
    sites = table["site"].astype(str).tolist()
    found = bench.effects(PROMPT, "Paris", "Tokyo", sites, subject="France", corrupt="Japan", edit=edit)
    assert len(sites) > 3 and np.array_equal(found, table["effect"].to_numpy(float))


def test_what_is_shown_is_short_and_says_what_it_is(bench, here):
    assert repr(bench) == "<Bench: embedded, llama, 6 layers, float32 on cpu, packed path>"
    study = lashley.locate(bench, PROMPT, **FACT, study=here / "study")
    assert all(f.name in repr(f) and f.title in repr(f) and len(repr(f)) < 250 for f in study.figures)
    assert len(repr(study.figures)) < 250 * len(study.figures) and len(repr(study)) < 250
    assert "<html" in study._repr_html_()


def test_a_figure_shows_as_png_where_its_vega_is_not_known(bench, here, monkeypatch):
    figure = lashley.locate(bench, PROMPT, **FACT, study=here / "study").figures[0]
    bundle = figure._repr_mimebundle_()
    assert bundle["application/vnd.vegalite.v6+json"]["title"] == figure.title
    png = base64.b64decode(bundle["image/png"])
    assert png.startswith(b"\x89PNG") and np.frombuffer(png[16:24], ">u4").min() > 100, "a picture of some size"

    def undrawn(*_, **__):
        raise vega.Undrawn("it died")

    monkeypatch.setattr(vega, "png", undrawn)
    assert bundle.keys() - figure._repr_mimebundle_().keys() == {"image/png"}
