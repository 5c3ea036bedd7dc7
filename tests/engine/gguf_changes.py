"""GGUF files with one thing changed, dropped or added, each beside the model that it then stands for.

Where a file stands for no model, or for one that cannot be known, there is no truth (`config` is None) and it has to be
refused. Refusing is always allowed; opening another model never is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from gguf_files import FILES, Written

# A key of the header that is the same number in the configuration: without a word on it, the model cannot be known,
# or is the one that the file was written from.
FIELDS = {
    "context_length": "max_position_embeddings",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.layer_norm_epsilon": "layer_norm_epsilon",
    "attention.sliding_window": "sliding_window",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "expert_used_count": "num_experts_per_tok",
}
TURNING = {  # the same inside `rope_parameters`
    "rope.freq_base": "rope_theta",
    "rope.scaling.factor": "factor",
    "rope.scaling.attn_factor": "attention_factor",
    "rope.scaling.yarn_beta_fast": "beta_fast",
    "rope.scaling.yarn_beta_slow": "beta_slow",
}
OTHER = {  # another value that the file could say as well; sizes that no longer fit its tensors
    "context_length": 96,
    "attention.layer_norm_rms_epsilon": 0.5,
    "attention.layer_norm_epsilon": 0.5,
    "attention.sliding_window": 3,
    "attn_logit_softcapping": 7.0,
    "final_logit_softcapping": 9.0,
    "expert_used_count": 3,
    "rope.freq_base": 700.0,
    "rope.scaling.factor": 2.0,
    "rope.scaling.attn_factor": 1.5,
    "rope.scaling.yarn_beta_fast": 8.0,
    "rope.scaling.yarn_beta_slow": 4.0,
}
# What a key's absence says, by llama.cpp's loader and converters: other fields of the configuration.
ABSENT: dict[str, dict[str, Any]] = {
    "mistral attention.sliding_window": {"model_type": "llama"},
    "phi3 attention.sliding_window": {"sliding_window": None},
    "gemma3_linear final_logit_softcapping": {"final_logit_softcapping": None},
    "gemma3_linear rope.freq_base_swa": {
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},  # as all releases have it
        }
    },
}
TURNING_ABSENT = {"yarn_beta_fast": {"beta_fast": 32.0}, "yarn_beta_slow": {"beta_slow": 1.0}}
WRONG_KINDS: tuple[Any, ...] = ("many", -1, 0, float("nan"), float("inf"), True, [1, 2, 3], 2**31)
ADDED = {
    "attention.scale": 0.3,
    "attention.clamp_kqv": 3.0,
    "attention.max_alibi_bias": 8.0,
    "attention.causal": False,
    "attention.temperature_scale": 0.1,
    "attention.sliding_window_pattern": 3,
    "attn_logit_softcapping": 1.0,
    "final_logit_softcapping": 1.0,
    "attention.sliding_window": 4,
    "rope.dimension_count": 2,
    "rope.dimension_sections": [1, 1, 1, 0],
    "rope.freq_base_swa": 300.0,
    "rope.scale_linear": 2.0,
    "rope.scaling.factor": 3.0,
    "rope.scaling.type": "yarn",
    "rope.scaling.yarn_attn_factor": 2.0,
    "rope.scaling.yarn_ext_factor": 0.5,
    "rope.scaling.yarn_log_multiplier": 0.1,
    "logit_scale": 0.5,
    "embedding_scale": 2.0,
    "residual_scale": 0.5,
    "expert_count": 4,
    "expert_weights_scale": 2.0,
    "expert_gating_func": 2,
    "leading_dense_block_count": 1,
    "pooling_type": 1,
    "use_parallel_residual": True,
    "something.new": 1,
}
NO_MODEL = {  # whole keys that make another thing of any file
    "general.type": "adapter",
    "general.architecture": "mamba",
    "split.count": 3,
    "adapter.type": "lora",
    "clip.has_vision_encoder": True,
    "qwen9.attention.twist": 1.0,
    "tokenizer.ggml.model": "rwkv",
    "tokenizer.ggml.pre": "nonsense",
    "tokenizer.ggml.precompiled_charsmap": [1, 2],
    "tokenizer.ggml.tokens": ["<unk>", "<s>"],
}
SAME = {  # and keys on which no logit depends
    "general.name": "mistral",
    "general.url": "https://example.org",
    "general.quantization_version": 2,
    "quantize.imatrix.file": "x.dat",
    "tokenizer.chat_template": "{{ messages }}",
    "tokenizer.ggml.eot_token_id": 2,
    "tokenizer.ggml.add_bos_token": True,
    "split.count": 1,
}


def _with(config: dict[str, Any] | None, change: dict[str, Any]) -> dict[str, Any]:
    assert config is not None
    made = {k: v for k, v in (config | change).items() if v is not ...}
    return {k: v for k, v in made.items() if k != "sliding_window"} if made["model_type"] == "llama" else made


def _turning(config: dict[str, Any] | None, change: dict[str, Any]) -> dict[str, Any]:
    """Of all layers, or of those that see everything."""
    assert config is not None
    rope = config["rope_parameters"]
    if "full_attention" in rope:
        return config | {"rope_parameters": rope | {"full_attention": rope["full_attention"] | change}}
    return config | {"rope_parameters": rope | change}


def _keys(name: str, file: Written) -> Iterator[tuple[str, Written]]:
    own = [k for k in file.keys if k.startswith(f"{file.architecture}.")]
    for key in own:
        short = key.removeprefix(f"{file.architecture}.")
        dropped = file.config
        if f"{name} {short}" in ABSENT:
            dropped = _with(file.config, ABSENT[f"{name} {short}"])
        elif short.removeprefix("rope.scaling.") in TURNING_ABSENT:
            dropped = _turning(file.config, TURNING_ABSENT[short.removeprefix("rope.scaling.")])
        yield f"without {short}", file.with_keys({key: ...}, dropped)
        other, truth = OTHER.get(short), None
        if short in FIELDS and other is not None:
            field = "n_positions" if file.architecture == "gpt2" and short == "context_length" else FIELDS[short]
            truth = None if field == "n_positions" else _with(file.config, {field: other})
        elif short in TURNING:
            truth = _turning(file.config, {TURNING[short]: other})
        elif short == "rope.freq_base_swa":
            rope = file.config["rope_parameters"]  # pyright: ignore[reportOptionalSubscript]
            near = {"sliding_attention": {"rope_type": "default", "rope_theta": 900.0}}
            other, truth = 900.0, _with(file.config, {"rope_parameters": rope | near})
        if other is None and isinstance(file.keys[key], int) and not isinstance(file.keys[key], bool):
            other = file.keys[key] + 2
        if name == "phi3" and short == "rope.scaling.original_context_length":
            truth = file.config  # which is for LongRoPE
        if file.architecture == "gpt2" and short == "attention.head_count":
            truth = _with(file.config, {"n_head": other})  # which no shape contradicts
        if other is not None:
            yield f"{short} = {other}", file.with_keys({key: other}, truth)
        for wrong in (WRONG_KINDS[i % len(WRONG_KINDS)] for i in (len(key), len(key) + 1 + own.index(key))):
            yield f"{short} = {wrong!r}", file.with_keys({key: wrong}, _meaning(name, short, wrong, file))
        if isinstance(file.keys[key], int):
            layers = file.keys[f"{file.architecture}.block_count"]
            yield f"{short} the same in each layer", file.with_keys({key: [file.keys[key]] * layers}, file.config)
            uneven = [file.keys[key]] * (layers - 1) + [file.keys[key] + 1]
            yield f"{short} other in one layer", file.with_keys({key: uneven}, None)


def _meaning(name: str, key: str, wrong: Any, file: Written) -> dict[str, Any] | None:
    """Some values look wrong and say something all the same."""
    if wrong is not True and wrong == 0 and key == "attention.sliding_window":
        return _with(file.config, {"model_type": "llama"} if name == "mistral" else {"sliding_window": None})
    if wrong is not True and wrong == 0 and key == "expert_count":
        return file.config if name == "llama_tied_with_biases" else None
    return None


def _tensors(file: Written) -> Iterator[tuple[str, Written]]:
    for name, values in file.tensors.items():
        if name.startswith("blk.") and not name.startswith("blk.1."):
            continue
        plain = {"rope_freqs.weight": _llama31_without}.get(name, lambda f: None)(file)
        if name == "output.weight":
            plain = _with(file.config, {"tie_word_embeddings": True})
        yield f"without {name}", file.with_tensors({name: ...}, plain)
        yield f"{name} renamed", file.with_tensors({name: ..., f"{name}x": values}, None)
        yield f"{name} a row more", file.with_tensors({name: np.concatenate([values, values[:1]])}, None)
        if values.ndim > 1 and values.shape[0] != values.shape[1]:
            yield f"{name} turned", file.with_tensors({name: np.ascontiguousarray(values.T)}, None)
        yield f"{name} doubled in width", file.with_tensors({name: np.repeat(values, 2, -1)}, None)
    for name in ("blk.0.attn_sinks.weight", "blk.0.attn_gate.weight", "blk.0.ffn_gate.0.weight", "blk.9.attn_q.weight"):
        yield f"and {name}", file.with_tensors({name: np.ones((4, 4))}, None)
    for name in ("rope_factors_long.weight", "output.bias", "token_types.weight", "cls.weight"):
        if name not in file.tensors:
            yield f"and {name}", file.with_tensors({name: np.ones(3)}, None)


def _llama31_without(file: Written) -> dict[str, Any]:
    assert file.config is not None
    return _with(file.config, {"rope_parameters": {"rope_type": "default", "rope_theta": 50.0}})


def _added(name: str, file: Written) -> Iterator[tuple[str, Written]]:
    for key, value in ADDED.items():
        full = f"{file.architecture}.{key}"
        if full in file.keys:
            continue
        truth = None
        if key == "attention.sliding_window" and name.startswith("llama") and "bias" not in name:
            head = {"head_dim": file.config.get("head_dim", 6)}  # pyright: ignore[reportOptionalMemberAccess]
            truth = (file.config or {}) | {"model_type": "mistral", "sliding_window": 4} | head
        windowed = key == "attention.sliding_window" and name in ("mixtral", "phi3_longrope")
        if windowed or (key == "final_logit_softcapping" and name == "gemma3"):
            truth = _with(file.config, {key.removeprefix("attention."): value})
        if key == "attention.sliding_window_pattern" and name.startswith("gemma"):
            layers = (file.config or {})["num_hidden_layers"]
            kinds = ["full_attention" if i % 3 == 2 else "sliding_attention" for i in range(layers)]
            truth = _with(file.config, {"layer_types": kinds})
        if key == "rope.freq_base_swa" and name.startswith("gemma3"):
            rope = (file.config or {})["rope_parameters"]
            near = {"sliding_attention": {"rope_type": "default", "rope_theta": 300.0}}
            truth = _with(file.config, {"rope_parameters": rope | near})
        yield f"and {key} = {value}", file.with_keys({full: value}, truth)
    for key, value in NO_MODEL.items():
        yield f"{key} = {value}", file.with_keys({key: value}, None)
    for key, value in SAME.items():
        yield f"{key} = {value}", file.with_keys({key: value}, file.config)


def changed(name: str) -> list[tuple[str, Written]]:
    """Every change of one file, and what it is called."""
    file = FILES[name]()
    return [*_keys(name, file), *_tensors(file), *_added(name, file)]


def sample(many: int, seed: int, names: tuple[str, ...] = tuple(FILES)) -> list[tuple[str, str, Written]]:
    """`many` changes, as even over the files as they go, half of them still standing for a model where there are as
    many; drawn without order, the same for the same seed."""
    drawn, draw = [], np.random.default_rng(seed)
    for turn, name in enumerate(names):
        share = many // len(names) + (turn < many % len(names))
        ways = changed(name)
        shuffled = [ways[i] for i in draw.permutation(len(ways))]
        models = [way for way in shuffled if way[1].config is not None][: share // 2]
        none = [way for way in shuffled if way[1].config is None][: share - len(models)]
        drawn += [(name, *way) for way in (*models, *none)]
    return drawn
