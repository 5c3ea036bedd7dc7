"""From a GGUF file to a model folder, each tensor used once, each parameter filled, each key of the header understood.

transformers has a reader of its own, which drops what it does not know and fills with random numbers what it does not
find; here both are refused.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from safetensors.torch import save_file

from lashley.core.errors import BadModel
from lashley.engine.gguf.architectures import ARCHITECTURES, Architecture
from lashley.engine.gguf.file import File
from lashley.engine.gguf.header import FOREIGN, Header
from lashley.engine.gguf.tokenizer import FOLDER, tokenizer
from lashley.engine.pretrained import line

READER = 3  # counts changes of what is made from one and the same file


def convert(path: Path, folder: Path) -> None:
    """Write the model in the GGUF file `path` into `folder`, in float32, with its tokenizer.

    Raises `BadModel`, without the file's name, where anything in the file is not understood.
    """
    file = File(path)
    try:
        header = Header(file.keys)
        if (known := ARCHITECTURES.get(header.architecture)) is None:
            raise BadModel(
                f"its architecture is {header.architecture!r}, and only {', '.join(ARCHITECTURES)} are read from GGUF "
                f"files; {FOLDER}"
            )
        config = _config(file, header, known)
        state = _state(file, known, config)
    finally:
        file.close()
    tokenizer(path, file.keys).save_pretrained(folder)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    plain = config.to_dict() | {"dtype": "float32"}
    if title := file.keys.get("general.name"):
        plain["_model_name_or_path"] = title  # part of what studies know their model by
    (folder / "config.json").write_text(json.dumps(plain, indent=1, sort_keys=True), encoding="utf-8")


def _config(file: File, header: Header, known: Architecture) -> transformers.PreTrainedConfig:
    layers = {name.split(".")[1] for name in file.tensors if name.startswith("blk.")}
    if layers != {str(i) for i in range(header.blocks)}:  # before as many are made
        raise BadModel(f"its header says {header.blocks} layers, and it holds {len(layers)}; fetch the file again")
    if "token_embd.weight" not in file.tensors:
        raise BadModel("it lacks the tensor token_embd.weight; fetch the file again")
    rows = file.tensors["token_embd.weight"].shape[0]
    header.only("vocab_size", rows)
    tokens = file.keys.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or len(tokens) != rows:
        many = len(tokens) if isinstance(tokens, list) else 0
        raise BadModel(f"it embeds {rows} tokens, and its tokenizer lists {many}; convert the model again")
    factors = {name: _factors(file, name) for name in known.factors if name in file.tensors}
    fields = known.config(header, factors)
    header.refuse_the_rest()
    fields |= {flag: True for flag, tensor in known.flags.items() if f"blk.0.{tensor}" in file.tensors}
    fields |= {"vocab_size": rows, "tie_word_embeddings": "output.weight" not in file.tensors}
    for role, key in {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}.items():
        number = file.keys.get(f"tokenizer.ggml.{key}_token_id")
        if number is not None:
            if not isinstance(number, int) or not 0 <= number < rows:
                raise BadModel(f"its tokenizer.ggml.{key}_token_id is {number!r}, of {rows}; convert the model again")
            fields[f"{role}_token_id"] = number
    try:
        return transformers.AutoConfig.for_model(**fields)
    except Exception as e:  # each version of transformers validates in its own words
        raise BadModel(f"its header describes no {fields['model_type']} model ({line(e)}); choose another file") from e


def _factors(file: File, name: str) -> list[float]:
    if len(file.tensors[name].shape) != 1:
        raise BadModel(f"tensor {name} has the shape {list(file.tensors[name].shape)}; fetch the file again")
    return file.read(name).tolist()


def _state(file: File, known: Architecture, config: transformers.PreTrainedConfig) -> dict[str, torch.Tensor]:
    """All parameters by name. Raises `BadModel` where one is missing, of another shape, or a tensor is left over."""
    try:
        with torch.device("meta"):
            module = transformers.AutoModelForCausalLM.from_config(config)
    except Exception as e:
        raise BadModel(f"its header describes no {config.model_type} model ({line(e)}); choose another file") from e
    tied = set(module.all_tied_weights_keys)
    shapes = {n: tuple(p.shape) for n, p in module.named_parameters(remove_duplicate=False) if n not in tied}
    wanted = {name: _sources(name, known) for name in shapes}
    left = file.tensors.keys() - set(known.factors)
    for name, sources in wanted.items():
        if missing := [s for s in sources if s not in left]:
            raise BadModel(f"it lacks the tensor {missing[0]}, for {name}; fetch the file again")
        left -= set(sources)
    if left:
        more = f" and {len(left) - 2} more" if len(left) > 2 else ""
        raise BadModel(f"it holds {', '.join(sorted(left)[:2])}{more}, and {FOREIGN}")
    for name, sources in wanted.items():
        shape = shapes[name]
        if _turned(name, known):
            shape = shape[::-1]
        if len(sources) == 2:
            shape = (shape[0], shape[1] // 2, *shape[2:])
        for source in sources:
            if (have := file.tensors[source].shape) != shape:
                raise BadModel(
                    f"tensor {source} is {list(have)}, and its header makes it {list(shape)}; convert it again"
                )
    return {name: torch.from_numpy(_made(file, name, wanted[name], known, config)) for name in shapes}


def _sources(name: str, known: Architecture) -> tuple[str, ...]:
    """The tensors that a parameter is made from."""
    table, before, rest = known.whole, "", name
    if name.startswith(f"{known.layers}."):
        number, rest = name.removeprefix(f"{known.layers}.").split(".", 1)
        table, before = known.layer, f"blk.{number}."
    if rest in table:
        return tuple(f"{before}{source}" for source in table[rest])
    stem, _, end = rest.rpartition(".")
    if stem not in table:
        raise BadModel(f"nothing says which tensor {name} is; this version of transformers is not supported")
    return tuple(f"{before}{source}.{end}" for source in table[stem])


def _turned(name: str, known: Architecture) -> bool:
    return name.endswith(tuple(f"{stem}.weight" for stem in known.turned)) if known.turned else False


def _made(
    file: File, name: str, sources: tuple[str, ...], known: Architecture, config: transformers.PreTrainedConfig
) -> NDArray[np.float32]:
    values = np.concatenate(parts, 1) if len(parts := [file.read(s) for s in sources]) > 1 else parts[0]
    stem = name.rpartition(".")[0]
    if known.shifted and stem.endswith("norm"):
        values = values - 1
    if _turned(name, known):
        values = values.T
    for projection, heads in known.permuted.items():
        if stem.endswith(projection):
            pairs = values.reshape(getattr(config, heads), -1, 2, *values.shape[1:])
            values = pairs.swapaxes(1, 2).reshape(values.shape)
    return np.ascontiguousarray(values)
