"""OPT: pre-norm, learned positions, ungated MLP that sees the tokens of all rows end to end.

The 350M checkpoint norms the sum after each sub-layer, so that no residual stream adds up; it is refused.
"""

from lashley.engine.families import Family

FAMILY = Family(
    layers="model.decoder.layers",
    norm="model.decoder.final_layer_norm",
    heads="self_attn.out_proj",
    attn="self_attn.out_proj",
    neurons="fc2",
    mlp="fc2",
    flat_mlp=True,
    needs={"do_layer_norm_before": True, "_remove_final_layer_norm": False},
    attn_norm="self_attn_layer_norm",
    mlp_norm="final_layer_norm",
)
