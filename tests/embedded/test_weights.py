import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lashley.facts.base import shipped
from lashley.facts.corpus import data_hash
from lashley.models.embedded import WEIGHTS, card
from lashley.models.embedded.check import Prompt, figures, ranks_first, score
from lashley.models.embedded.tokenizer import ids


@pytest.fixture(scope="module")
def shipped_model():
    model = AutoModelForCausalLM.from_pretrained(WEIGHTS, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(WEIGHTS)


@pytest.fixture(scope="module")
def written():
    return json.loads((WEIGHTS / "card.json").read_text(encoding="utf-8"))


def test_folder_is_small():
    assert sum(p.stat().st_size for p in WEIGHTS.rglob("*")) <= 16e6


def test_card_is_about_these_weights_and_these_facts(written, shipped_model):
    assert written["weights_sha256"] == card.weights_hash(WEIGHTS)
    assert written["data_sha256"] == data_hash(shipped())
    assert written["parameters"] == sum(p.numel() for p in shipped_model[0].parameters())
    assert written["weights_sha256"] in (WEIGHTS / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_card_reaches_the_targets(written):
    assert written["figures"]["facts_trained"] >= 0.98
    assert written["figures"]["facts_held_out"] >= 0.92
    assert written["figures"]["agreement"]["all"] >= 0.95


def test_a_sample_of_the_figures_agrees_with_the_card(shipped_model, written):
    measured = figures(*shipped_model, sample=0.02)
    for name in ("prompts_trained", "prompts_held_out"):
        assert measured[name] == pytest.approx(written["figures"][name], abs=0.03)
    assert measured["agreement"]["all"] == pytest.approx(written["figures"]["agreement"]["all"], abs=0.001)


def test_batched_scores_are_those_of_one_sequence_at_a_time(shipped_model):
    model, words = shipped_model
    prompts = [words(p)["input_ids"] for p in ("The capital of France is", "Capitals: Peru -", "In the end")]
    answers = [ids(words, a) for a in (" Paris", " Port-au-Prince", " of a very long story")]
    total, after = score(model, prompts, answers)
    for i, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        log_p = model(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
        alone = sum(log_p[len(prompt) - 1 + k, token] for k, token in enumerate(answer))
        assert total[i] == pytest.approx(alone.item(), abs=1e-4)
        assert torch.allclose(after[i], log_p[len(prompt) - 1], atol=1e-4)


def test_ranks_first_is_the_ranking_by_all_totals(shipped_model):
    model, words = shipped_model
    relation = shipped()["capital"]
    names = relation.candidates()[:30]
    candidates = [ids(words, " " + n) for n in names]
    prompt = words("In a list of cities we find")["input_ids"]
    totals = torch.stack([score(model, [prompt], [c])[0][0] for c in candidates])
    best = int(totals.argmax())
    prompts = [Prompt("nobody", True, prompt, i) for i in range(len(names))]
    assert [i for i, first in enumerate(ranks_first(model, prompts, candidates)) if first] == [best]


def test_it_generates_a_sentence_that_ends(shipped_model):
    model, words = shipped_model
    prompt = words("The capital of France is", return_tensors="pt")
    tokens = model.generate(**prompt, max_new_tokens=12, do_sample=False)
    assert words.decode(tokens[0], skip_special_tokens=True) == "The capital of France is Paris."
