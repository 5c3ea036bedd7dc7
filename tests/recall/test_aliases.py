"""Another name of an object counts as the object: when it is asked whether a fact is known, and as the answer."""

import itertools

import msgspec
import pytest

from lashley.claims.topics import foils
from lashley.core.errors import BadFact
from lashley.core.fact import Fact, Relation
from lashley.core.question import Asked, Question
from lashley.engine import answers
from lashley.facts.contexts import contexts, mentions
from lashley.facts.question import find as found
from lashley.facts.question import resolve
from lashley.prompts.pairs import prepare
from lashley.prompts.recall import likeliest, recall

OLD = {"Paris": "Lutetia", "Rome": "Caput Mundi", "Oslo": "Christiania"}  # which the model does not say
COUNTRIES = ("France", "Italy", "Norway", "Japan", "Spain", "Egypt", "Cuba", "Chile", "Kenya", "Peru")


def renamed(**aliases: tuple[str, ...]) -> Asked:
    """Capitals under two templates, some by old names, with other names for some."""
    base = found("capital")
    objects = {c: OLD.get(base.objects[c], base.objects[c]) for c in COUNTRIES}
    relation = Relation("renamed", "", base.templates[:2], objects, base.names, aliases)
    facts = relation.facts()
    return Asked(relation, facts, relation.templates, {f.subject: foils(relation, f, 0) for f in facts})


def test_a_fact_is_known_by_any_name_of_its_object(bench):
    known = {
        bool(aliases): {c.fact.subject for c in prepare(bench, renamed(**aliases)).cases}
        for aliases in ({}, {"Lutetia": ("the city", "Paris")})
    }
    assert "France" not in known[False] and known[True] == known[False] | {"France"}


def test_the_name_that_the_model_gives_the_highest_score_is_measured_and_told(bench):
    asked = renamed(Lutetia=("the city", "Paris"), Tokyo=("Edo",))
    cases = prepare(bench, asked).cases
    mine = [c for c in cases if c.fact.subject == "France"]
    assert mine
    for case in mine:
        every = bench.tokens.answers(case.clean, ("Lutetia", "the city", "Paris"))
        scores = answers.scores(bench, [(case.clean, tokens) for tokens in every.values()])
        best = dict(zip(every, scores, strict=True))
        assert case.answer == max(best, key=lambda n: best[n]) == "Paris"
        assert case.target == every["Paris"] and case.labels()["answer"] == "Paris"
        assert case.labels()["object"] == "Lutetia"
    for case in cases:  # of names that the model does not say, nothing is told
        assert case.fact.subject == "France" or (case.answer == "" and "answer" not in case.labels())
        said = case.foil_answer or case.foil.object
        assert case.foil_tokens == bench.tokens.answer(case.clean, said)
        assert case.labels().get("foil_answer", case.foil.object) == said
    assert {c.foil_answer for c in cases if c.foil.object == "Lutetia"} <= {"Paris", "the city", ""}


def test_facts_without_other_names_are_asked_as_before(bench):
    plain, more = (prepare(bench, renamed(**a)).cases for a in ({}, {"Lutetia": ("the city", "Paris")}))
    one, other = ({(c.fact, c.template): c for c in cases} for cases in (plain, more))
    told = [q for q in one if not {"Lutetia"} & {c.foil.object for c in (one[q], other[q])}]
    assert len(told) > 5 and all(one[q] == other[q] for q in told)


def test_a_name_of_the_object_is_no_rival_and_that_of_another_is(bench):
    """The model says Paris of France: known where that names the object, unknown where it names another's."""
    relation = renamed(Lutetia=("Paris",)).relation
    own = recall(bench, relation, [Fact("renamed", "France", "Lutetia")], relation.templates)
    other = recall(bench, relation, [Fact("renamed", "France", "Tokyo")], relation.templates)
    assert [(r.better, r.answer) for r in own] == [("", "Paris")] * 2
    assert [(r.better, r.answer) for r in other] == [("Paris", "Tokyo")] * 2


def test_a_longer_name_of_the_object_is_no_rival_either(bench):
    """That Paris is followed by a full stop takes nothing from it where both are names of the object."""
    plain = found("capital")
    relation = Relation("capital", "", plain.templates[:1], plain.objects, plain.names, {"Paris": ("Paris.",)})
    (own,) = recall(bench, relation, [Fact("capital", "France", "Paris")], relation.templates)
    assert (own.better, own.answer) == ("", "Paris")


@pytest.mark.parametrize("turned", [False, True])
def test_a_foil_never_has_an_object_that_is_the_same_by_another_name(turned):
    objects = {"Lyon": "France", "Nice": "the French Republic", "Bonn": "Germany", "Kyoto": "Japan"}
    aliases = {"the French Republic": ("France",)} if turned else {"France": ("the French Republic",)}
    relation = Relation("country", "", found("capital").templates[:1], objects, aliases=aliases)
    for subject, answer in objects.items():
        for foil in foils(relation, Fact("country", subject, answer), 0):
            assert not {answer, objects[foil]} <= {"France", "the French Republic"}


def test_the_likeliest_of_some_names_is_that_of_the_highest_score(bench):
    capital = found("capital")
    runs = [bench.tokens.ask(t, c) for t, c in itertools.product(capital.templates[:2], COUNTRIES[:3])]
    names = [("Oslo", "Paris", "San Salvador"), ("Rome",), ("Buenos Aires", "Rome")] * 2
    scores = [
        answers.scores(bench, [(run, bench.tokens.answer(run, n)) for n in own]).tolist()
        for run, own in zip(runs, names, strict=True)
    ]
    best = [own[max(range(len(own)), key=lambda i, s=s: s[i])] for own, s in zip(names, scores, strict=True)]
    assert likeliest(bench, runs, names) == best and len(set(best)) > 2


def test_texts_before_a_prompt_name_no_other_name_of_the_object():
    relation = msgspec.structs.replace(found("capital"), aliases={"Paris": ("the key", "they")})
    told = contexts(relation, "France", relation.templates[:4], 0, 6)
    assert told and not any(mentions(t.before, ("the key", "they", "Paris")) for t in told)


def test_a_question_takes_other_names(tmp_path, monkeypatch):
    monkeypatch.setenv("LASHLEY_HOME", str(tmp_path))
    (tmp_path / "facts").mkdir()
    (tmp_path / "facts" / "seat.toml").write_text(
        'relation = "seat"\n[[template]]\ntext = "{} is in"\n[facts]\nBoston = "USA"\nLyon = "France"\n'
        'Reno = "the US"\n[aliases]\nUSA = ["the USA", "the US"]\n'
    )
    asked = resolve(Question(relation="seat", subject="Boston"))
    assert asked.foils == {"Boston": ("Lyon",)}
    assert [f.subject for f in resolve(Question(relation="seat", object="The USA")).facts] == ["Boston"]
    with pytest.raises(BadFact, match="has no foil"):
        resolve(Question(relation="seat", subject="Boston", foil_subject="Reno"))
