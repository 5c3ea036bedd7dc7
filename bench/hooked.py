"""The embedded GPT-2 as TransformerLens' `HookedTransformer`, for the peers that work on one; weights as they are."""

from __future__ import annotations

import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights
from transformers import GPT2LMHeadModel


def hooked(folder: str) -> tuple[HookedTransformer, float]:
    """The model, and how far its logits are from plain transformers'."""
    plain = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()
    shape = plain.config
    config = HookedTransformerConfig(
        n_layers=shape.n_layer,
        d_model=shape.n_embd,
        n_ctx=shape.n_positions,
        d_head=shape.n_embd // shape.n_head,
        n_heads=shape.n_head,
        d_vocab=shape.vocab_size,
        act_fn=shape.activation_function,
        normalization_type="LN",
        eps=shape.layer_norm_epsilon,
        device="cpu",
    )
    model = HookedTransformer(config)
    model.load_state_dict(convert_gpt2_weights(plain, config), strict=False)
    config.use_attn_result = config.use_split_qkv_input = config.use_hook_mlp_in = True
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        off = float((model.eval()(ids) - plain(ids).logits).abs().max())
    return model, off
