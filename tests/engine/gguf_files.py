"""GGUF files of tiny models, written as llama.cpp's converter writes them. Every name and every rule is stated here a
second time: nothing is shared with the reader under test.

The model is made from a configuration by transformers, so that what the file stands for is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM

gguf: Any = __import__("pytest").importorskip("gguf")
TOKENS = ["<unk>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "th", "he"]
VOCABULARY, WIDTH, HEADS, GROUPS, LAYERS, INNER = len(TOKENS), 24, 4, 2, 2, 40
IDS = torch.tensor([[1] + [5 + 7 * i % 200 for i in range(14)]])


@dataclass(frozen=True)
class Written:
    """What a file says, and the configuration of the model that it stands for (None: of no model)."""

    architecture: str
    keys: dict[str, Any]
    tensors: dict[str, np.ndarray]
    config: dict[str, Any] | None

    def truth(self) -> torch.Tensor | None:
        """The logits on `IDS` of the model that the file stands for, [1, tokens, vocabulary]."""
        return None if self.config is None else logits(self.config)

    def save(self, path: Path, kind_of_weights: str = "F32") -> Path:
        """Matrices are stored as `kind_of_weights`, one of ggml's types, where its blocks fit their rows."""
        stored = gguf.GGMLQuantizationType[kind_of_weights]
        writer = gguf.GGUFWriter(path, self.keys["general.architecture"])
        kind = gguf.GGUFValueType
        for key, value in self.keys.items():
            if key == "general.architecture":
                continue
            if isinstance(value, list):
                writer.add_array(key, value)
            elif isinstance(value, bool):
                writer.add_key_value(key, value, kind.BOOL)
            elif isinstance(value, int):
                writer.add_key_value(key, value, kind.INT32 if value < 0 else kind.UINT32)
            else:
                writer.add_key_value(key, value, kind.STRING if isinstance(value, str) else kind.FLOAT32)
        for name, values in self.tensors.items():
            values = np.ascontiguousarray(values, dtype=np.float32)
            if values.ndim == 1 or values.shape[-1] % 32 or stored.name == "F32":
                writer.add_tensor(name, values)
            else:
                writer.add_tensor(name, gguf.quants.quantize(values, stored), raw_dtype=stored)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    def with_keys(self, changes: dict[str, Any], config: dict[str, Any] | None) -> Written:
        """The same with other keys (`...` drops one), and the configuration that it then stands for."""
        keys = {k: v for k, v in (self.keys | changes).items() if v is not ...}
        return replace(self, keys=keys, config=config)

    def with_tensors(self, changes: dict[str, Any], config: dict[str, Any] | None) -> Written:
        tensors = {k: v for k, v in (self.tensors | changes).items() if v is not ...}
        return replace(self, tensors=tensors, config=config)


def module_of(config: dict[str, Any]):
    """The model of a configuration: random and large enough that every part of it is seen in the logits."""
    config = deepcopy(config)
    torch.manual_seed(0)
    module = (
        AutoModelForCausalLM.from_config(AutoConfig.for_model(**config), attn_implementation="eager").float().eval()
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in module.named_parameters():
            drawn = torch.randn(p.shape, generator=generator)
            scale = 1.0 if "embed" in name or "lm_head" in name or "wte" in name else 1.5 / math.sqrt(p.shape[-1])
            around = 0.0 if "gemma" in config["model_type"] or name.endswith("bias") else 1.0
            p.copy_(scale * drawn if p.ndim > 1 else 0.3 * drawn + around)
    return module


@torch.no_grad()
def logits(config: dict[str, Any]) -> torch.Tensor:
    return module_of(config)(IDS).logits


def _tokenizer() -> dict[str, Any]:
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": [3, 3, 3] + [1] * (VOCABULARY - 3),
        "tokenizer.ggml.merges": ["t h", "h e"],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.padding_token_id": 2,
    }


NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
    "embed_tokens": "token_embd",
    "wte": "token_embd",
    "wpe": "position_embd",
    "norm": "output_norm",
    "ln_f": "output_norm",
    "lm_head": "output",
}


