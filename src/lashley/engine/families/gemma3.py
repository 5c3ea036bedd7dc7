"""Gemma 3 (text): a norm before and one after each sub-layer; most layers see a sliding window."""

from lashley.engine.families import Family

FAMILY = Family(
    attn="post_attention_layernorm",
    mlp="post_feedforward_layernorm",
    needs={"use_bidirectional_attention": False},
    mlp_norm="pre_feedforward_layernorm",
)
