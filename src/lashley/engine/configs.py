"""What a config.json says, against what transformers makes of it: a key that the model does not know is refused.

transformers keeps unknown keys and does nothing with them, so that a model that needs one is silently another.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import transformers

from lashley.core.errors import BadModel
from lashley.core.figure import plural

HARMLESS = {  # what was written beside the architecture: by whom, for which task, how to generate; and two old names
    *(
        "architectures",
        "auto_map",
        "dtype",
        "torch_dtype",
        "transformers_version",
        "_name_or_path",
        "_model_name_or_path",
        "model_type",
    ),
    *(
        "_attn_implementation",
        "attn_implementation",
        "_attn_implementation_autoset",
        "use_cache",
        "cache_implementation",
    ),
    *("unsloth_version", "unsloth_fixed", "model_name", "tokenizer_class", "prefix", "language", "license"),
    *("finetuning_task", "task_specific_params", "problem_type", "id2label", "label2id", "num_labels", "return_dict"),
    *("gradient_checkpointing", "torchscript", "pretraining_tp", "is_llama_config", "output_past", "keys_to_ignore"),
    *("n_ctx", "max_sequence_length", "rotary", "_sliding_window_pattern", "interpolate_factor", "full_attn_mod"),
    *("n_special", "predict_special_tokens", "scale_attn_weights", "transformers.js_config"),
    *("chunk_size_feed_forward", "decoder_start_token_id", "sep_token_id", "unk_token_id", "default_theta"),
}
LEGACY = {
    "rope_theta",
    "rope_scaling",
    "rotary_pct",
    "rotary_emb_base",
    "rope_local_base_freq",
    "partial_rotary_factor",
}
LEGACY |= {"sliding_window_pattern", "original_max_position_embeddings", "rope_parameters", "head_dim"}
PARTIAL = ("phi3", "gpt_neox")  # turn a part of each head; the others would ignore the word
TWICE = {"hidden_act": "hidden_activation", "sliding_window_size": "sliding_window"}  # said by Gemma 2 under both names
OFF = ("is_encoder_decoder", "add_cross_attention", "pruned_heads", "tie_encoder_decoder")  # what all could say
ROOTS = ("_eps", "_epsilon", "query_pre_attn_scalar")  # numbers whose roots are taken
TURNING = {  # what each kind of rotary positions reads, beside its base
    "default": set[str](),
    "linear": {"factor"},
    "dynamic": {"factor", "original_max_position_embeddings"},
    "llama3": {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"},
    "yarn": {
        *("factor", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"),
        "original_max_position_embeddings",
    },
    "longrope": {"factor", "attention_factor", "short_factor", "long_factor", "original_max_position_embeddings"},
}
TURNING |= {"su": TURNING["longrope"]}


def understood(said: Mapping[str, Any], config: transformers.PreTrainedConfig) -> None:
    """Raises `BadModel`, without the model's name, where the dictionary `said` holds what `config` does nothing with.

    What is off (null, false, zero, empty) is as if it were not there.
    """
    kind = config.model_type
    if quantised := said.get("quantization_config"):
        method = quantised.get("quant_method") if isinstance(quantised, dict) else quantised
        raise BadModel(f"its weights are quantised by {method}, which is not read; give the model before quantisation")
    known = _fields(config) | HARMLESS | set(transformers.GenerationConfig().to_dict())
    if "rope_parameters" in known:
        known |= LEGACY
    known |= {old for old, new in TWICE.items() if said.get(old) == _field(config, new)}
    for key, value in said.items():
        if not _off(value) and (key not in known or key in OFF) and not key.startswith("summary_"):
            raise BadModel(
                f"its config.json says {key} = {str(value)[:60]}, which {kind} models do not have; choose another, or "
                f"take {key} out if nothing depends on it"
            )
        if key.endswith(ROOTS) and isinstance(value, int | float) and value < 0:
            raise BadModel(f"its config.json says {key} = {value}, whose root is taken; mend it")
    for rope in _ropes(said):
        _turning(rope, kind)
        _factors(rope, config)
    if kind.removesuffix("_text") not in PARTIAL and any(_part(s) != 1 for s in (said, *_ropes(said))):
        raise BadModel(f"its config.json says partial_rotary_factor, which {kind} models do not have; choose another")


class Stated(NamedTuple):
    """What only some architectures have in their configurations, and what holds for those that do not."""

    softcap: float | None  # of the logits; None: they are as they are
    experts: int  # that a token is routed to; 1: there is one MLP
    key_heads: int | None  # heads of keys and values; None: one a query head
    rotary: tuple[Mapping[str, Any], ...]  # rotary positions, one table or one a kind of layer; (): none


def stated(config: transformers.PreTrainedConfig) -> Stated:
    """The same of one configuration."""
    rope: dict[str, Any] = _field(config, "rope_parameters") or {}
    return Stated(
        _field(config, "final_logit_softcapping"),
        _field(config, "num_experts_per_tok") or 1,
        _field(config, "num_key_value_heads"),
        tuple(table for table in (rope, *rope.values()) if isinstance(table, dict)),
    )


def flagged(config: transformers.PreTrainedConfig, name: str) -> bool:
    """Whether a configuration has a flag, and it is set."""
    return bool(_field(config, name))


def _field(config: transformers.PreTrainedConfig, name: str) -> Any:
    """A field of a configuration; None where architectures of its kind have no such thing."""
    return getattr(config, name, None)


def _off(value: object) -> bool:
    return value is None or value in (False, 0, "", [], {})


def _part(said: Mapping[str, Any]) -> float:
    return 1 if (part := said.get("partial_rotary_factor")) is None else part


def _fields(config: transformers.PreTrainedConfig) -> set[str]:
    fresh = type(config)()
    words = inspect.signature(type(config).__init__).parameters
    return {*fresh.to_dict(), *words, *fresh.attribute_map, *fresh.attribute_map.values()}


def _ropes(said: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The descriptions of rotary positions: one, or one a kind of layer."""
    for key in ("rope_scaling", "rope_parameters"):
        if isinstance(found := said.get(key), dict):
            nested = [v for v in found.values() if isinstance(v, dict)]
            yield from nested or [found]


