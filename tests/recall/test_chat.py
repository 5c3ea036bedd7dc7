"""Asking in a chat template: what is asked, what it is known by, and what it leaves as it was."""

import pytest

import lashley
from lashley.claims.topics import prompts
from lashley.core.claim import About
from lashley.core.errors import BadPrompt, StudyConflict
from lashley.core.question import Question
from lashley.facts.contexts import contexts
from lashley.facts.question import resolve, resolve_all
from lashley.study.page import CHAT

FACT = {"subject": "France", "object": "Paris", "foil_subject": "Japan", "foil_object": "Tokyo"}
CAPITAL = "The capital of {} is"


@pytest.fixture
def chatty(bench):
    """The embedded model with a chat template in which it goes on knowing."""
    tokenizer = bench.tokens.tokenizer
    tokenizer.chat_template = "{{ bos_token }}We saw two knives. {{ messages[0]['content'] }}"
    yield bench
    tokenizer.chat_template = None


def test_an_experiment_reads_the_answer_where_the_reply_begins(chatty, tmp_path):
    """The same measurement as that of the text which the template makes, and another study."""
    made = {
        name: lashley.locate(chatty, prompt=text, kinds=("resid",), study=tmp_path / name, **FACT, **more)
        for name, text, more in (("chat", CAPITAL, {"chat": True}), ("typed", f"We saw two knives. {CAPITAL}", {}))
    }
    chat, typed = (made[n].table for n in ("chat", "typed"))
    assert chat["effect"].to_numpy() == pytest.approx(typed["effect"].to_numpy(), abs=1e-6)
    assert list(chat["role"]) == list(typed["role"]) and list(chat["site"]) == list(typed["site"])
    assert CHAT in made["chat"].page().caveats and CHAT not in made["typed"].page().caveats
    assert made["chat"].question.chat is True
    again = lashley.locate(chatty, prompt=CAPITAL, kinds=("resid",), study=tmp_path / "chat", chat=True, **FACT)
    assert again.table.equals(chat)
    with pytest.raises(StudyConflict, match=r"question\.chat"):
        lashley.locate(chatty, prompt=CAPITAL, kinds=("resid",), study=tmp_path / "chat", **FACT)


def test_a_page_of_a_chat_does_not_run_the_message_and_its_answer_together(chatty, tmp_path):
    chatty.tokens.tokenizer.chat_template += " The answer"
    page = lashley.locate(chatty, prompt=CAPITAL, kinds=("resid",), study=tmp_path / "s", chat=True, **FACT).page()
    for words in (page.title, page.question, page.finding.sentence):
        assert "“The capital of France is” → “Paris”" in words and "is Paris" not in words


def test_without_a_template_there_is_no_chat(bench, tmp_path):
    with pytest.raises(BadPrompt, match="no chat template"):
        lashley.locate(bench, prompt=CAPITAL, study=tmp_path / "s", chat=True, **FACT)
    with pytest.raises(BadPrompt, match="no chat template"):
        lashley.audit(bench, "L4.mlp.n173 stores capital(France)", study=tmp_path / "s", chat=True)
    assert not (tmp_path / "s").exists()


def test_every_prompt_of_a_question_a_topic_and_a_task_is_a_message():
    question = resolve(Question(relation="capital", subject="France", chat=True))
    topic = prompts(About(relation="capital", subject="France"), 0, True, 4, chat=True)
    tasks = resolve_all(Question(task="ioi", max_facts=2, chat=True))
    for asked in (question, *tasks, *(q for questions in topic.groups.values() for q in questions)):
        assert all(t.chat for t in (*asked.templates, *asked.relation.templates))
    made = contexts(question.relation, "France", question.templates, 0)
    assert made and all(t.chat for t in made)
    plain = resolve(Question(relation="capital", subject="France"))
    texts = [t.before for t in contexts(plain.relation, "France", plain.templates, 0)]
    assert [t.before for t in made] == texts
