"""Putting a model on the bench."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lashley.core.errors import BadModel, LashleyError
from lashley.engine.bench import Bench
from lashley.engine.checkpoints import EMBEDDED, load
from lashley.engine.families import family
from lashley.engine.model import Model
from lashley.engine.selftest import checked


def open_model(
    model: str | Path | PreTrainedModel = EMBEDDED,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    memory: str | int = "512MiB",
) -> Bench:
    """A model on the bench, self-tested: by name, folder, GGUF file or hub id; or a model of transformers that is open
    already, with its tokenizer. That one stays where it is and as precise as it is, and is frozen, in evaluation mode,
    with its attention reached through ours. `memory` bounds activations in flight. Raises `BadModel` or
    `UnknownFamily`."""
    if isinstance(model, str | Path):
        if tokenizer is not None:
            raise BadModel(f"{model} brings its own tokenizer; leave tokenizer out")
        return checked(load(str(model), device, dtype, size(memory)))
    kind = type(model).__name__
    if not isinstance(model, PreTrainedModel):
        raise BadModel(f"a {kind} is no model; give a name, a folder, or a PreTrainedModel with tokenizer=")
    family(model.config.model_type)
    if model.get_output_embeddings() is None:
        raise BadModel(f"{kind} unembeds nothing; give a causal language model, as AutoModelForCausalLM opens it")
    if tokenizer is None:
        raise BadModel(f"{kind} comes without its tokenizer; give it too: open_model(model, tokenizer=tokenizer)")
    if not (isinstance(tokenizer, PreTrainedTokenizerBase) and tokenizer.is_fast):
        raise BadModel("this is no fast tokenizer, which locating the subject's tokens needs; open it by AutoTokenizer")
    return checked(Model(model, tokenizer, model.name_or_path or kind, size(memory)))


def size(text: str | int) -> int:
    """Bytes from `512MiB`, `2G` or a number. Raises `LashleyError`.

    >>> size("2GiB"), size("512M"), size(4096)
    (2147483648, 536870912, 4096)
    """
    if isinstance(text, int):
        return text
    number = text.strip().lower().removesuffix("ib").removesuffix("b")
    powers = {"k": 10, "m": 20, "g": 30, "t": 40}
    try:
        found = float(number.rstrip("kmgt")) * 2 ** powers.get(number[-1:], 0)
    except ValueError:
        found = 0
    if found < 1 << 20:
        raise LashleyError(f"memory {text!r} is not a size of at least 1MiB; write it as 512MiB or 2GiB")
    return int(found)
