"""GPT-NeoX (Pythia): attention and MLP read the same residual stream in parallel, rotary on part of each head."""

from lashley.engine.families import Family

FAMILY = Family(
    layers="gpt_neox.layers",
    norm="gpt_neox.final_layer_norm",
    heads="attention.dense",
    attn="attention.dense",
    neurons="mlp.dense_4h_to_h",
    mlp="mlp.dense_4h_to_h",
    parallel="use_parallel_residual",
    queries=("attention.query_key_value",),
    keys=("attention.query_key_value",),
    values=("attention.query_key_value",),
    fused="heads",
)
