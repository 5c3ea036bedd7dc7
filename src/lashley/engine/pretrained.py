"""A model folder, or one of the hub, as a module and its tokenizer: every tensor used, every parameter filled."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open

from lashley.core.errors import BadModel
from lashley.engine.configs import understood
from lashley.engine.families import family

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "sentencepiece.bpe.model")
FLOATS = ("F64", "F32", "F16", "BF16")
MASKS = (".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias", "position_ids")  # old buffers
AGAIN = "fetch it again"
# Models with a text part of a family known here: where its weights are, in each layout that was released, and what is
# not of it.
TEXT = {
    "gemma3": {r"^(model\.)?language_model\.(model\.)?(?!lm_head)": "model.", r"^language_model\.lm_head": "lm_head"}
}
IMAGE = ("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector.")


def folder(path: Path, dtype: torch.dtype, placed: Mapping[str, Any]):
    """The model in the folder `path` and its tokenizer. Raises `BadModel` or `UnknownFamily`, without its name."""
    if not (path / "config.json").is_file():
        raise BadModel("it is no model folder, having no config.json; give the folder of a model")
    try:
        said = json.loads((path / "config.json").read_text(encoding="utf-8"))
        model_type = str(said.get("model_type", ""))
    except (ValueError, AttributeError) as e:
        raise BadModel(f"its config.json is not a JSON object; {AGAIN}") from e
    family(model_type)
    if (path / "adapter_config.json").is_file():
        raise BadModel("it holds an adapter; merge it into the model, and give the folder of both")
    if not any((path / name).is_file() for name in TOKENIZERS):
        raise BadModel(f"it has no tokenizer ({TOKENIZERS[0]}); complete the folder")
    return read(str(path), dtype, placed, _whole(path), local_files_only=True)


def read(source: str, dtype: torch.dtype, placed: Mapping[str, Any], held: Mapping[str, int] | None = None, **where):
    """What `source`, a folder or a hub id, holds; of a folder, `held` are the weights, and of how many numbers each.
    Raises `BadModel`, without its name."""
    said, _ = transformers.PreTrainedConfig.get_config_dict(source, **where)
    family(str(said.get("model_type", "")))
    options = dict(placed)
    try:
        config = transformers.AutoConfig.from_pretrained(source, trust_remote_code=False, **where)
        if said["model_type"] in TEXT and isinstance(said.get("text_config"), dict):
            options["key_mapping"] = TEXT[said["model_type"]]
            said, config = said["text_config"], config.text_config
    except Exception as e:  # each version of transformers checks in its own words
        raise BadModel(f"its config.json does not describe a {said['model_type']} model ({line(e)}); {AGAIN}") from e
    understood(said, config)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, trust_remote_code=False, **where)
        if not tokenizer.is_fast or not tokenizer("a", add_special_tokens=False)["input_ids"]:
            raise BadModel(
                "it has no fast tokenizer (tokenizer.json), which locating the subject's tokens needs; add it"
            )
    except BadModel:
        raise
    except Exception as e:
        raise BadModel(f"its tokenizer cannot be read ({line(e)}); {AGAIN}") from e
    try:
        if held is not None:
            _no_larger(config, held)
        module, report = transformers.AutoModelForCausalLM.from_pretrained(  # pyright: ignore[reportGeneralTypeIssues]
            source,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # and refused below, with both shapes
            **options,
            **where,
        )
    except BadModel:
        raise
    except Exception as e:  # a damaged folder can raise anything
        raise BadModel(f"it cannot be read ({line(e)}); its weights or configuration are damaged, {AGAIN}") from e
    _account(report, options)
    first, last = module.get_input_embeddings().weight, module.get_output_embeddings().weight
    if config.tie_word_embeddings and first is not last and not torch.equal(first, last):
        raise BadModel(f"its config.json ties embedding and unembedding, and its weights for them differ; {AGAIN}")
    return module, tokenizer


def _no_larger(config: transformers.PreTrainedConfig, held: Mapping[str, int]) -> None:
    """Raises `BadModel` for a configuration of far more than the folder holds, before memory is taken for it."""
    if config.num_hidden_layers > len(held):
        raise BadModel(
            f"its config.json says {config.num_hidden_layers} layers, and it holds {len(held)} weights; {AGAIN}"
        )
    with torch.device("meta"):
        module = transformers.AutoModelForCausalLM.from_config(config)
    want, have = sum(p.numel() for p in module.parameters()), sum(held.values())
    if want > 4 * have + 10**7:
        raise BadModel(f"its config.json makes a model of {want:,} numbers, and it holds {have:,}; {AGAIN}")


def _account(report: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Raises `BadModel` for parameters that nothing filled, of another shape, and for tensors that nothing used."""
    for name, have, want in sorted(report["mismatched_keys"]):
        raise BadModel(f"its weight {name} is {list(have)}, and its config.json makes it {list(want)}; {AGAIN}")
    if missing := sorted(report["missing_keys"]):
        raise BadModel(f"it lacks the weights {', '.join(missing[:3])}; they would be random, so {AGAIN}")
    left = sorted(report["unexpected_keys"])
    if "key_mapping" in options:
        left = [name for name in left if not name.startswith(IMAGE)]
    if left:
        raise BadModel(f"its weights {', '.join(left[:3])} are used by nothing in such a model; choose another model")


