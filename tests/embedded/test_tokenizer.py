import pytest
from transformers import AutoTokenizer

from lashley.facts.base import shipped
from lashley.models.embedded import WEIGHTS, tokenizer


@pytest.fixture(scope="module")
def words():
    return AutoTokenizer.from_pretrained(WEIGHTS)


@pytest.mark.parametrize(
    "text",
    [
        "The capital of France is",
        " La capital de España es Madrid.",
        "N'Djamena, Côte d'Ivoire; São Tomé\nline two\n\n  spaces",
        "中文 😀 \x00 ünknown",
    ],
)
def test_round_trip(words, text):
    tokens = words(text)["input_ids"]
    assert tokens[0] == words.bos_token_id
    assert words.unk_token_id not in tokens
    assert words.decode(tokens, skip_special_tokens=True) == text


@pytest.mark.parametrize("relation", shipped().values(), ids=lambda r: r.name)
def test_an_object_has_the_same_tokens_after_every_prompt(words, relation):
    for template in relation.templates:
        for subject, answer in relation.objects.items():
            prompt = template.fill(relation.say(subject, template.language))
            name = " " + relation.say(answer, template.language)
            parts = tokenizer.ids(words, prompt) + tokenizer.ids(words, name)
            assert words(prompt + name)["input_ids"] == [words.bos_token_id, *parts]


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("relation", shipped().values(), ids=lambda r: r.name)
def test_no_candidate_begins_with_all_the_tokens_of_another(words, relation, language):
    assert tokenizer.prefixes(words, relation, language) == []


def test_names_of_one_token_and_of_several_both_occur_a_lot(words):
    lengths = [len(tokenizer.ids(words, " " + n)) for r in shipped().values() for n in r.candidates()]
    assert sum(n == 1 for n in lengths) > 300
    assert sum(n > 1 for n in lengths) > 300
