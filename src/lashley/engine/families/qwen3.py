"""Qwen3: Llama with a norm on each query and key; the heads together may be wider than the stream."""

from lashley.engine.families import Family

FAMILY = Family()
