"""OLMo 2: no norm before each sub-layer but one after it; a norm on all queries and keys together."""

from lashley.engine.families import Family

FAMILY = Family(attn="post_attention_layernorm", mlp="post_feedforward_layernorm")
