"""Words to runs: where the subject is, and which answers can follow."""

import pytest
from tiny import TEXT, tokenizer
from tokenizers import Tokenizer, models, trainers
from transformers import PreTrainedTokenizerFast

from lashley.core.errors import BadPrompt
from lashley.core.fact import Template
from lashley.engine.tokens import Tokens


@pytest.fixture
def tokens():
    return Tokens(tokenizer(), context=30)


def subject_text(tokens: Tokens, run) -> str:
    return tokens.tokenizer.decode(run.tokens[slice(*run.subject)]).strip()


@pytest.mark.parametrize("context", ["", "Listen. "])
@pytest.mark.parametrize("subject", ["France", "Peru", "Eiffel Tower", "Xyz"])
@pytest.mark.parametrize("template", ["{} has", "The capital of {} is", "The capital is {}"])
def test_the_subject_span_holds_the_subject_and_nothing_else(tokens, template, subject, context):
    run = tokens.ask(Template(template, before=context), subject)
    assert subject_text(tokens, run) == subject
    assert run.text == context + template.format(subject)
    assert run.begin <= run.subject[0] < run.subject[1] <= len(run)


def test_the_text_before_is_counted_in_tokens(tokens):
    run = tokens.ask(Template("{} has"), "Xyz")
    assert run.tokens[0] == tokens.tokenizer.bos_token_id
    assert (tokens.begin, run.begin, run.subject) == (1, 1, (1, 4))
    assert [run.role(i) for i in range(4)] == ["begin", "subject_first", "subject_middle", "subject_last"]


def test_a_tokenizer_without_a_beginning_has_none():
    bare = tokenizer().__class__(tokenizer_object=Tokenizer(models.WordLevel({"x": 0, "y": 1}, unk_token="y")))
    assert Tokens(bare, 10).begin == 0


def test_a_subject_said_twice_is_the_one_in_the_slot(tokens):
    run = tokens.ask(Template("{} is", before="Peru has Lima. "), "Peru")
    assert run.subject[0] > 3 and subject_text(tokens, run) == "Peru"


def test_without_a_subject_the_span_is_empty(tokens):
    assert tokens.run("The capital").subject == (0, 0)


def test_answers_continue_the_prompt(tokens):
    run = tokens.run("The capital of France is")
    found = tokens.answers(run, ("Paris", "Lima"))
    assert found == {a: tokens.answer(run, a) for a in ("Paris", "Lima")}
    for answer, ids in found.items():
        assert tokens.tokenizer.decode(run.tokens + ids, skip_special_tokens=True) == f"{run.text} {answer}"


def test_an_answer_that_changes_the_prompt_is_refused():
    """Without a pre-tokenizer, pieces reach across blanks: "is Paris" becomes one token."""
    greedy = Tokenizer(models.BPE())
    greedy.train_from_iterator([TEXT] * 9, trainers.BpeTrainer(vocab_size=300, show_progress=False))
    tokens = Tokens(PreTrainedTokenizerFast(tokenizer_object=greedy), context=60)
    with pytest.raises(BadPrompt, match=r"'Paris' changes how .* tokens do not join"):
        tokens.answer(tokens.run("The capital of France is"), "Paris")


def test_an_empty_answer_is_refused(tokens):
    bare = Tokens(tokenizer(), context=30)
    run = bare.run("The capital")
    with pytest.raises(BadPrompt):
        bare.answer(run.__class__(run.text + " ", bare.run("The capital  ").tokens, 1), "")


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_prompt_is_refused(tokens, text):
    with pytest.raises(BadPrompt, match="the prompt is empty"):
        tokens.run(text)


@pytest.mark.parametrize("subject", ["", " "])
def test_an_empty_subject_is_refused(tokens, subject):
    with pytest.raises(BadPrompt):
        tokens.ask(Template("The capital of {} is"), subject)


def test_a_prompt_longer_than_the_context_is_refused(tokens):
    with pytest.raises(BadPrompt, match=r"has \d+ tokens and the model's context is 30; shorten"):
        tokens.run("Paris " * 40)


def test_an_answer_past_the_context_is_refused(tokens):
    run = tokens.run("Xyz Xyz Xyz")
    with pytest.raises(BadPrompt, match="exceed the context of 30"):
        tokens.answer(run, "Xyz " * 20)


def test_words_are_one_a_token(tokens):
    run = tokens.run("The capital of France")
    words = tokens.words(run.tokens)
    assert len(words) == len(run) and "".join(words) == "<bos>The capital of France"
