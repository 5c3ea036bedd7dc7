"""Tiny random models of every family: two to three layers, width 16, weights uniform in (-1, 1).

Large weights, biases included, so that no mistake hides behind small numbers. Where the canonical sites are is
written down here a second time, independently of the adapters under test.
"""

from __future__ import annotations

import string
from copy import deepcopy
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedTokenizerFast

from lashley.core.run import Run
from lashley.engine.model import Model

VOCABULARY, WIDTH, HEADS, NEURONS, CONTEXT = 97, 16, 4, 24, 64


@dataclass(frozen=True)
class Tiny:
    """A configuration and the dotted paths of its sites; those of sub-layers start at a decoder layer."""

    config: PreTrainedConfig
    layers: str
    norm: str
    head: str
    attn: str
    neuron: str | None
    mlp: str

    @property
    def family(self) -> str:
        return self.config.model_type.removesuffix("_text")


def _config(name: str, layers: int = 3, **more) -> PreTrainedConfig:
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    shape = {
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "intermediate_size": NEURONS,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "max_position_embeddings": CONTEXT,
    }
    return getattr(transformers, name)(**(ids | (shape if "n_embd" not in more else {}) | more))


LLAMA = {
    "layers": "model.layers",
    "norm": "model.norm",
    "head": "self_attn.o_proj",
    "attn": "self_attn.o_proj",
    "neuron": "mlp.down_proj",
    "mlp": "mlp.down_proj",
}
POST_NORM = LLAMA | {"attn": "post_attention_layernorm", "mlp": "post_feedforward_layernorm"}
NEOX = {
    "layers": "gpt_neox.layers",
    "norm": "gpt_neox.final_layer_norm",
    "head": "attention.dense",
    "attn": "attention.dense",
    "neuron": "mlp.dense_4h_to_h",
    "mlp": "mlp.dense_4h_to_h",
}
TINY = {
    "llama, grouped queries": Tiny(_config("LlamaConfig", num_key_value_heads=2), **LLAMA),
    "gpt2": Tiny(
        _config(
            "GPT2Config",
            vocab_size=VOCABULARY,
            n_embd=WIDTH,
            n_inner=NEURONS,
            n_layer=3,
            n_head=HEADS,
            n_positions=CONTEXT,
        ),
        layers="transformer.h",
        norm="transformer.ln_f",
        head="attn.c_proj",
        attn="attn.c_proj",
        neuron="mlp.c_proj",
        mlp="mlp.c_proj",
    ),
    "gpt_neox, parallel": Tiny(_config("GPTNeoXConfig"), **NEOX),
    "gpt_neox, sequential": Tiny(_config("GPTNeoXConfig", layers=2, use_parallel_residual=False), **NEOX),
    "gemma3, window and soft cap": Tiny(
        _config(
            "Gemma3TextConfig",
            num_key_value_heads=1,
            head_dim=8,
            query_pre_attn_scalar=8,
            sliding_window=4,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
            final_logit_softcapping=5.0,
        ),
        **POST_NORM,
    ),
}


