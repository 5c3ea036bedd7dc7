"""The tokenizer in a GGUF file. Byte-level ones are put together here; of those of pieces, transformers' is checked.

What `tokenizer.ggml.pre` stands for is in src/llama-vocab.cpp of llama.cpp; the patterns are those of the published
tokenizer.json of the models that it names. transformers knows some of them, from some version on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors

from lashley.core.errors import BadModel
from lashley.engine.pretrained import line

FOLDER = "give the folder that it was converted from"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CASES = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+", rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*")
REST = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
GPT4O = "|".join([*(c + SHORT for c in CASES), r"\p{N}{1,3}", REST])
TEKKEN = "|".join([*CASES, r"\p{N}", REST])
SPLITS = {
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "smaug-bpe", "dbrx"), LLAMA3),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen"), QWEN2),
    "gpt-4o": GPT4O,
    "tekken": TEKKEN,
}
PLAIN = ("gpt-2", "phi-2", "mpt", "olmo")  # GPT-2's own
DIGITS = ("smollm",)  # the same, of single digits
WHOLE = ("llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "tekken")  # words that are tokens are not merged
BEGINS = WHOLE  # begin a text with their token for it, where the file does not say otherwise
CONTROL, USERS_OWN = 3, 4
ROLES = {
    "bos": "bos_token_id",
    "eos": "eos_token_id",
    "unk": "unknown_token_id",
    "pad": "padding_token_id",
}


def tokenizer(path: Path, keys: Mapping[str, Any]):
    """Of the file `path` with these keys. Raises `BadModel` where they are not understood or it does otherwise."""
    said = {k.removeprefix("tokenizer.ggml."): v for k, v in keys.items() if k.startswith("tokenizer.ggml.")}
    kind, pre = said.get("model"), said.get("pre", "default")
    if kind not in ("gpt2", "llama"):
        raise BadModel(f"its tokenizer.ggml.model is {kind!r}, and gpt2 and llama are read; {FOLDER}")
    begins = said.get("add_bos_token", kind == "llama" or pre in BEGINS)
    ends = said.get("add_eos_token", False)
    try:
        if kind == "gpt2":
            made = _of_bytes(said, pre, begins, ends)
            made.chat_template = keys.get("tokenizer.chat_template")
        else:
            made = transformers.AutoTokenizer.from_pretrained(
                str(path.parent), gguf_file=path.name, trust_remote_code=False
            )
        ids = made("a")["input_ids"]
    except BadModel:
        raise
    except Exception as e:  # whatever an unknown tokenizer raises
        raise BadModel(f"its tokenizer cannot be converted ({line(e)}); {FOLDER}") from e
    if (begins, ends) != (made.bos_token_id in ids[:1], made.eos_token_id in ids[-1:]):
        what = f"a text begins with its bos token: {begins}, ends with its eos token: {ends}"
        raise BadModel(f"of its tokenizer {what}, and not of the one that is made from it; {FOLDER}")
    if kind == "llama":
        blank = made.convert_ids_to_tokens(made("a", add_special_tokens=False)["input_ids"])[0].startswith("▁")
        if blank != said.get("add_space_prefix", True):
            what = f"a blank is put before a text: {not blank}"
            raise BadModel(f"of its tokenizer {what}, and not of the one that is made from it; {FOLDER}")
    return made


def _of_bytes(said: Mapping[str, Any], pre: str, begins: bool, ends: bool) -> transformers.PreTrainedTokenizerFast:
    """Byte-level BPE. Tokens of control and of the user's own are found whole in any text."""
    tokens, kinds = said["tokens"], said.get("token_type", [])
    if len(set(tokens)) < len(tokens) or len(kinds) not in (0, len(tokens)):
        raise BadModel(f"its tokenizer lists a token twice, or not as many kinds as tokens; {FOLDER}")
    merges = [tuple(merge.split(" ", 1)) for merge in said["merges"]]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    made = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=pre in WHOLE))
    made.pre_tokenizer = _splitting(pre)
    made.decoder = decoders.ByteLevel()
    for token, kind in zip(tokens, kinds, strict=False):
        if kind == CONTROL:
            made.add_special_tokens([AddedToken(token, normalized=False, special=True)])
        elif kind == USERS_OWN:
            made.add_tokens([AddedToken(token, normalized=False)])
    named = {f"{role}_token": tokens[said[key]] for role, key in ROLES.items() if key in said}
    adds = [named["bos_token"]] * begins, [named["eos_token"]] * ends
    made.post_processor = processors.TemplateProcessing(
        single=" ".join([*adds[0], "$A", *adds[1]]),
        special_tokens=[(token, vocabulary[token]) for token in {*adds[0], *adds[1]}],
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, **named)


def _splitting(pre: str):
    """How byte-level text is cut before it is merged."""
    if pre in PLAIN:
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    if pre in DIGITS:
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    if pre not in SPLITS:
        raise BadModel(f"its tokenizer.ggml.pre is {pre!r}, and how that splits text is not known; {FOLDER}")
    split = pre_tokenizers.Split(Regex(SPLITS[pre]), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
