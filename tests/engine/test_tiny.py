"""The tiny models: one at least for every family, tiny, and with weights large enough to show mistakes."""

import pytest
import torch
from tiny import CONTEXT, TINY, VOCABULARY, WIDTH, build, run

from lashley.core.site import KINDS, Site
from lashley.engine.bench import Bench
from lashley.engine.families import known


@pytest.mark.parametrize("family", known())
def test_every_family_has_a_tiny_model(family):
    assert family in {t.family for t in TINY.values()}, (
        f"add a tiny model of {family!r} to TINY in tests/engine/tiny.py"
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
    assert a.neurons == seen[0, "neuron"].shape[1]


def test_windows_are_smaller_than_the_prompts_and_mixed():
    config = TINY["gemma3, window and soft cap"].config
    assert config.sliding_window < 6
    assert set(config.layer_types) == {"sliding_attention", "full_attention"}


def test_sublayers_add_up_to_the_residual_stream(model):
    """`attn` and `mlp` are what is added: entering a layer + attn + mlp = entering the next."""
    last = model.anatomy.layers
    sites = [Site(la, k) for la in range(last) for k in KINDS[:3]]
    at = Bench(model).read([run(7)], [*sites, Site(last, "resid")])
    for la in range(last):
        grown = sum(at[Site(la, k)] for k in ("resid", "attn", "mlp"))
        torch.testing.assert_close(torch.tensor(grown), torch.tensor(at[Site(la + 1, "resid")]), rtol=0, atol=1e-4)
