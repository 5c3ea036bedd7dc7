"""How an answer continues a prompt: by one blank or none, whichever the model finds likelier where the text is open."""

import pytest
import torch

import lashley
from lashley.core.errors import BadFact, BadPrompt, LashleyError
from lashley.core.question import Question
from lashley.facts.joins import ONLY
from lashley.facts.question import resolve
from lashley.prompts.joining import settled

FACT = {"subject": "France", "object": "Paris", "foil_subject": "Japan", "foil_object": "Tokyo"}


def score(bench, text: str, answer: str) -> float:
    """Teacher-forced, by the model itself."""
    tokenizer = bench.tokens.tokenizer
    ids, whole = (tokenizer(t)["input_ids"] for t in (text, text + answer))
    assert whole[: len(ids)] == ids
    with torch.no_grad():
        logs = bench.model.module(torch.tensor([whole])).logits[0].double().log_softmax(-1)
    return sum(float(logs[i - 1, whole[i]]) for i in range(len(ids), len(whole)))


@pytest.mark.parametrize(
    "prompt, text, join",
    [
        ("The capital of {} is", "The capital of France is", " "),
        ("The capital of {} is ", "The capital of France is", " "),
        ("The capital of {} is  ", "The capital of France is", "  "),
        ('The capital of {} is " ', 'The capital of France is "', " "),
        ("The capital of {} is\n", "The capital of France is\n", ""),
        ("\nThe capital of {} is", "\nThe capital of France is", " "),
        ("The  capital of {} is", "The  capital of France is", " "),
    ],
)
def test_white_space_is_as_it_was_typed_or_refused(bench, prompt, text, join):
    try:
        [template] = settled(bench, resolve(Question(prompt=prompt, **FACT))).templates
        run = bench.tokens.ask(template, "France")
        answer = bench.tokens.answer(run, "Paris")
    except LashleyError as e:
        assert "reads" in str(e) or "changes how" in str(e), e
        return
    assert run.text == text
    assert run.tokens + answer == tuple(bench.tokens.tokenizer(f"{text}{join}Paris")["input_ids"])
    assert bool(template.joined) == (join != " ")


def test_what_is_read_is_what_follows_and_the_page_says_so(bench, tmp_path):
    """Two blanks typed: the answers share a blank, which cancels."""
    prompt = "{} is a country whose capital is  "
    study = lashley.locate(bench, prompt=prompt, kinds=("resid",), study=tmp_path / "study", **FACT)
    for column, subject in (("clean", "France"), ("corrupt", "Japan")):
        paris, tokyo = (score(bench, prompt.format(subject).rstrip(), f"  {a}") for a in ("Paris", "Tokyo"))
        assert study.table[column].iloc[0] == pytest.approx(paris - tokyo, abs=1e-4)
    assert set(study.table["join"]) == {"typed 2"}
    page = study.page()
    assert any("2 blanks, as typed" in caveat for caveat in page.caveats)


def test_where_only_a_blank_leaves_the_prompt_as_it_is_that_is_told(bench, monkeypatch):
    """As of "17" and "89", which most tokenizers write as one."""
    plain = type(bench.tokens).answers

    def merging(self, run, names):
        if run.join == "":
            raise BadPrompt("the answer changes how the prompt is tokenised")
        return plain(self, run, names)

    monkeypatch.setattr(type(bench.tokens), "answers", merging)
    for prompt, told in (('The capital of {} is "', True), ("The capital of {} is.", False)):
        [template] = settled(bench, resolve(Question(prompt=prompt, **FACT))).templates
        assert template.join == " " and (template.joined == ONLY) == told


def test_plain_prompts_ask_the_model_nothing(bench, monkeypatch):
    monkeypatch.setattr("lashley.prompts.joining.answers", None)
    for name in ("capital", "author", "element_number"):
        asked = resolve(Question(relation=name, max_facts=3))
        assert settled(bench, asked) is asked


@pytest.mark.parametrize("field", ["prompt", "subject", "object", "foil_subject", "foil_object"])
@pytest.mark.parametrize("bad", ["\x00", "\ud83d", "\udce9"], ids=["NUL", "half a pair", "a byte"])
def test_text_that_no_tokenizer_takes_is_told_in_one_line(field, bad):
    words = {"prompt": "The capital of {} is", **FACT}
    words[field] += bad
    with pytest.raises(BadFact, match="no tokenizer takes") as told:
        resolve(Question(**words))
    assert str(told.value).isprintable()