def _factors(rope: Mapping[str, Any], config: transformers.PreTrainedConfig) -> None:
    """What LongRoPE divides frequencies by is a positive number for each pair of numbers of a head that turn: torch
    would take one for all. Of heads of which a part turns transformers counts them."""
    for key in ("short_factor", "long_factor"):
        if (found := rope.get(key)) is None:
            continue
        if not isinstance(found, list) or not all(isinstance(f, int | float) and 0 < f < math.inf for f in found):
            raise BadModel(f"its config.json says {key} = {str(found)[:60]}, and it takes positive numbers; mend it")
        head = _field(config, "head_dim") or config.hidden_size // config.num_attention_heads
        if config.model_type.removesuffix("_text") not in PARTIAL and 2 * len(found) != head:
            many = plural(len(found), "number")
            raise BadModel(f"its config.json says {key} of {many}, and {head // 2} pairs of each head turn; mend it")


def _turning(rope: Mapping[str, Any], kind: str) -> None:
    name = str(rope.get("rope_type", rope.get("type", "default")))
    if name not in TURNING:
        raise BadModel(f"its config.json says rope type {name!r}, which is not known here; choose another model")
    read = TURNING[name] | {"rope_type", "type", "rope_theta", "partial_rotary_factor"}
    if unread := [k for k, v in rope.items() if k not in read and not _off(v)]:
        raise BadModel(
            f"its config.json says {unread[0]} = {str(rope[unread[0]])[:60]} of rope type {name!r}, which has no such "
            f"thing; take {unread[0]} out if nothing depends on it"
        )