WINDOW = ["full_attention", "sliding_attention", "full_attention"]  # the layers' types
MORE = {  # held to the contract, not to every test of the engine
    "mistral, window": Tiny(_config("MistralConfig", num_key_value_heads=2, sliding_window=4), **LLAMA),
    "mixtral": Tiny(
        _config("MixtralConfig", layers=2, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2),
        **LLAMA | {"neuron": None, "mlp": "mlp"},
    ),
    "qwen2, some windows": Tiny(
        _config("Qwen2Config", num_key_value_heads=2, use_sliding_window=True, sliding_window=4, layer_types=WINDOW),
        **LLAMA,
    ),
    "qwen3, wide heads and some windows": Tiny(
        _config(
            "Qwen3Config",
            num_key_value_heads=2,
            head_dim=8,
            use_sliding_window=True,
            sliding_window=4,
            layer_types=WINDOW,
            attention_bias=True,
        ),
        **LLAMA,
    ),
    "gemma2, windows and soft caps": Tiny(
        _config(
            "Gemma2Config",
            num_key_value_heads=2,
            head_dim=8,
            query_pre_attn_scalar=8,
            sliding_window=4,
            attn_logit_softcapping=2.0,
            final_logit_softcapping=5.0,
        ),
        **POST_NORM,
    ),
    "phi3, window and partial rotary": Tiny(
        _config(
            "Phi3Config",
            num_key_value_heads=2,
            sliding_window=4,
            rope_parameters={"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5},
        ),
        **LLAMA,
    ),
    "phi3, other rotary tables past 6 tokens": Tiny(
        _config(
            "Phi3Config",
            layers=2,
            original_max_position_embeddings=6,
            rope_parameters={
                "rope_type": "longrope",
                "rope_theta": 10_000.0,
                "original_max_position_embeddings": 6,
                "short_factor": [1.0, 1.5],
                "long_factor": [3.0, 5.0],
            },
        ),
        **LLAMA,
    ),
    "olmo2": Tiny(_config("Olmo2Config", num_key_value_heads=2), **POST_NORM),
    "opt": Tiny(
        _config("OPTConfig", ffn_dim=NEURONS),
        layers="model.decoder.layers",
        norm="model.decoder.final_layer_norm",
        head="self_attn.out_proj",
        attn="self_attn.out_proj",
        neuron="fc2",
        mlp="fc2",
    ),
    "gptj, not packed": Tiny(
        _config(
            "GPTJConfig",
            vocab_size=VOCABULARY,
            n_embd=WIDTH,
            n_inner=NEURONS,
            n_layer=3,
            n_head=HEADS,
            n_positions=CONTEXT,
            rotary_dim=2,
        ),
        layers="transformer.h",
        norm="transformer.ln_f",
        head="attn.out_proj",
        attn="attn.out_proj",
        neuron="mlp.fc_out",
        mlp="mlp.fc_out",
    ),
}
EVERY = TINY | MORE


def build(name: str, attention: str | None = None, dtype: torch.dtype = torch.float32):
    """The module of a tiny model, with transformers' choice of attention or another; the same weights every time."""
    return built(deepcopy(EVERY[name].config), attention, dtype)


def built(config: PreTrainedConfig, attention: str | None = None, dtype: torch.dtype = torch.float32):
    """The module of a configuration, with the weights of the tiny models."""
    torch.manual_seed(0)
    module = AutoModelForCausalLM.from_config(config, attn_implementation=attention).to(dtype)
    generator = torch.Generator().manual_seed(1)
    for weight in module.parameters():
        weight.data.copy_(2 * torch.rand(weight.shape, generator=generator) - 1)
    return module.eval()


def open_model(name: str, memory: int = 1 << 29, dtype: torch.dtype = torch.float32) -> Model:
    """A tiny model, opened by the engine."""
    return Model(build(name, dtype=dtype), tokenizer(), name, memory)


TEXT = "The capital of France is Paris. The Eiffel Tower stands in Paris, and Peru has Lima."


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level pieces of words, `<bos>` before every text, no more than the tiny vocabulary."""
    pieces = Tokenizer(models.BPE(unk_token="<unk>"))
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    specials = ["<pad>", "<bos>", "<eos>", "<unk>"]
    alphabet = [*string.ascii_letters, "Ġ", ".", ","]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    pieces.train_from_iterator([TEXT], trainer)
    pieces.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    named = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=pieces, **named)


def run(length: int, seed: int = 0, **more) -> Run:
    """A run of random tokens: one beginning-of-text, the subject on positions 2 and 3."""
    drawn = np.random.default_rng([length, seed]).integers(4, VOCABULARY, length)
    return Run(f"run {length} {seed}", tuple(int(t) for t in drawn), 1, (2, 4), **more)
