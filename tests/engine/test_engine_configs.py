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
