"""Where a text leaves open how answers join it, the likelier way is taken: of random models, each way now and then."""

import numpy as np
import pytest
import torch
from test_engine_tokenizers import tokenizer
from tiny import built
from transformers import GPT2Config

from lashley.core.fact import BLANK
from lashley.core.question import Question
from lashley.engine.bench import Bench
from lashley.engine.model import Model
from lashley.facts.joins import joins, told
from lashley.facts.question import resolve
from lashley.prompts.joining import settled
from lashley.prompts.pairs import aligned

WORDS = {"subject": "France", "object": "Paris", "foil_subject": "Norway", "foil_object": "Oslo"}
CHINESE = {"subject": "法国", "object": "巴黎", "foil_subject": "日本", "foil_object": "东京"}
NUMBERS = {"subject": "France", "object": "89", "foil_subject": "Norway", "foil_object": "14"}
OPEN = [
    *(
        ("The capital of {} is" + end, WORDS)
        for end in (' "', " (", " '", ": “", "-", "/", " the/", " «", "=", " ‘", ".")
    ),
    ('{"country": "{}", "capital": "', WORDS),
    ("{}的首都是", CHINESE),
    ("{}'s 首都", WORDS),
    ("{}の首都は「", CHINESE),
    ("The revolution of {} was in 17", NUMBERS),
    ("The capital of {} is", {**WORDS, "object": "“Paris”", "foil_object": "“Oslo”"}),
]
PLAIN = ["The capital of {} is", "The capital of {}:", "Capitals: {} -", "{},", "In {} (a country)", "{} = 5, {x} ="]


@pytest.fixture(scope="module")
def benches():
    found = []
    for seed in range(3):
        module = built(GPT2Config(vocab_size=400, n_embd=16, n_inner=24, n_layer=2, n_head=4, n_positions=128))
        torch.manual_seed(seed)
        module.lm_head.weight.data = 2 * torch.randn_like(module.lm_head.weight)
        found.append(Bench(Model(module, tokenizer("bytes, begun")[1].tokenizer, f"tiny {seed}", 1 << 28)))
    return found


def score(bench, text: str, answer: str) -> float:
    """Teacher-forced, by the model itself; -inf where the answer changes the tokens of the text."""
    core = tokenizer("bytes, begun")[0]
    ids, whole = ([1, *core.encode(t).ids] for t in (text, text + answer))
    if whole[: len(ids)] != ids:
        return -np.inf
    with torch.no_grad():
        logs = bench.model.module(torch.tensor([whole])).logits[0].double().log_softmax(-1)
    return sum(float(logs[i - 1, whole[i]]) for i in range(len(ids), len(whole)))


def test_where_the_text_leaves_it_open_the_likelier_join_is_taken_and_read(benches):
    taken = set()
    for bench in benches:
        for prompt, words in OPEN:
            said = [words["object"], words["foil_object"]]
            text = prompt.replace("{}", words["subject"])
            by = {j: np.logaddexp(*(score(bench, text, j + a) for a in said)) for j in ("", BLANK)}
            best = max(by, key=lambda j: by[j])
            [template] = settled(bench, resolve(Question(prompt=prompt, **words))).templates
            assert template.join == best, (prompt, by)
            odds = np.exp(abs(by[""] - by[BLANK]))
            assert bool(template.joined) == (best == "" or odds < 2), prompt
            assert ("in doubt" in told(template.joined)) == (odds < 2), prompt
            taken.add(best)
            for case, gap in zip(
                *aligned(bench, resolve(Question(prompt=prompt, **words)), need="none")[:2], strict=True
            ):
                clean, corrupt = (
                    score(bench, prompt.replace("{}", words[s]), best + said[0])
                    - score(bench, prompt.replace("{}", words[s]), best + said[1])
                    for s in ("subject", "foil_subject")
                )
                assert gap == pytest.approx(clean - corrupt, abs=1e-3) and case.template.join == best
    assert taken == {"", BLANK}, "the models are too much alike"


@pytest.mark.parametrize("prompt", PLAIN)
def test_after_plain_words_and_marks_comes_a_blank(prompt):
    assert joins(prompt, ["Paris"]) == (BLANK,)
