"""The self-test at load: a sound model is packed, a sabotaged one is run plainly or refused, never trusted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from oracle import Oracle
from tiny import TINY, build, open_model, run, tokenizer

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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_every_tiny_model_is_packed(name, dtype):
    bench = checked(open_model(name, dtype=dtype))
    assert bench.path == "packed"
    assert bench.checked.startswith("packed: largest difference ")


def answers_like_the_oracle(bench, name: str) -> bool:
    site = Site(1, "mlp", None, 2)
    sweep = Sweep(run(6), None, "damage", (Zero(),), Sites.of([[site]]), LogitDifference((5,), (7,)))
    ((chunk,),) = bench.run([sweep])
    expected = Oracle(name).values(run(6), [(site, Zero())], [sweep.readout])
    return chunk.path == bench.path and np.allclose(chunk.values, expected, atol=1e-4)


def forget_the_prefix(monkeypatch):
    monkeypatch.setattr(attention, "_mask", lambda span, window, device: None)


def forget_the_window(monkeypatch):
    own = attention._mask
    monkeypatch.setattr(attention, "_mask", lambda span, window, device: own(span, None, device))


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
    assert len({open_model(n).weights_hash for n in TINY}) == len(TINY)
