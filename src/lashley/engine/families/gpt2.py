"""GPT-2: pre-norm, learned positions, ungated MLP, projections with biases."""

from lashley.engine.families import Family

FAMILY = Family(
    layers="transformer.h",
    norm="transformer.ln_f",
    heads="attn.c_proj",
    attn="attn.c_proj",
    neurons="mlp.c_proj",
    mlp="mlp.c_proj",
    attn_norm="ln_1",
    mlp_norm="ln_2",
    queries=("attn.c_attn",),
    keys=("attn.c_attn",),
    values=("attn.c_attn",),
    fused="blocks",
)
