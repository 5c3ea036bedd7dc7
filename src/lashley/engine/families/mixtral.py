"""Mixtral: Mistral with a mixture of experts for an MLP; routing is per token, so packing is exact.

The experts' output projections are one fused tensor, and each sees only the tokens routed to it: no neuron sites.
"""

from lashley.engine.families import Family

FAMILY = Family(neurons=None, mlp="mlp")
