"""One file an architecture: where in a decoder layer the canonical sites are.

A family is found by its file name, which is the `model_type` of the Hugging Face config.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lashley.core.errors import UnknownFamily


@dataclass(frozen=True)
class Family:
    """Dotted module paths; those of sub-layers start at one decoder layer.

    `heads` and `neurons` name the output projections of attention and MLP: what enters them is the site. `neurons`
    is None where there is no single one.
    `attn` and `mlp` name the modules whose output is added to the residual stream: those projections, or the norms
    that their output goes through.
    `packed` says whether attention goes through transformers' `AttentionInterface`.
    `flat_mlp` says that the MLP receives [batch * tokens, width].
    `parallel` says whether attention and MLP of a layer read the same stream; a word is the configuration's flag.
    What circuits need: `attn_norm` the norm that attention reads through (None: it reads the stream itself),
    `mlp_norm` the module that the MLP reads through: the norm before it, or the MLP itself. `queries`, `keys` and
    `values` name the modules, one after another, that make them (none: circuits are refused), and are one and the same
    where `fused`: all queries, then all keys, then all values ("blocks"), or the three of each head together ("heads").
    `fused_keys` names the attribute of the attention module that says how many key heads are in the blocks.
    `needs` are flags that the configuration must have for all this to hold.
    """

    layers: str = "model.layers"
    norm: str = "model.norm"
    heads: str = "self_attn.o_proj"
    attn: str = "self_attn.o_proj"
    neurons: str | None = "mlp.down_proj"
    mlp: str = "mlp.down_proj"
    packed: bool = True
    flat_mlp: bool = False
    parallel: bool | str = False
    attn_norm: str | None = "input_layernorm"
    mlp_norm: str = "post_attention_layernorm"
    queries: tuple[str, ...] = ("self_attn.q_proj",)
    keys: tuple[str, ...] = ("self_attn.k_proj",)
    values: tuple[str, ...] = ("self_attn.v_proj",)
    fused: Literal["", "blocks", "heads"] = ""
    fused_keys: str | None = None
    needs: Mapping[str, bool] = field(default_factory=dict)


_registered: dict[str, Family] = {}


def register(model_type: str, adapter: Family) -> None:
    """Make a family known that has no file here: an architecture of one's own."""
    _registered[model_type] = adapter


def known() -> list[str]:
    """The model types that have an adapter."""
    return sorted({m.name for m in pkgutil.iter_modules(__path__)} | _registered.keys())


def family(model_type: str) -> Family:
    """The adapter of a model type (`gemma3_text` is `gemma3`). Raises `UnknownFamily`."""
    model_type = model_type.removesuffix("_text")
    if model_type not in known():
        raise UnknownFamily(
            f"{model_type!r} has no adapter (there are: {', '.join(known())}); "
            f"add src/lashley/engine/families/{model_type}.py, after llama.py"
        )
    if model_type in _registered:
        return _registered[model_type]
    return importlib.import_module(f"{__name__}.{model_type}").FAMILY
