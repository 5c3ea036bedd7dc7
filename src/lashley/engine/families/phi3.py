"""Phi-3 and 3.5: Llama with fused projections; long-context checkpoints turn at another speed past a length."""

from lashley.engine.families import Family

FAMILY = Family(
    queries=("self_attn.qkv_proj",),
    keys=("self_attn.qkv_proj",),
    values=("self_attn.qkv_proj",),
    fused="blocks",
    fused_keys="num_key_value_heads",
)
