"""llama.cpp's architectures as transformers' models: which key of the header is which field of the configuration,
which tensors make which parameter, and what files do not state.

Sources: the converter (conversion/*.py, gguf-py/gguf/tensor_mapping.py) and the loader (src/models/*.cpp) of
github.com/ggml-org/llama.cpp, and the published config.json of each model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lashley.core.errors import BadModel
from lashley.engine.gguf.header import Header
from lashley.engine.gguf.rope import FREQUENCIES, LONG, SHORT, rope

Factors = Mapping[str, Sequence[float]]

# What no key says. The scale of queries, by layers and width, from the published configurations: it is not always the
# width of a head, so that of any other size cannot be known.
QUERY_SCALE = {
    "gemma2": {(26, 2304): 256, (42, 3584): 256, (46, 4608): 144},  # 2B, 9B, 27B
    "gemma3": {(18, 640): 256, (26, 1152): 256, (34, 2560): 256, (48, 3840): 256, (62, 5376): 168},  # 270M to 27B
}
# Every how many layers one sees everything, and how fast the others turn: fixed in llama.cpp, and in all releases.
PERIOD = {"gemma2": 2, "gemma3": 6}
WINDOWED_BASE = {"gemma3": 10_000.0}
# Mistral 7B v0.1 and what was made from it: layers, width, MLP, context, base; later ones have no window.
WINDOW = {(32, 4096, 14336, 32768, 10_000.0): 4096}


@dataclass(frozen=True)
class Architecture:
    """`config` makes the fields of a configuration, `model_type` included. `layer` and `whole` say, for each parameter
    of a layer and of the rest, which tensors it is made from; all names without `weight` or `bias`, except those of
    fused experts, which are stored in parts. `layers` is where the layers are. `flags` are fields that are set where
    the first layer holds a tensor. `factors` are tensors that go into the configuration. `permuted` are projections
    whose rows llama.cpp keeps in the order of interleaved rotary pairs, and the field that counts their heads;
    `shifted`: norms are stored plus one; `turned`: parameters that are stored the other way round."""

    config: Callable[[Header, Factors], dict[str, Any]]
    layer: Mapping[str, tuple[str, ...]]
    whole: Mapping[str, tuple[str, ...]]
    layers: str = "model.layers"
    flags: Mapping[str, str] = field(default_factory=dict)
    factors: tuple[str, ...] = ()
    permuted: Mapping[str, str] = field(default_factory=dict)
    shifted: bool = False
    turned: tuple[str, ...] = ()


def _sizes(header: Header, rotary: bool = True) -> dict[str, Any]:
    """What every architecture of grouped queries, RMS norms and gated MLPs says."""
    width, heads = header.count("embedding_length"), header.count("attention.head_count")
    head = header.count("attention.key_length", width // heads)
    header.only("attention.value_length", head)
    if head % 2:
        raise BadModel(f"its heads are {head} wide, and rotary positions turn pairs; convert the model again")
    if rotary:
        header.only("rope.dimension_count", head)
    header.only("attention.causal", True)
    header.only("pooling_type", 0)
    return {
        "hidden_size": width,
        "num_hidden_layers": header.blocks,
        "intermediate_size": header.count("feed_forward_length"),
        "num_attention_heads": heads,
        "num_key_value_heads": header.count("attention.head_count_kv", heads),
        "head_dim": head,
        "max_position_embeddings": header.count("context_length"),
        "rms_norm_eps": header.number("attention.layer_norm_rms_epsilon"),
    }


def _llama(header: Header, factors: Factors) -> dict[str, Any]:
    """Llama; Mistral where there is a window; Mixtral where there are experts."""
    made = _sizes(header)
    base = header.number("rope.freq_base")
    context = made["max_position_embeddings"]
    made |= {"model_type": "llama", "rope_parameters": rope(header, factors, context, base, made["head_dim"])}
    of = (made["num_hidden_layers"], made["hidden_size"], made["intermediate_size"], context, base)
    if window := header.count("attention.sliding_window", WINDOW.get(of, 0), least=0):
        made |= {"model_type": "mistral", "sliding_window": window}
    experts, used = header.count("expert_count", 0, least=0), header.count("expert_used_count", 0, least=0)
    if experts:
        if not 0 < used <= experts:
            raise BadModel(f"its header says that {used} of {experts} experts are used; convert the model again")
        header.only("expert_feed_forward_length", made["intermediate_size"])
        made |= {"model_type": "mixtral", "num_local_experts": experts, "num_experts_per_tok": used}
        made |= {"sliding_window": window or None}
    return made


def _qwen(model_type: str) -> Callable[[Header, Factors], dict[str, Any]]:
    def config(header: Header, factors: Factors) -> dict[str, Any]:
        made = _sizes(header)
        context, base = made["max_position_embeddings"], header.number("rope.freq_base")
        turning = rope(header, factors, context, base, made["head_dim"])
        return made | {"model_type": model_type, "rope_parameters": turning}

    return config


def _phi3(header: Header, factors: Factors) -> dict[str, Any]:
    made = _sizes(header, rotary=False)
    head = made.pop("head_dim")
    if head * made["num_attention_heads"] != made["hidden_size"]:
        raise BadModel(f"its heads of {head} do not add up to its width; convert the model again")
    turned, context = header.count("rope.dimension_count"), made["max_position_embeddings"]
    if turned > head or turned % 2:
        raise BadModel(f"its rope.dimension_count is {turned}, of heads of {head}; convert the model again")
    turning = rope(header, factors, context, header.number("rope.freq_base"), turned)
    if turning["rope_type"] not in ("default", "longrope"):
        raise BadModel(
            f"its rope.scaling.type is {turning['rope_type']!r}, which phi3 models do not have; choose another"
        )
    return made | {
        "model_type": "phi3",
        "sliding_window": header.count("attention.sliding_window", 0, least=0) or None,
        "original_max_position_embeddings": header.count("rope.scaling.original_context_length", context),
        "rope_parameters": turning | {"partial_rotary_factor": turned / head},
    }


def _gemma(model_type: str) -> Callable[[Header, Factors], dict[str, Any]]:
    def config(header: Header, factors: Factors) -> dict[str, Any]:
        made = _sizes(header)
        size = (made["num_hidden_layers"], made["hidden_size"])
        if (scale := QUERY_SCALE[model_type].get(size)) is None:
            known = ", ".join(f"{layers} × {width}" for layers, width in QUERY_SCALE[model_type])
            raise BadModel(
                f"no key says how the queries of a {model_type} model are scaled, and {size[0]} layers × {size[1]} is "
                f"none of the sizes that were published ({known}); give the folder that it was converted from"
            )
        windows = header.layers("attention.sliding_window_pattern", PERIOD[model_type], header.blocks)
        return made | {
            "query_pre_attn_scalar": scale,
            "sliding_window": header.count("attention.sliding_window"),
            "layer_types": ["sliding_attention" if w else "full_attention" for w in windows],
        }

    return config


def _gemma2(header: Header, factors: Factors) -> dict[str, Any]:
    made = _gemma("gemma2")(header, factors)
    base = header.number("rope.freq_base", 10_000.0)  # its converter leaves it out
    header.only("rope.freq_base_swa", base)
    return made | {
        "model_type": "gemma2",
        "rope_parameters": rope(header, factors, made["max_position_embeddings"], base, made["head_dim"]),
        "attn_logit_softcapping": header.number("attn_logit_softcapping"),
        "final_logit_softcapping": header.number("final_logit_softcapping"),
    }


def _gemma3(header: Header, factors: Factors) -> dict[str, Any]:
    made = _gemma("gemma3")(header, factors)
    context, base = made["max_position_embeddings"], header.number("rope.freq_base")
    full = rope(header, factors, context, base, made["head_dim"])
    near = {"rope_type": "default", "rope_theta": header.number("rope.freq_base_swa", WINDOWED_BASE["gemma3"])}
    capped = header.says("final_logit_softcapping")
    return made | {
        "model_type": "gemma3_text",
        "rope_parameters": {"full_attention": full, "sliding_attention": near},
        "final_logit_softcapping": header.number("final_logit_softcapping") if capped else None,
    }


def _gpt2(header: Header, factors: Factors) -> dict[str, Any]:
    header.only("attention.causal", True)
    heads = header.count("attention.head_count")
    header.only("attention.head_count_kv", heads)
    return {
        "model_type": "gpt2",
        "n_embd": header.count("embedding_length"),
        "n_layer": header.blocks,
        "n_inner": header.count("feed_forward_length"),
        "n_head": heads,
        "n_positions": header.count("context_length"),
        "layer_norm_epsilon": header.number("attention.layer_norm_epsilon"),
    }


ENDS = {"model.embed_tokens": ("token_embd",), "model.norm": ("output_norm",), "lm_head": ("output",)}
LLAMA = {
    "input_layernorm": ("attn_norm",),
    "self_attn.q_proj": ("attn_q",),
    "self_attn.k_proj": ("attn_k",),
    "self_attn.v_proj": ("attn_v",),
    "self_attn.o_proj": ("attn_output",),
    "post_attention_layernorm": ("ffn_norm",),
    "mlp.gate_proj": ("ffn_gate",),
    "mlp.up_proj": ("ffn_up",),
    "mlp.down_proj": ("ffn_down",),
}
MIXTRAL = {
    "mlp.gate": ("ffn_gate_inp",),
    "mlp.experts.gate_up_proj": ("ffn_gate_exps.weight", "ffn_up_exps.weight"),
    "mlp.experts.down_proj": ("ffn_down_exps.weight",),
}
QWEN3 = LLAMA | {"self_attn.q_norm": ("attn_q_norm",), "self_attn.k_norm": ("attn_k_norm",)}
GEMMA2 = LLAMA | {
    "post_attention_layernorm": ("post_attention_norm",),
    "pre_feedforward_layernorm": ("ffn_norm",),
    "post_feedforward_layernorm": ("post_ffw_norm",),
}
PHI3 = {
    "input_layernorm": ("attn_norm",),
    "self_attn.qkv_proj": ("attn_qkv",),
    "self_attn.o_proj": ("attn_output",),
    "post_attention_layernorm": ("ffn_norm",),
    "mlp.gate_up_proj": ("ffn_up",),
    "mlp.down_proj": ("ffn_down",),
}
GPT2 = {
    "ln_1": ("attn_norm",),
    "attn.c_attn": ("attn_qkv",),
    "attn.c_proj": ("attn_output",),
    "ln_2": ("ffn_norm",),
    "mlp.c_fc": ("ffn_up",),
    "mlp.c_proj": ("ffn_down",),
}
GPT2_ENDS = {
    "transformer.wte": ("token_embd",),
    "transformer.wpe": ("position_embd",),
    "transformer.ln_f": ("output_norm",),
    "lm_head": ("output",),
}
QUERIES_AND_KEYS = {"self_attn.q_proj": "num_attention_heads", "self_attn.k_proj": "num_key_value_heads"}
BIASES = {"attention_bias": "attn_q.bias"}
ARCHITECTURES = {
    "llama": Architecture(
        _llama,
        LLAMA | MIXTRAL,
        ENDS,
        flags=BIASES | {"mlp_bias": "ffn_up.bias"},
        factors=(FREQUENCIES,),
        permuted=QUERIES_AND_KEYS,
    ),
    "qwen2": Architecture(_qwen("qwen2"), LLAMA, ENDS),
    "qwen3": Architecture(_qwen("qwen3"), QWEN3, ENDS, flags=BIASES),
    "phi3": Architecture(_phi3, PHI3, ENDS, factors=(SHORT, LONG)),
    "gemma2": Architecture(_gemma2, GEMMA2, ENDS, flags=BIASES, shifted=True),
    "gemma3": Architecture(_gemma3, QWEN3 | GEMMA2, ENDS, flags=BIASES, shifted=True),
    "gpt2": Architecture(
        _gpt2, GPT2, GPT2_ENDS, "transformer.h", turned=("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    ),
}
