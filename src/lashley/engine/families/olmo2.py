"""OLMo 2: no norm before each sub-layer but one after it; a norm on all queries and keys together."""

from lashley.engine.families import Family

FAMILY = Family(
    attn="post_attention_layernorm",
    mlp="post_feedforward_layernorm",
    attn_norm=None,
    mlp_norm="mlp",
    queries=("self_attn.q_proj", "self_attn.q_norm"),
    keys=("self_attn.k_proj", "self_attn.k_norm"),
)
