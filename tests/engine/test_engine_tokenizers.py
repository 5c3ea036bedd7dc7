"""Odd prompts by odd tokenizers: the tokens are those that an independent reading gives, or the prompt is refused.

The reading takes the tokenizer's own core, without transformers and without special tokens, and asks of the tokens
that they say what was typed, as far as the tokenizer's kind can say it.
"""

import unicodedata
from collections.abc import Sequence
from functools import cache

import pytest
from tiny import TEXT
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from lashley.core.errors import BadPrompt
from lashley.core.fact import Template
from lashley.engine.tokens import Tokens

SPECIALS = ["<unk>", "<bos>", "<eos>", "<|turn|>"]
KINDS = {  # how the pieces are made, and what is put before and after a text
    "bytes": ((), ()),
    "bytes, begun": ((1,), ()),
    "bytes, begun and ended": ((1,), (2,)),
    "bytes, ended": ((), (2,)),
    "bytes, blanks trimmed from spans": ((1,), ()),
    "bytes, NFC": ((1,), ()),
    "bytes, NFD": ((), ()),
    "pieces with a blank before": ((1,), ()),
    "pieces of NFKC, blanks made one": ((), (2,)),
    "words in lower case": ((1,), (2,)),
}


@cache
def _core(kind: str) -> Tokenizer:
    if kind.startswith("bytes"):
        core = Tokenizer(models.BPE(unk_token="<unk>"))
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    elif kind.startswith("pieces"):
        core = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
        core.pre_tokenizer = pre_tokenizers.Metaspace()
        core.decoder = decoders.Metaspace()
        alphabet = []
    else:
        core = Tokenizer(models.WordPiece(unk_token="<unk>"))
        core.normalizer = normalizers.BertNormalizer(lowercase=True)
        core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        core.decoder = decoders.WordPiece(cleanup=False)
        alphabet = []
    form = next((f for f in ("NFC", "NFD", "NFKC") if f in kind), "")
    if form:
        core.normalizer = getattr(normalizers, form)()
    if "made one" in kind:
        core.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    trainer = {"words": trainers.WordPieceTrainer}.get(kind.split()[0], trainers.BpeTrainer)
    text = TEXT if kind.startswith("bytes") else f"{TEXT} é fi 'quoted' \"said\" 19 43\n\n"
    core.train_from_iterator(
        [text] * 3, trainer(vocab_size=400, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False)
    )
    return core


@cache
def tokenizer(kind: str) -> tuple[Tokenizer, Tokens]:
    """The core alone, and the same as transformers and the engine have it."""
    before, after = KINDS[kind]
    whole = Tokenizer.from_str(_core(kind).to_str())
    mark = " ".join([*(SPECIALS[i] for i in before), "$A", *(SPECIALS[i] for i in after)])
    around = processors.TemplateProcessing(single=mark, special_tokens=[(s, i) for i, s in enumerate(SPECIALS)])
    trimmed = processors.Sequence([processors.ByteLevel(trim_offsets=True), around])
    whole.post_processor = trimmed if "trimmed" in kind else around
    named = {"unk_token": "<unk>", "bos_token": "<bos>", "eos_token": "<eos>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=whole, additional_special_tokens=["<|turn|>"], **named)
    return _core(kind), Tokens(fast, 400)


ODD = {
    "nothing odd": "",
    "two blanks": "  ",
    "a blank": " ",
    "a line break": "\n",
    "an empty line": "\n\n",
    "a tab": "\t",
    "no-break": "\u00a0",
    "ideographic": "\u3000",
    "zero width": "\u200b",
    "byte order mark": "\ufeff",
    "combining": "e\u0301",
    "composed": "é",
    "ligature": "ﬁ",
    "control": "\x07",
    "Chinese": "北京",
    "beyond the plane": "😀",
    "quote": '"',
    "NUL": "\x00",
    "half a character": "\ud83d",
    "a byte": "\udce9",
    **{f"special {s}": s for s in SPECIALS},
}
PLACES = {  # template, subject, answer, with # where the odd text goes
    "first": ("#The capital of {} is", "France", "Paris"),
    "inside": ("The ca#pital of {} is", "France", "Paris"),
    "between": ("The capital #of {} is", "France", "Paris"),
    "beside the subject": ("The capital of #{}# is", "France", "Paris"),
    "in the subject": ("The capital of {} is", "Fran#ce", "Paris"),
    "last": ("The capital of {} is#", "France", "Paris"),
    "in the answer": ("The capital of {} is", "France", "Par#is"),
}
NEVER = {"NUL", "half a character", "a byte", *(f"special {s}" for s in SPECIALS)}


def said(kind: str, text: str) -> str:
    """What can be said of a text by tokens of a kind."""
    for form in ("NFC", "NFD", "NFKC"):
        if form in kind:
            return unicodedata.normalize(form, text)
    if kind.startswith("words"):  # bare letters, each word and mark by itself: of blanks nothing but that they are
        bare = unicodedata.normalize("NFD", text).lower()
        return "".join(c for c in bare if not unicodedata.combining(c)).replace(" ", "")
    return text


def written(kind: str, core: Tokenizer, tokens: Sequence[int]) -> str:
    """The tokens as text."""
    if kind.startswith("pieces"):
        return "".join(core.id_to_token(t) for t in tokens).replace("▁", " ")
    text = core.decode(list(tokens), skip_special_tokens=False)
    return text.replace(" ", "") if kind.startswith("words") else text


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_say_what_was_typed_or_the_prompt_is_refused(kind):
    core, tokens = tokenizer(kind)
    before = KINDS[kind][0]
    taken, only = set(), {}
    for (place, words), (name, odd) in ((p, o) for p in PLACES.items() for o in ODD.items()):
        text, subject, answer = (w.replace("#", odd) for w in words)
        where = f"{kind}: {name} {place}"
        try:
            run = tokens.ask(Template(text), subject)
            ways = tokens.answers(run, (answer, "Lima"))
        except BadPrompt as e:
            assert name != "nothing odd", (where, e)
            assert "\n" not in str(e) and str(e).isprintable(), where
            continue
        assert name not in NEVER, where
        taken.add((place, name))
        for word, own in ways.items():
            typed = f"{text.replace('{}', subject)} {word}"
            assert run.tokens + own == (*before, *core.encode(typed, add_special_tokens=False).ids), where
            back, meant = written(kind, core, (run.tokens + own)[len(before) :]), said(kind, typed)
            assert back in (meant, f" {meant}" * kind.startswith("pieces")), where
            assert only.setdefault(run.tokens + own, meant) == meant, where
        first, stop = run.subject
        left, mine, right = (
            written(kind, core, part).replace(" ", "")
            for part in (run.tokens[len(before) : first], run.tokens[first:stop], run.tokens[stop:])
        )
        assert said(kind, subject).replace(" ", "") in mine and not left.endswith(mine) and not right.startswith(mine)
        assert said(kind, text.split("{}")[0]).replace(" ", "").startswith(left), where
    assert len(taken) >= len(PLACES) * 2, f"{kind}: nearly all is refused"
    if kind == "bytes, begun":  # these lose nothing
        assert {n for _, n in taken} == ODD.keys() - NEVER
