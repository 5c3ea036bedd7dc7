"""GPT-2: pre-norm, learned positions, ungated MLP, projections with biases."""

from lashley.engine.families import Family

FAMILY = Family(
    layers="transformer.h",
    norm="transformer.ln_f",
    heads="attn.c_proj",
    attn="attn.c_proj",
    neurons="mlp.c_proj",
    mlp="mlp.c_proj",
)
