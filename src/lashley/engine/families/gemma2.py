"""Gemma 2: a norm before and one after each sub-layer; soft-capped attention; every other layer sees a window."""

from lashley.engine.families import Family

FAMILY = Family(
    attn="post_attention_layernorm",
    mlp="post_feedforward_layernorm",
    needs={"use_bidirectional_attention": False},
    mlp_norm="pre_feedforward_layernorm",
)
