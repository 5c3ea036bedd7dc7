"""GPT-J: attention and MLP read the same normed stream in parallel; attention of its own, so not packed."""

from lashley.engine.families import Family

FAMILY = Family(
    layers="transformer.h",
    norm="transformer.ln_f",
    heads="attn.out_proj",
    attn="attn.out_proj",
    neurons="mlp.fc_out",
    mlp="mlp.fc_out",
    packed=False,
    parallel=True,
    queries=(),  # rotary angles and all are worked out inside its attention
)
