"""The keys of a GGUF header, each taken by whoever understands it; what nobody took is refused by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lashley.core.errors import BadModel

FOREIGN = "the model needs what is not understood here; choose another file"
TOKENIZER = {  # what a tokenizer is made from, which is checked on the tokenizer that comes out
    *("model", "pre", "tokens", "token_type", "scores", "merges"),
    *("add_bos_token", "add_eos_token", "add_space_prefix"),
}
OFF = {"add_sep_token", "remove_extra_whitespaces"}  # of tokenizers that are not read
SPECIAL = {  # tokens by role: no logit depends on them
    *("bos", "eos", "eot", "eom", "unknown", "seperator", "padding", "cls", "mask", "prefix", "suffix", "middle"),
    *("fim_pre", "fim_suf", "fim_mid", "fim_pad", "fim_rep", "fim_sep"),
}
HARMLESS = (  # where the file comes from; `general.architecture`, `type` and `alignment` are read all the same
    *("general.", "quantize.imatrix.", "tokenizer.chat_template"),
)


class Header:
    """The keys of one file, of a model of `blocks` layers. Every method takes a key of its architecture, and raises
    `BadModel` where the value is missing or of another kind."""

    def __init__(self, keys: Mapping[str, Any]):
        self.keys = keys
        self.architecture = self._text("general.architecture")
        self._taken = {f"tokenizer.ggml.{k}" for k in TOKENIZER} | {f"tokenizer.ggml.{k}_token_id" for k in SPECIAL}
        kind = keys.get("general.type", "model")
        if kind != "model":
            raise BadModel(f"it holds a {kind!r}, not a model; give the file of the model itself")
        if self._whole("split.count", keys.get("split.count", 0), least=0) > 1:
            raise BadModel("it is one of several parts; join them with llama-gguf-split --merge")
        self._taken |= {"split.no", "split.count", "split.tensors.count"}
        self._taken |= {f"tokenizer.ggml.{k}" for k in OFF if keys.get(f"tokenizer.ggml.{k}") is False}
        self.blocks = 0
        self.blocks = self.count("block_count")

    def refuse_the_rest(self) -> None:
        """Raises `BadModel` for the keys that nobody took."""
        rest = [k for k in self.keys if k not in self._taken and not k.startswith(HARMLESS)]
        if rest:
            more = f" and {len(rest) - 2} more" if len(rest) > 2 else ""
            said = ", ".join(f"{k} = {self.keys[k]!r}"[:80] for k in rest[:2])
            raise BadModel(f"its header says {said}{more}, and {FOREIGN}")

    def says(self, key: str) -> bool:
        return f"{self.architecture}.{key}" in self.keys

    def count(self, key: str, default: int | None = None, least: int = 1) -> int:
        """A whole number; of one that is given layer by layer, the one that all layers share."""
        return self._whole(key, self._take(key, default), least)

    def number(self, key: str, default: float | None = None) -> float:
        """A positive, finite number."""
        value = self._take(key, default)
        if not isinstance(value, float) or not 0 < value < math.inf:
            raise BadModel(f"its {self.architecture}.{key} is {value!r}, and not a positive number; convert it again")
        return value

    def text(self, key: str, default: str) -> str:
        value = self._take(key, default)
        if not isinstance(value, str):
            raise BadModel(f"its {self.architecture}.{key} is {value!r}, and not a word; convert it again")
        return value

    def only(self, key: str, *allowed: object) -> None:
        """Take a key that may say nothing else than `allowed`, if it is there."""
        value = self._take(key, allowed[0])
        if not any(type(value) is type(a) and value == a for a in allowed):
            raise BadModel(f"its {self.architecture}.{key} is {value!r}, where this model can only be {allowed[0]!r}; "
                           "choose another file")  # fmt: skip

    def layers(self, key: str, period: int, layers: int) -> list[bool]:
        """Which layers see a window: all but each `period`-th, or a list that says so layer by layer.

        Source: `llama_hparams::set_swa_pattern` of llama.cpp.
        """
        value = self._take(key, period)
        if isinstance(value, list) and len(value) == layers and all(isinstance(v, bool) for v in value):
            return value
        every = self._whole(key, value, least=1)
        return [i % every < every - 1 for i in range(layers)]

    def _take(self, key: str, default):
        full = f"{self.architecture}.{key}"
        self._taken.add(full)
        if (value := self.keys.get(full, default)) is None:
            raise BadModel(f"its header lacks {full}; convert the model again")
        return value

    def _text(self, key: str) -> str:
        if not isinstance(value := self.keys.get(key), str):
            raise BadModel(f"its {key} is {value!r}, and not a word; convert the model again")
        return value

    def _whole(self, key: str, value, least: int) -> int:
        if isinstance(value, list):
            if len(value) != self.blocks or any(v != value[0] for v in value):
                raise BadModel(f"its {key} differs from layer to layer, which is not supported; choose another file")
            value = value[0]
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**31:
            raise BadModel(f"its {key} is {value!r}, and not a number from {least} on; convert the model again")
        return value
