"""The tokenizer of the embedded model: byte-level BPE, with `<bos>` before every text."""

from __future__ import annotations

import itertools
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from lashley.core.fact import Relation
from lashley.facts.corpus import documents, facts

SPECIAL = ("<pad>", "<unk>", "<bos>", "<eos>")
PAD, UNK, BOS, EOS = range(4)  # their tokens
VOCABULARY = 4400
# As in GPT-2, but without English contractions: N'Djamena is no "not".
WORDS = Regex(r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
SHORT = 3  # characters: objects up to this length are tokens of their own


def whole_words(relations: dict[str, Relation]) -> list[str]:
    """Names that must be one token a word, so that no candidate begins with all the tokens of another.

    These are the short ones (chemical symbols, numbers) and those that begin another name of their
    relation (Niger, Nigeria), together with the longer name.
    """
    whole = {}
    for relation, language in itertools.product(relations.values(), ("en", "es")):
        names = relation.candidates(language)
        for name in names:
            longer = [n for n in names if n != name and n.startswith(name)]
            for n in [name, *longer] if longer or len(name) <= SHORT else []:
                whole[" " + n] = None
    return list(whole)


def train(relations: dict[str, Relation], size: int = VOCABULARY, seed: int = 0) -> PreTrainedTokenizerFast:
    """A tokenizer of `size` tokens, trained on the names of the fact base and on a sample of the corpus."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(WORDS, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    sample = ["".join(map(str, d)) for d in itertools.islice(documents(relations, seed), 20000)]
    sentences = [str(s) for trained in (True, False) for s in facts(relations, trained)]
    tokenizer.train_from_iterator(sample + sentences + whole_words(relations) * 10000, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", BOS)]
    )
    return wrap(tokenizer)


def wrap(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """The same tokenizer in the clothes that `transformers` expects."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=256,
        clean_up_tokenization_spaces=False,
    )


def load(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer that `train` saved in `folder`."""
    return PreTrainedTokenizerFast.from_pretrained(folder)


def ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """The tokens of a piece of text, without `<bos>`."""
    return tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids


def prefixes(tokenizer: PreTrainedTokenizerFast, relation: Relation, language: str) -> list[tuple[str, str]]:
    """Pairs (a, b) of candidates where all the tokens of ` a` are the first tokens of ` b`."""
    tokens = {name: tuple(ids(tokenizer, " " + name)) for name in relation.candidates(language)}
    return [
        (a, b)
        for a, b in itertools.permutations(tokens, 2)
        if len(tokens[a]) <= len(tokens[b]) and tokens[b][: len(tokens[a])] == tokens[a]
    ]
