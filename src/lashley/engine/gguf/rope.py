"""How positions turn queries and keys: from a GGUF header and its factor tensors to transformers' `rope_parameters`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lashley.core.errors import BadModel
from lashley.engine.gguf.header import FOREIGN, Header

FREQUENCIES, SHORT, LONG = "rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight"
ORIGINAL, FACTOR = "rope.scaling.original_context_length", "rope.scaling.factor"


def rope(
    header: Header, factors: Mapping[str, Sequence[float]], context: int, base: float, turned: int
) -> dict[str, Any]:
    """Of all layers (of those that see everything, where others see a window), which turn `turned` numbers of a head.

    `factors` are the numbers of whichever factor tensors the file holds: what each frequency is divided by. Those of
    Llama 3.1 and later do not depend on the length, and are given as both factors of LongRoPE, which are exact.
    """
    for name, numbers in factors.items():  # one alone would do for all of them
        if 2 * len(numbers) != turned:
            raise BadModel(f"tensor {name} is [{len(numbers)}], and {turned // 2} pairs turn; convert it again")
    header.only("rope.scaling.finetuned", False, True)  # whether it was trained so: the same numbers either way
    kind, theta = header.text("rope.scaling.type", "none"), {"rope_theta": base}
    if SHORT in factors or LONG in factors:
        return theta | _longrope(header, factors, kind, context)
    if kind == "longrope":
        raise BadModel(f"its rope.scaling.type is longrope, and it lacks {SHORT} and {LONG}; convert the model again")
    if FREQUENCIES in factors and kind == "none":
        same = list(factors[FREQUENCIES])
        header.only(FACTOR, 1.0)
        return theta | _long(same, same, context, 1.0)
    if FREQUENCIES in factors:
        raise BadModel(f"it has both rope.scaling.type {kind!r} and {FREQUENCIES}, and {FOREIGN}")
    if kind == "none":
        header.only(FACTOR, 1.0)
        return theta | {"rope_type": "default"}
    if kind == "linear":
        return theta | {"rope_type": "linear", "factor": header.number(FACTOR)}
    if kind == "yarn":
        header.only("rope.scaling.yarn_ext_factor", 1.0)
        original = header.count(ORIGINAL)
        ends = {"beta_fast": header.number("rope.scaling.yarn_beta_fast", 32.0)}
        ends |= {"beta_slow": header.number("rope.scaling.yarn_beta_slow", 1.0)}
        yarn = {"rope_type": "yarn", "factor": header.number(FACTOR), "original_max_position_embeddings": original}
        return theta | yarn | ends
    raise BadModel(f"its rope.scaling.type is {kind!r}, and {FOREIGN}")


def _longrope(header: Header, factors: Mapping[str, Sequence[float]], kind: str, context: int) -> dict[str, Any]:
    """Phi-3's: other factors past the original length, and attention scaled throughout, as its converter works out."""
    if kind not in ("none", "longrope") or not {SHORT, LONG} <= factors.keys() or FREQUENCIES in factors:
        raise BadModel(f"of rope.scaling.type {kind!r} it holds {', '.join(factors)}, and {FOREIGN}")
    original = header.count(ORIGINAL)
    scale = context / original
    scaled = math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 and original > 1 else 1.0
    attention = header.number("rope.scaling.attn_factor", scaled)
    return _long(list(factors[SHORT]), list(factors[LONG]), original, attention)


def _long(short: list[float], long: list[float], original: int, attention: float) -> dict[str, Any]:
    if not all(0 < f < math.inf for f in short + long):
        raise BadModel("its rope factors are not all positive numbers; fetch the file again")
    return {
        "rope_type": "longrope",
        "short_factor": short,
        "long_factor": long,
        "original_max_position_embeddings": original,
        "attention_factor": attention,
    }
