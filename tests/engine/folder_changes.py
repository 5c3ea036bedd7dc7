"""Model folders with one key of the configuration or one weight changed, dropped or added, each beside the model that
it then stands for: what transformers makes of that configuration, with the weights that were saved.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny import EVERY, build, run, tokenizer

IDS = torch.tensor([run(9).tokens])
LARGE = {  # what takes memory or time by its size alone
    *("num_hidden_layers", "n_layer", "hidden_size", "n_embd", "intermediate_size", "n_inner", "ffn_dim", "vocab_size"),
}
Change = tuple[str, Callable[[Path], None], dict[str, Any] | None]  # what, done to a folder, its configuration after
ADDED = {
    "final_logit_softcapping": 3.0,
    "attn_logit_softcapping": 3.0,
    "residual_multiplier": 0.3,
    "logits_scaling": 8.0,
    "query_pre_attn_scalar": 3,
    "no_rope_layers": [1, 0],
    "mlp_only_layers": [0],
    "partial_rotary_factor": 0.5,
    "rope_scaling": {"type": "spiral", "factor": 2.0},
    "quantization_config": {"quant_method": "gptq", "bits": 4},
    "quantization": {"group_size": 64, "bits": 4},
    "num_nextn_predict_layers": 1,
    "is_encoder_decoder": True,
    "alibi": True,
    "clip_qkv": 2.0,
}
IGNORED = {  # of which no logit depends in any of these models
    *(
        "architectures",
        "dtype",
        "transformers_version",
        "use_cache",
        "initializer_range",
        "init_std",
        "bos_token_id",
        "eos_token_id",
    ),
    *("pad_token_id", "attention_dropout", "attn_pdrop", "embd_pdrop", "resid_pdrop", "hidden_dropout", "dropout"),
}


def base(name: str, folder: Path) -> dict[str, Any]:
    """The folder of a tiny model, and its configuration."""
    build(name).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    if name == "opt":  # the tiny one says a word more than it has
        _said({"intermediate_size": ...})(folder)
    return json.loads((folder / "config.json").read_text())


@torch.no_grad()
def truth(name: str, config: dict[str, Any] | None) -> torch.Tensor | None:
    """The logits on `IDS` of the configuration with the weights of the tiny model, or None where that is no model."""
    if config is None:
        return None
    try:
        made = transformers.AutoConfig.for_model(**config)
        module = transformers.AutoModelForCausalLM.from_config(made, attn_implementation="eager")
        module.load_state_dict(build(name).state_dict())
        return module.float().eval()(IDS).logits
    except Exception:  # whatever a configuration of no model raises
        return None


def _said(change: dict[str, Any]) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        path = folder / "config.json"
        said = json.loads(path.read_text()) | change
        path.write_text(json.dumps({k: v for k, v in said.items() if v is not ...}))

    return do


def _weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        path = folder / "model.safetensors"
        held = load_file(path)
        change(held)
        save_file(held, path, metadata={"format": "pt"})

    return do


def _others(value: Any) -> Iterator[Any]:
    """Other values of the same kind, and one of another."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value * 2, 0, -1)
    elif isinstance(value, float):
        yield from (value * 3 + 0.1, -1.0)
    elif isinstance(value, str):
        yield "nonsense"
    elif isinstance(value, list):
        yield from (value[::-1], value[:-1], ["nonsense"] * len(value))
    elif value is None:
        yield 3
    yield {"a": 1}


def changed(name: str, folder: Path) -> list[Change]:
    """Every change of the tiny model `name`, which lies in `folder`."""
    config = json.loads((folder / "config.json").read_text())
    found: list[Change] = []
    for key, value in config.items():
        if key == "model_type" or key in IGNORED:
            continue
        found.append((f"without {key}", _said({key: ...}), {k: v for k, v in config.items() if k != key}))
        found += [(f"{key} = {v!r}", _said({key: v}), config | {key: v}) for v in _others(value)]
    sizes = [k for k, v in config.items() if isinstance(v, int) and not isinstance(v, bool) and v > 3]
    found += [(f"{k} = 2^40", _said({k: 2**40}), None) for k in sizes if k in LARGE]
    found += [(f"and {k} = {v!r}", _said({k: v}), None) for k, v in ADDED.items() if k not in config]
    for key, value in load_file(folder / "model.safetensors").items():
        found.append((f"without {key}", _weights(lambda held, key=key: held.pop(key)), None))
        found.append((f"{key} renamed", _weights(lambda held, key=key: held.update({f"{key}x": held.pop(key)})), None))
        longer = torch.cat([value, value[:1]])
        found.append((f"{key} a row more", _weights(lambda held, key=key, v=longer: held.update({key: v})), None))
        whole = value.to(torch.int32)
        found.append((f"{key} in whole numbers", _weights(lambda held, key=key, v=whole: held.update({key: v})), None))
    for key in ("model.layers.0.self_attn.sinks", "extra.weight", "score.weight"):
        found.append((f"and {key}", _weights(lambda held, key=key: held.update({key: torch.ones(4)})), None))
    return found


def sample(many: int, seed: int, folders: dict[str, Path]) -> list[tuple[str, Change]]:
    """`many` changes, as even over the folders as they go, half of them of the configuration."""
    drawn, draw = [], np.random.default_rng(seed)
    for turn, (name, folder) in enumerate(folders.items()):
        share = many // len(folders) + (turn < many % len(folders))
        ways = changed(name, folder)
        shuffled = [ways[i] for i in draw.permutation(len(ways))]
        said = [way for way in shuffled if way[2] is not None][: share // 2]
        rest = [way for way in shuffled if way[2] is None][: share - len(said)]
        drawn += [(name, way) for way in (*said, *rest)]
    return drawn


NAMES = tuple(name for name in EVERY if "past 6 tokens" not in name)
