"""The tiny models: one at least for every family, tiny, and with weights large enough to show mistakes."""

import pytest
import torch
from tiny import CONTEXT, EVERY, VOCABULARY, WIDTH, build, run

from lashley.core.site import KINDS, Site
from lashley.engine.bench import Bench
from lashley.engine.families import known


@pytest.fixture(params=EVERY)
def name(request) -> str:
    return request.param


@pytest.mark.parametrize("family", known())
def test_every_family_has_a_tiny_model(family):
    assert family in {t.family for t in EVERY.values()}, (
        f"add a tiny model of {family!r} to MORE in tests/engine/tiny.py"
    )


def test_tiny_is_tiny_and_loud(name):
    module = build(name)
    weights = torch.cat([p.flatten() for p in module.parameters()])
    assert len(weights) < 20_000
    assert weights.min() < -0.99 and weights.max() > 0.99 and 0.5 < weights.std() < 0.65
    assert all(p.abs().max() > 0.5 for p in module.parameters())


def test_anatomy_is_that_of_the_configuration(model, oracle):
    a = model.anatomy
    assert (a.layers, a.width, a.vocabulary, a.context) == (len(oracle.blocks), WIDTH, VOCABULARY, CONTEXT)
    seen = oracle.seen(run(5))
    assert a.heads * a.head_width == seen[0, "head"].shape[1]
    assert a.neurons == (seen[0, "neuron"].shape[1] if (0, "neuron") in seen else 0)
    assert set(a.kinds) == {kind for _, kind in seen}


@pytest.mark.parametrize("name", [n for n in EVERY if "window" in n])
def test_windows_are_smaller_than_the_prompts_and_mixed(name):
    config = EVERY[name].config
    assert config.sliding_window < 6
    assert config.model_type in ("mistral", "phi3") or set(config.layer_types) == {
        "sliding_attention",
        "full_attention",
    }


@torch.no_grad()
def test_a_pass_without_a_mask_is_one_with_a_mask_of_ones(model):
    """OPT, for one, takes positions from the mask."""
    ids = torch.tensor([run(9).tokens])
    masked = model.module(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    torch.testing.assert_close(model.module(input_ids=ids).logits, masked, rtol=0, atol=1e-4)


def test_sublayers_add_up_to_the_residual_stream(model):
    """`attn` and `mlp` are what is added: entering a layer + attn + mlp = entering the next."""
    last = model.anatomy.layers
    sites = [Site(la, k) for la in range(last) for k in KINDS[:3]]
    at = Bench(model).read([run(7)], [*sites, Site(last, "resid")])
    for la in range(last):
        grown = sum(at[Site(la, k)] for k in ("resid", "attn", "mlp"))
        torch.testing.assert_close(torch.tensor(grown), torch.tensor(at[Site(la + 1, "resid")]), rtol=0, atol=1e-4)
