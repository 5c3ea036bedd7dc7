"""Attention patterns are those that transformers' eager attention returns, in every family."""

import msgspec
import numpy as np
import pytest
import torch
from tiny import EVERY, build, open_model, run

from lashley.core.errors import LashleyError
from lashley.core.run import EmbeddingNoise
from lashley.engine.bench import Bench

NOISY = msgspec.structs.replace(run(9, seed=1), noise=EmbeddingNoise(2.0, seed=5))
PACKED = [name for name in EVERY if "not packed" not in name]


@pytest.mark.parametrize("name", PACKED)
def test_patterns_are_those_of_eager_attention(name):
    runs = [run(6), run(9), run(1), run(6, seed=2)]
    found = Bench(open_model(name)).attend(runs)
    eager = build(name, "eager")
    for one, got in zip(runs, found, strict=True):
        with torch.no_grad():
            out = eager(torch.tensor([one.tokens]), output_attentions=True, use_cache=False)
        np.testing.assert_allclose(got, torch.cat(out.attentions), rtol=0, atol=1e-5)
        np.testing.assert_allclose(got.sum(-1), 1, rtol=0, atol=1e-5)
        assert got.dtype == np.float32


def test_noise_on_the_subject_reaches_them_from_its_first_token_on():
    bench = Bench(open_model("llama, grouped queries"))
    noisy, plain = bench.attend([NOISY, run(9, seed=1)])
    first = NOISY.subject[0]
    np.testing.assert_array_equal(noisy[:, :, :first], plain[:, :, :first])
    assert (np.abs(noisy - plain)[:, :, first:].max((1, 2, 3)) > 1e-3).all()


def test_a_family_whose_attention_cannot_be_reached_says_so():
    with pytest.raises(LashleyError, match="gptj's attention cannot be reached"):
        Bench(open_model("gptj, not packed")).attend([run(6)])
