"""The self-test at load: a sound model is packed, a sabotaged one is run plainly or refused, never trusted."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from oracle import Oracle
from tiny import EVERY, build, built, open_model, run, tokenizer

from lashley.core.edit import Zero
from lashley.core.errors import BadModel, UnknownFamily
from lashley.core.readout import LogitDifference
from lashley.core.site import Site, Sites
from lashley.core.trial import Sweep
from lashley.engine import attention, families
from lashley.engine import model as model_file
from lashley.engine.model import Model
from lashley.engine.replay import Replay
from lashley.engine.selftest import checked


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_every_tiny_model_is_packed_where_its_family_can_be(name, dtype):
    if name == "mixtral" and dtype == torch.float64:
        with pytest.raises(BadModel, match="experts of mixtral in float32 at most; choose another dtype"):
            open_model(name, dtype=dtype)
        return
    bench = checked(open_model(name, dtype=dtype))
    if name == "gptj, not packed":
        assert (bench.path, bench.checked) == ("plain", "plain: gptj has no fast path")
    else:
        assert bench.path == "packed"
        assert bench.checked.startswith("packed: largest difference ")


def answers_like_the_oracle(bench, name: str) -> bool:
    site = Site(1, "mlp", None, 2)
    sweep = Sweep(run(6), None, "damage", (Zero(),), Sites.of([[site]]), LogitDifference((5,), (7,)))
    ((chunk,),) = bench.run([sweep])
    expected = Oracle(name).values(run(6), [(site, Zero())], [sweep.readout])
    return chunk.path == bench.path and np.allclose(chunk.values, expected, atol=1e-4)


def forget_the_prefix(monkeypatch):
    monkeypatch.setattr(attention, "_mask", lambda *args: None)


def forget_the_window(monkeypatch):
    own = attention._mask
    monkeypatch.setattr(attention, "_mask", lambda size, total, window, *more: own(size, total, None, *more))


def answer_nan(monkeypatch):
    own = Replay.packed
    monkeypatch.setattr(Replay, "packed", lambda self: own(self) * float("nan"))


def raise_(error: Exception):
    def sabotage(monkeypatch):
        def packed(self):
            raise error

        monkeypatch.setattr(Replay, "packed", packed)

    return sabotage


@pytest.mark.parametrize(
    "sabotage, name, message",
    [
        (forget_the_prefix, "gpt2", "differs from plain passes by"),
        (forget_the_window, "gemma3, window and soft cap", "differs from plain passes by"),
        (answer_nan, "llama, grouped queries", "differs from plain passes by nan"),
        (raise_(RuntimeError("shapes differ")), "gpt2", r"the fast path failed \(shapes differ\)"),
        (raise_(IndexError("no keys")), "gpt2", r"the fast path failed \(no keys\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*the fast path")  # more than one may be said
def test_a_fast_path_that_is_wrong_gives_way_to_the_slow_one(monkeypatch, sabotage, name, message):
    model = open_model(name)
    with monkeypatch.context() as patched, pytest.warns(UserWarning, match=message):
        sabotage(patched)
        bench = checked(model)
    assert bench.path == "plain"
    assert answers_like_the_oracle(bench, name)


def test_a_family_without_the_attention_interface_is_run_plainly_and_says_nothing(name, monkeypatch):
    own = model_file.family
    monkeypatch.setattr(model_file, "family", lambda model_type: replace(own(model_type), packed=False))
    bench = checked(open_model(name))
    assert bench.path == "plain"
    assert answers_like_the_oracle(bench, name)


@pytest.mark.parametrize("cap", [None, 1.0, float("nan")])
def test_a_wrong_unembedding_is_refused(cap):
    model = open_model("gemma3, window and soft cap")
    model.softcap = cap
    with pytest.raises(BadModel, match="logits computed here differ from the model's own by"):
        checked(model)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("field", ["layers", "norm", "heads", "attn", "neurons", "mlp"])
def test_an_adapter_with_a_wrong_path_is_refused(name, field, monkeypatch):
    own = model_file.family
    monkeypatch.setattr(model_file, "family", lambda model_type: replace(own(model_type), **{field: "no.such"}))
    with pytest.raises(BadModel, match=r"the adapter for '\w+' does not fit this model"):
        open_model(name)


@pytest.mark.parametrize("field, wrong", [("attn", "self_attn.o_proj"), ("mlp", "mlp.down_proj")])
def test_a_site_before_the_post_norm_is_refused(field, wrong, monkeypatch):
    own = model_file.family
    monkeypatch.setattr(model_file, "family", lambda model_type: replace(own(model_type), **{field: wrong}))
    with pytest.raises(BadModel, match="not what is added to the residual stream"):
        checked(open_model("gemma3, window and soft cap"))


O_PROJ, DOWN_PROJ = "self_attn.o_proj", "mlp.down_proj"


@pytest.mark.parametrize(
    "wrong",
    [
        {"heads": "self_attn.q_proj"},
        {"heads": DOWN_PROJ},
        {"neurons": "mlp.up_proj"},
        {"neurons": O_PROJ},
        {"heads": DOWN_PROJ, "attn": DOWN_PROJ, "neurons": O_PROJ, "mlp": O_PROJ},
    ],
    ids=str,
)
def test_heads_and_neurons_that_are_elsewhere_are_refused(wrong, monkeypatch):
    own = model_file.family
    monkeypatch.setattr(model_file, "family", lambda model_type: replace(own(model_type), **wrong))
    with pytest.raises(BadModel, match="heads and neurons are not what attn and mlp are made from"):
        checked(open_model("llama, grouped queries"))


@pytest.mark.parametrize(
    "name, changes, message",
    [
        ("opt", {"do_layer_norm_before": False}, "opt with do_layer_norm_before=False is not supported"),
        ("opt", {"_remove_final_layer_norm": True}, "opt with _remove_final_layer_norm=True is not supported"),
        ("opt", {"word_embed_proj_dim": 8}, "unembeds 8 numbers from a residual stream of 16"),
        ("gemma2, windows and soft caps", {"use_bidirectional_attention": True}, "attention=True is not supported"),
        ("gemma3, window and soft cap", {"use_bidirectional_attention": True}, "attention=True is not supported"),
    ],
)
def test_a_variant_that_the_adapter_does_not_describe_is_refused(name, changes, message):
    config = deepcopy(EVERY[name].config)
    for key, value in changes.items():
        setattr(config, key, value)
    with pytest.raises(BadModel, match=f"{message}.*; choose another"):
        Model(built(config), tokenizer(), name)


def test_a_model_whose_layers_differ_is_refused():
    module = build("llama, grouped queries")
    module.model.layers[2].mlp.down_proj = torch.nn.Linear(20, 16)
    with pytest.raises(BadModel, match=r"layers with \[\(16, 20\), \(16, 24\)\] inputs to self_attn.o_proj and"):
        Model(module, tokenizer(), "unlike")


@pytest.mark.parametrize("positions", [1, 3, 4, 6, 7])
@pytest.mark.parametrize("name", ["gpt2", "opt"])
def test_a_model_of_few_positions_is_tested_on_as_many_or_refused(name, positions):
    config = deepcopy(EVERY[name].config)
    config.max_position_embeddings = positions
    model = Model(built(config), tokenizer(), "short")
    if positions < 4:
        with pytest.raises(BadModel, match=rf"short has {positions} positions .*; choose another"):
            checked(model)
    else:
        assert checked(model).path == "packed"


def test_a_model_that_does_not_run_is_refused_in_one_line():
    model = open_model("llama, grouped queries")
    model.blocks[1].self_attn.v_proj = torch.nn.Linear(16, 7)
    with pytest.raises(BadModel, match=r"llama, grouped queries does not run \(.*\); choose another") as caught:
        checked(model)
    assert "\n" not in str(caught.value)


def test_an_unknown_family_says_what_to_do():
    with pytest.raises(
        UnknownFamily, match=r"'rwkv7' has no adapter .*llama.*; add src/lashley/engine/families/rwkv7.py"
    ):
        families.family("rwkv7")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_are_refused(value):
    module = build("gpt2")
    next(module.parameters()).data[3, 4] = value
    with pytest.raises(BadModel, match=r"weight transformer.wte.weight .* NaN or infinity"):
        Model(module, tokenizer(), "broken")


def test_the_weights_hash_tells_weights_apart(name):
    first, same, other = build(name), build(name), build(name)
    next(other.parameters()).data[0, 0] += 1e-3
    hashes = [Model(m, tokenizer(), name).weights_hash for m in (first, same, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert len({open_model(n).weights_hash for n in EVERY}) == len(EVERY)
