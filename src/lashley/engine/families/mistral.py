"""Mistral: Llama with a sliding window over every layer's keys."""

from lashley.engine.families import Family

FAMILY = Family()