def _whole(path: Path) -> dict[str, int]:
    """The weights of a folder, and of how many numbers each is. Raises `BadModel` where a file is missing or damaged,
    or the files and their index differ."""
    if (path / WHOLE).is_file():
        if (path / INDEX).is_file():
            raise BadModel(f"it holds both {WHOLE} and {INDEX}; take out the one that is not meant")
        return _held(path / WHOLE)
    if not (path / INDEX).is_file():
        if any(p.suffix in PICKLES for p in path.iterdir()):
            raise BadModel("it holds pickled weights only, which can run any code; convert them to safetensors")
        raise BadModel(f"it holds neither {WHOLE} nor {INDEX}, so no *.safetensors weights; complete the folder")
    try:
        index = dict(json.loads((path / INDEX).read_text(encoding="utf-8"))["weight_map"])
        files = sorted({str(file) for file in index.values()})
    except (ValueError, KeyError, TypeError) as e:
        raise BadModel(f"its {INDEX} does not say which weight is in which file; {AGAIN}") from e
    held: dict[str, str] = {}
    sizes: dict[str, int] = {}
    for file in files:
        if not (path / file).is_file() or Path(file).name != file:
            raise BadModel(f"its index names {file}, which is not there; complete the folder")
        for name, size in _held(path / file).items():
            if name in held:
                raise BadModel(f"its weight {name} is in both {held[name]} and {file}; {AGAIN}")
            held[name], sizes[name] = file, size
    if more := sorted({p.name for p in path.glob("model-*-of-*.safetensors")} - set(files)):
        raise BadModel(f"its index does not name {more[0]}; {AGAIN}")
    for name in sorted(index.keys() ^ held.keys()):
        has, lacks = (INDEX, "the files") if name in index else (held[name], INDEX)
        raise BadModel(f"its weight {name} is in {has}, and not in {lacks}; {AGAIN}")
    return sizes


def _held(file: Path) -> dict[str, int]:
    """The tensors of one file. Raises `BadModel` where it is damaged, or holds other than floating-point weights."""
    try:
        with safe_open(file, "pt") as opened:
            parts = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
            kinds = {name: part.get_dtype() for name, part in parts.items()}
            sizes = {name: math.prod(part.get_shape()) for name, part in parts.items()}
    except (SafetensorError, OSError) as e:
        raise BadModel(f"its {file.name} is damaged ({line(e)}); {AGAIN}") from e
    for name, kind in kinds.items():
        if kind not in FLOATS and not name.endswith(MASKS):
            raise BadModel(
                f"its weight {name} is stored as {kind}, which is not read; give the model before quantisation"
            )
    return sizes


def line(e: Exception) -> str:
    """What a library said, in one line."""
    said = " ".join(str(e).split())[:160]
    return said if type(e) in (OSError, ValueError, SafetensorError) and said else f"{type(e).__name__}: {said}"
