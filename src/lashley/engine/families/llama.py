"""Llama: pre-norm, gated MLP; every default of `Family` describes it."""

from lashley.engine.families import Family

FAMILY = Family()
