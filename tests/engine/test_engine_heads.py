"""What heads write adds up to what attention writes, in every family, and its logits to the model's own."""

import msgspec
import numpy as np
import pytest
import torch
from oracle import Oracle
from tiny import EVERY, HEADS, open_model, run

from lashley.engine.heads import alone, unembedded, written

RUN = run(7)


@pytest.fixture(scope="module", params=EVERY)
def both(request):
    return open_model(request.param), Oracle(request.param)


def stacked(oracle, kind, one=RUN):
    return torch.stack([oracle.seen(one)[layer, kind] for layer in range(len(oracle.blocks))], 1)


def test_heads_together_write_what_attention_writes(both):
    model, oracle = both
    wrote = written(model, stacked(oracle, "head").unflatten(-1, (HEADS, -1)), together=True)
    rest = stacked(oracle, "attn") - wrote.sum(-2)  # a bias, where there is one
    for layer, block in enumerate(oracle.blocks):
        bias = block.get_submodule(oracle.tiny.head).bias
        expected = torch.zeros_like(rest[:, layer]) if bias is None else bias.expand_as(rest[:, layer])
        torch.testing.assert_close(rest[:, layer], expected, rtol=0, atol=1e-4)


def test_a_head_alone_writes_in_the_same_direction_before_a_norm_after_it(both):
    model, oracle = both
    heads = stacked(oracle, "head").unflatten(-1, (HEADS, -1))
    together, apart = (written(model, heads, together=t).flatten(0, -2) for t in (True, False))
    cosine = torch.nn.functional.cosine_similarity(together, apart, dim=-1)
    torch.testing.assert_close(cosine, torch.ones_like(cosine), rtol=0, atol=1e-4)


def test_logits_of_parts_add_up_to_those_of_the_model(both):
    model, oracle = both
    end = oracle.seen(RUN)[len(oracle.blocks), "resid"]
    part = torch.randn(end.shape, generator=torch.Generator().manual_seed(0))
    tokens = torch.tensor([5, 7, 90])
    got = unembedded(model, part, end, tokens) + unembedded(model, end - part, end, tokens)
    norm, head = oracle.module.get_submodule(oracle.tiny.norm), oracle.module.get_output_embeddings()
    bias = norm.bias if isinstance(norm, torch.nn.LayerNorm) else 0.0
    torch.testing.assert_close(got, ((norm(end) - bias) @ head.weight.T)[:, tokens], rtol=1e-4, atol=1e-4)


def test_alone_is_what_heads_see_of_a_text_of_one_token(both):
    model, oracle = both
    runs = [msgspec.structs.replace(run(1), tokens=(token,)) for token in (5, 9, 40)]
    streams = torch.cat([stacked(oracle, "resid", r) for r in runs]).transpose(0, 1)
    expected = torch.cat([stacked(oracle, "head", r) for r in runs])
    np.testing.assert_allclose(alone(model, streams).flatten(-2), expected, rtol=0, atol=1e-4)
