"""Phi-3 and 3.5: Llama with fused projections; long-context checkpoints turn at another speed past a length."""

from lashley.engine.families import Family

FAMILY = Family()
