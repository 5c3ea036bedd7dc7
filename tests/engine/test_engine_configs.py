"""Configurations as they are published are understood, and what transformers writes of them too."""

import json
from pathlib import Path

import pytest
import transformers

from lashley.core.errors import BadModel
from lashley.engine.configs import understood

PUBLISHED = json.loads((Path(__file__).parent / "published_configs.json").read_text())


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_configuration_is_understood_and_one_word_more_is_not(name):
    said = PUBLISHED[name]
    config = transformers.AutoConfig.for_model(**said)
    understood(said, config)
    understood(json.loads(config.to_json_string()), config)
    for word in ("residual_multiplier", "logit_scale", "attention_sink_size"):
        with pytest.raises(BadModel, match=f"says {word} = 0.5, which .* models do not have"):
            understood(said | {word: 0.5}, config)


@pytest.mark.parametrize("key", ["short_factor", "long_factor"])
@pytest.mark.parametrize("found", [[2.0], [2.0] * 3, [], [2.0, 0.0], [2.0, -1.0], [2.0, float("inf")], 2.0, ["2"] * 2])
@pytest.mark.parametrize("field", ["rope_parameters", "rope_scaling"])
def test_factors_of_longrope_are_positive_and_one_a_pair(key, found, field):
    """transformers checks that of few models, and of others one factor would do for all."""
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "factor": 2.0, "original_max_position_embeddings": 8}
    config = transformers.LlamaConfig(hidden_size=16, num_attention_heads=4, num_key_value_heads=4)
    right = rope | {"short_factor": [1.0, 1.5], "long_factor": [3.0, 5.0]}
    understood({field: right}, config)
    with pytest.raises(BadModel, match=f"says {key} "):
        understood({field: right | {key: found}}, config)