def _pairs(values: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head from halves to interleaved pairs, as Meta's layout has them."""
    return values.reshape(heads, 2, -1, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def _tensors(architecture: str, config: dict[str, Any]) -> dict[str, np.ndarray]:
    module, made = module_of(config), {}
    tied = module.config.tie_word_embeddings
    gemma = architecture.startswith("gemma")
    for name, parameter in module.named_parameters(remove_duplicate=False):
        values = parameter.detach().numpy()
        if name == "lm_head.weight" and tied:
            continue
        path = name.removeprefix("model.").removeprefix("transformer.")
        block = ""
        if path.startswith(("layers.", "h.")):
            _, number, path = path.split(".", 2)
            block = f"blk.{number}."
        if path == "mlp.experts.gate_up_proj":
            half = values.shape[1] // 2
            made[f"{block}ffn_gate_exps.weight"], made[f"{block}ffn_up_exps.weight"] = (
                values[:, :half],
                values[:, half:],
            )
            continue
        if path == "mlp.experts.down_proj":
            made[f"{block}ffn_down_exps.weight"] = values
            continue
        stem, end = path.rsplit(".", 1)
        called = NAMES[stem]
        if gemma and stem == "post_attention_layernorm":
            called = "post_attention_norm"
        if gemma and "norm" in stem:
            values = values + 1
        if architecture == "llama" and stem in ("self_attn.q_proj", "self_attn.k_proj"):
            values = _pairs(values, HEADS if stem == "self_attn.q_proj" else GROUPS)
        if (
            architecture == "gpt2"
            and stem in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
            and end == "weight"
        ):
            values = values.T
        made[f"{block}{called}.{end}"] = values
    return made


SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": GROUPS,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-3,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}


def _said(architecture: str, c: dict[str, Any], base: float | None, **more) -> dict[str, Any]:
    said = {
        "block_count": c["num_hidden_layers"],
        "context_length": c["max_position_embeddings"],
        "embedding_length": c["hidden_size"],
        "feed_forward_length": c["intermediate_size"],
        "attention.head_count": c["num_attention_heads"],
        "attention.head_count_kv": c["num_key_value_heads"],
        "attention.layer_norm_rms_epsilon": c["rms_norm_eps"],
    }
    if base is not None:
        said["rope.freq_base"] = base
    said |= {k: v for k, v in more.items() if v is not None}
    header = {"general.architecture": architecture, "general.name": "tiny", "general.file_type": 0}
    return header | {f"{architecture}.{k}": v for k, v in said.items()} | _tokenizer()


def _file(architecture: str, config: dict[str, Any], base: float | None, said: dict[str, Any], **more) -> Written:
    """`said` are the keys past those that all have; `more` tensors past the parameters."""
    tensors = _tensors(architecture, config) | {f"{k}.weight": np.array(v) for k, v in more.items()}
    return Written(architecture, _said(architecture, config, base, **said), tensors, config)


def _rope(base: float, kind: str = "default", **more) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": base} | more}


LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
HEAD = WIDTH // HEADS
FULL = {"rope.dimension_count": HEAD}
SHORT, LONG = [1.1, 1.5, 2.1], [2.0, 4.0, 7.0]


def _llama3_factors(base: float) -> list[float]:
    """What the converter writes for Llama 3.1: how much slower each frequency turns."""
    factors = []
    for k in range(0, HEAD, 2):
        wave = 2 * math.pi * base ** (k / HEAD)
        smooth = (16 / wave - 1.0) / (4.0 - 1.0)
        factors.append(1.0 if wave < 16 / 4 else 8.0 if wave > 16 else 1 / ((1 - smooth) / 8.0 + smooth))
    return factors


def llama() -> Written:
    return _file("llama", SHAPE | {"model_type": "llama"} | _rope(3e4), 3e4, FULL | {"vocab_size": VOCABULARY})


def llama_tied_with_biases() -> Written:
    config = SHAPE | {"model_type": "llama", "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}
    return _file("llama", config | _rope(1e4), 1e4, FULL | {"expert_count": 0})


def llama_wide_heads() -> Written:
    config = SHAPE | {"model_type": "llama", "head_dim": 10} | _rope(1e4)
    said = {"attention.key_length": 10, "attention.value_length": 10, "rope.dimension_count": 10}
    return _file("llama", config, 1e4, said)


def llama31() -> Written:
    config = SHAPE | {"model_type": "llama"} | _rope(50.0, "llama3", **LLAMA3)
    return _file("llama", config, 50.0, FULL, rope_freqs=_llama3_factors(50.0))


def llama_linear() -> Written:
    config = SHAPE | {"model_type": "llama"} | _rope(1e4, "linear", factor=4.0)
    return _file("llama", config, 1e4, FULL | {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0})


def mistral() -> Written:
    config = SHAPE | {"model_type": "mistral", "sliding_window": 5, "head_dim": HEAD} | _rope(1e4)
    return _file("llama", config, 1e4, FULL | {"attention.sliding_window": 5})


def mixtral() -> Written:
    experts = {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None, "head_dim": HEAD}
    config = SHAPE | {"model_type": "mixtral"} | experts | _rope(1e6)
    return _file("llama", config, 1e6, FULL | {"expert_count": 4, "expert_used_count": 2})


def qwen2() -> Written:
    return _file("qwen2", SHAPE | {"model_type": "qwen2", "tie_word_embeddings": True} | _rope(1e6), 1e6, {})


def qwen2_yarn() -> Written:
    yarn = {"factor": 4.0, "original_max_position_embeddings": 32, "beta_fast": 16.0, "beta_slow": 2.0}
    config = SHAPE | {"model_type": "qwen2"} | _rope(100.0, "yarn", **yarn)
    said = {"type": "yarn", "factor": 4.0, "original_context_length": 32, "yarn_beta_fast": 16.0, "yarn_beta_slow": 2.0}
    return _file("qwen2", config, 100.0, {f"rope.scaling.{k}": v for k, v in said.items()})


def qwen3() -> Written:
    config = SHAPE | {"model_type": "qwen3", "head_dim": 8, "attention_bias": True} | _rope(1e6)
    return _file("qwen3", config, 1e6, {"attention.key_length": 8, "attention.value_length": 8})


def phi3() -> Written:
    config = SHAPE | {"model_type": "phi3", "sliding_window": 5} | _rope(1e4, partial_rotary_factor=2 / 3)
    said = {"rope.dimension_count": 4, "attention.sliding_window": 5, "rope.scaling.original_context_length": 128}
    return _file("phi3", config | {"original_max_position_embeddings": 128}, 1e4, said)


def phi3_longrope() -> Written:
    scaled = math.sqrt(1 + math.log(16) / math.log(8))
    more = {"short_factor": SHORT, "long_factor": LONG, "original_max_position_embeddings": 8}
    more |= {"attention_factor": scaled, "factor": 16.0}
    config = SHAPE | {"model_type": "phi3", "sliding_window": None, "original_max_position_embeddings": 8}
    said = FULL | {"rope.scaling.original_context_length": 8, "rope.scaling.attn_factor": scaled}
    said |= {"attention.sliding_window": 0}
    return _file(
        "phi3", config | _rope(1e4, "longrope", **more), 1e4, said, rope_factors_short=SHORT, rope_factors_long=LONG
    )


def _gemma(layers: int, width: int, **more) -> dict[str, Any]:
    small = {"intermediate_size": 4, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
    size = {"num_hidden_layers": layers, "hidden_size": width, "sliding_window": 5, "tie_word_embeddings": True}
    return SHAPE | small | size | more


HEADS_OF_8 = {"attention.key_length": 8, "attention.value_length": 8, "attention.sliding_window": 5}


def gemma2(layers: int = 26, width: int = 2304, scale: int = 256) -> Written:
    caps = {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 5.0}
    config = _gemma(layers, width, model_type="gemma2", query_pre_attn_scalar=scale, head_dim=4, **caps)
    said = HEADS_OF_8 | {"attention.key_length": 4, "attention.value_length": 4}
    return _file("gemma2", config | _rope(1e4), None, said | caps)


def gemma3(layers: int = 18, width: int = 640, scale: int = 256) -> Written:
    rope = {"full_attention": _rope(1e6)["rope_parameters"], "sliding_attention": _rope(1e4)["rope_parameters"]}
    config = _gemma(layers, width, model_type="gemma3_text", rope_parameters=rope, query_pre_attn_scalar=scale)
    return _file("gemma3", config, 1e6, HEADS_OF_8)


def gemma3_linear() -> Written:
    rope = {"full_attention": _rope(1e6, "linear", factor=8.0)["rope_parameters"]}
    rope |= {"sliding_attention": _rope(2e4)["rope_parameters"]}
    config = _gemma(18, 640, model_type="gemma3_text", rope_parameters=rope, final_logit_softcapping=6.0)
    said = {"rope.scaling.type": "linear", "rope.scaling.factor": 8.0, "rope.freq_base_swa": 2e4}
    return _file("gemma3", config, 1e6, HEADS_OF_8 | said | {"final_logit_softcapping": 6.0})


def gpt2() -> Written:
    sizes = {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_inner": 4 * WIDTH, "n_positions": 128}
    ends = {"bos_token_id": 1, "eos_token_id": 2, "vocab_size": VOCABULARY, "layer_norm_epsilon": 1e-3}
    config = {"model_type": "gpt2"} | sizes | ends
    said = {
        "block_count": LAYERS,
        "context_length": 128,
        "embedding_length": WIDTH,
        "feed_forward_length": 4 * WIDTH,
        "attention.head_count": HEADS,
        "attention.layer_norm_epsilon": 1e-3,
    }
    keys = {"general.architecture": "gpt2", "general.name": "tiny"} | {f"gpt2.{k}": v for k, v in said.items()}
    return Written("gpt2", keys | _tokenizer(), _tensors("gpt2", config), config)


FILES: dict[str, Callable[[], Written]] = {
    f.__name__: f
    for f in (
        *(llama, llama_tied_with_biases, llama_wide_heads, llama31, llama_linear, mistral, mixtral),
        *(qwen2, qwen2_yarn, qwen3, phi3, phi3_longrope, gemma2, gemma3, gemma3_linear, gpt2),
    )
}
