"""Qwen2 and 2.5: Llama with biases on queries, keys and values; some layers may see a sliding window."""

from lashley.engine.families import Family

FAMILY = Family()
