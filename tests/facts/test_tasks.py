"""Every task asks what the literature asks: pairs that differ in one word, and answers that the words decide."""

import pytest

from lashley.core.errors import BadFact
from lashley.core.question import Question
from lashley.facts import words
from lashley.facts.question import resolve, resolve_all
from lashley.facts.tasks import TASKS, items, relation


@pytest.mark.parametrize("name", TASKS)
def test_items_are_different_reproducible_and_askable(name):
    some = items(name, 20)
    assert len(set(some)) == 20 and some == items(name, 20) and some[:5] == items(name, 5)
    for item in some:
        made, fact = relation(name, item)
        assert item.subject != item.foil and item.answer != item.foil_answer
        assert made.objects == {item.subject: item.answer, item.foil: item.foil_answer}
        assert fact.object == item.answer and made.templates[0].fill(item.subject).count(item.subject) >= 1


@pytest.mark.parametrize("name", ["ioi", "agreement", "induction"])
def test_subjects_do_not_come_again_before_they_run_out(name):
    found = [item.subject for item in items(name, 8)]
    assert len(set(found)) >= 7


def test_the_indirect_object_was_said_once():
    for item in items("ioi", 20):
        said = item.prompt.replace("{}", item.subject).split()
        assert said.count(item.subject) == 2 and said.count(item.answer) == 1 and item.foil == item.answer


def test_the_answer_is_the_later_decade():
    order = [*words.DECADES]
    for item in items("greater_than", 30):
        first, after, before = (order.index(w) for w in (item.subject, item.answer, item.foil_answer))
        assert after - first == first - before > 0


def test_the_verb_agrees_with_the_subject_and_not_with_what_stands_between():
    plural = {p: n for pair in words.NOUNS for n, p in enumerate(pair)}
    verbs = {v: n for pair in words.VERBS for n, v in enumerate(pair)}
    for item in items("agreement", 30):
        between = item.prompt.split()[-1]
        assert plural[item.subject] == verbs[item.answer] != plural[between]


def test_the_answer_followed_the_word():
    for item in items("induction", 30):
        shown = item.prompt.split()[:-1]
        for word, answer in ((item.subject, item.answer), (item.foil, item.foil_answer)):
            assert shown.count(word) == 1 and shown[shown.index(word) + 1] == answer


def test_a_task_is_as_many_questions_as_asked_for():
    asked = resolve_all(Question(task="ioi", max_facts=5, seed=3))
    assert len(asked) == 5 and {a.relation.name for a in asked} == {"ioi"}
    assert asked[0].foils[asked[0].facts[0].subject] == (items("ioi", 5, 3)[0].foil,)
    (one,) = resolve_all(Question(relation="capital", subject="France"))
    assert one == resolve(Question(relation="capital", subject="France"))


BAD = {
    "unknown": (Question(task="chess"), "no task 'chess'; there are ioi"),
    "with a relation": (Question(task="ioi", relation="capital"), "its own prompts"),
    "with a subject": (Question(task="ioi", subject="Mary"), "its own prompts"),
    "none": (Question(task="ioi", max_facts=0), "max facts 0"),
}


@pytest.mark.parametrize(("question", "words"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_asked_is_refused(question, words):
    with pytest.raises(BadFact, match=words):
        resolve_all(question)
