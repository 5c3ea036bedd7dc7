"""What is asked is found, or the answer says what to ask instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from lashley.core.errors import BadFact
from lashley.core.fact import Fact, Relation, Template
from lashley.core.question import Question
from lashley.facts import importers, question
from lashley.facts.importers import save
from lashley.facts.question import find, relations, resolve

CAPITAL = Relation(
    "capital",
    "test",
    (
        Template("The capital of {} is"),
        Template("Q: What is the capital of {}? A:", "question"),
        Template("La capital de {} es", "statement", "es"),
    ),
    {"France": "Paris", "Italy": "Rome", "Japan": "Tokyo", "United Kingdom": "London", "Peru": "Lima"},
    {"es": {"Italy": "Italia", "Rome": "Roma", "France": "Francia", "Tokyo": "Lima"}},
)
CONTINENT = Relation(
    "continent",
    "test",
    (Template("{} is in"),),
    {"France": "Europe", "Italy": "Europe", "Japan": "Asia", "Peru": "South America", "Spain": "Europe"},
)
SAME = Relation("same", "test", (Template("{} is"),), {"a": "x", "b": "x"})
PROMPT = Question("The capital of {} is", None, "France", "Paris", "Italy", "Rome")


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LASHLEY_HOME", str(tmp_path))
    for module in (question, importers):
        monkeypatch.setattr(module, "shipped", lambda: {r.name: r for r in (CAPITAL, CONTINENT, SAME)})


def ask(relation: str = "capital", **words) -> question.Asked:
    return resolve(Question(relation=relation, **words))


def test_a_relation_is_asked_about_with_every_fact_and_every_foil() -> None:
    asked = ask()
    assert asked.relation is CAPITAL and asked.facts == CAPITAL.facts()
    assert [t.register for t in asked.templates] == ["statement", "question"]
    for subject, foils in asked.foils.items():
        assert set(foils) == set(CAPITAL.objects) - {subject}


def test_a_foil_has_another_object() -> None:
    asked = ask("continent")
    assert set(asked.foils["France"]) == {"Japan", "Peru"}
    assert set(asked.foils["Japan"]) == {"France", "Italy", "Peru", "Spain"}


def test_a_foil_has_another_object_in_the_language_of_the_template() -> None:
    asked = ask(language="es", subject="Japan")  # whose capital this base calls Lima in Spanish
    assert set(asked.foils["Japan"]) == {"France", "Italy", "United Kingdom"}
    with pytest.raises(BadFact, match=r"has no foil.*choose another"):
        ask(language="es", subject="Japan", foil_subject="Peru")


def test_the_order_of_foils_is_random_and_the_seeds_own() -> None:
    assert ask(seed=1) == ask(seed=1)
    assert len({ask(seed=i).foils["France"] for i in range(20)}) > 5
    assert len({ask(subject=s, seed=3).foils[s].index("Peru") for s in ("France", "Italy", "Japan")}) > 1
    assert ask(subject="France").foils["France"] == ask().foils["France"]  # whoever else is asked about


def test_one_subject_however_typed() -> None:
    want = (Fact("capital", "Italy", "Rome"),)
    assert ask(subject="Italy").facts == ask(subject=" italy ").facts == want
    assert ask(subject="Italia", language="es").facts == want
    assert ask(subject="Italy", object="rome").facts == ask(object="Rome").facts == want
    assert [f.subject for f in ask("continent", object="Europe").facts] == ["France", "Italy", "Spain"]


def test_a_given_foil_is_the_only_one() -> None:
    assert ask(subject="France", foil_subject="Japan").foils == {"France": ("Japan",)}
    assert ask(subject="France", foil_object="Tokyo").foils == {"France": ("Japan",)}
    assert ask(subject="France", foil_subject="Japan", foil_object="Tokyo").foils == {"France": ("Japan",)}
    several = ask("continent", subject="Japan", foil_object="Europe").foils["Japan"]
    assert set(several) == {"France", "Italy", "Spain"}
    assert set(ask("continent", object="Europe", foil_subject="Peru").foils.values()) == {("Peru",)}


def test_templates_of_one_register_or_language() -> None:
    assert ask(register="question").templates == (CAPITAL.templates[1],)
    assert ask(language="es").templates == (CAPITAL.templates[2],)


def test_max_facts_draws_at_random_in_the_bases_order() -> None:
    drawn = ask(max_facts=2).facts
    assert len(drawn) == 2 and drawn == tuple(f for f in CAPITAL.facts() if f in drawn)
    assert set(ask(max_facts=2).foils) == {f.subject for f in drawn}
    assert len({ask(max_facts=2, seed=i).facts for i in range(20)}) > 3
    assert ask(max_facts=99).facts == CAPITAL.facts()


def test_a_prompt_of_ones_own_is_a_relation_of_two_facts() -> None:
    asked = resolve(PROMPT)
    assert asked.templates == asked.relation.templates == (Template("The capital of {} is"),)
    assert asked.relation.name == "prompt"
    assert asked.relation.objects == {"France": "Paris", "Italy": "Rome"}
    assert asked.facts == (Fact("prompt", "France", "Paris"),)
    assert asked.foils == {"France": ("Italy",)}


def test_a_prompt_may_contradict_the_base_and_say_its_language_and_register() -> None:
    asked = resolve(Question(" {} vaut ", None, "a", "b", "c", "d", language="fr", register="list"))
    assert asked.templates == (Template(" {} vaut", "list", "fr", join=" "),)


def test_an_imported_relation_is_found_by_any_spelling_and_never_shadows_a_shipped_one(
    tmp_path: Path,
) -> None:
    mine = Relation("country_capital_city", "mine", (Template("{}:"),), {"a": "b", "c": "d"})
    file = save(mine)
    assert find("Country capital city") == find("country_capital_city") == mine
    assert list(relations()) == ["capital", "continent", "country_capital_city", "same"]
    file.with_name("x.toml").write_text(file.read_text().replace("country_capital_city", "capital"))
    assert find("capital") is relations()["capital"] is CAPITAL


def test_a_broken_import_does_not_stand_before_a_shipped_relation(tmp_path: Path) -> None:
    (tmp_path / "facts").mkdir()
    (tmp_path / "facts" / "bad.toml").write_text("?")
    assert find("capital") is CAPITAL
    with pytest.raises(BadFact, match="mend or delete"):
        find("mine")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({}, "nothing is asked; give a relation.* or a prompt"),
        ({"subject": "France"}, "nothing is asked"),
        (
            {"relation": "capitol"},
            r"no relation 'capitol' \(did you mean 'capital'\?\); there are capital, cont",
        ),
        ({"relation": " "}, "there are capital, continent"),
        ({"relation": "capital", "prompt": "{} is"}, "give one of them"),
        ({"relation": "capital", "max_facts": 0}, "ask about 1 fact or more"),
        ({"relation": "capital", "language": "fr"}, "no templates in language 'fr'; choose en or es"),
        ({"relation": "capital", "register": "list"}, "register 'list'; choose statement or question"),
        ({"relation": "capital", "subject": "Frnace"}, r"no subject 'Frnace' \(did you mean 'France'\?\)"),
        ({"relation": "capital", "subject": "uk"}, "choose one of its 5 subjects"),
        ({"relation": "capital", "subject": ""}, "no subject ''"),
        ({"relation": "capital", "object": "Pari"}, r"no object 'Pari' \(did you mean 'Paris'"),
        ({"relation": "capital", "subject": "France", "object": "Toyota"}, "no object 'Toyota'"),
        ({"relation": "capital", "foil_subject": "Italy"}, "give the subject too"),
        (
            {"relation": "capital", "subject": "France", "foil_subject": "france"},
            "foil's subject 'France' is",
        ),
        ({"relation": "capital", "subject": "France", "foil_object": "Paris"}, "foil's object 'Paris' is"),
        (
            {"relation": "continent", "subject": "France", "foil_subject": "Italy"},
            "foil's object 'Europe' is",
        ),
        (
            {"relation": "capital", "subject": "France", "foil_subject": "Itly"},
            r"no foil subject 'Itly' \(did",
        ),
        ({"relation": "capital", "subject": "France", "foil_object": "Oslo"}, "no foil object 'Oslo'"),
        (
            {"relation": "capital", "subject": "France", "foil_subject": "Italy", "foil_object": "Lima"},
            r"capital\(Italy\) is 'Rome' in the fact base, not 'Lima'",
        ),
        ({"relation": "same"}, r"same\(a\) has no foil.*ask another relation"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(words: dict, says: str) -> None:
    with pytest.raises(BadFact, match=says) as error:
        resolve(Question(**words))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"prompt": ""}, "the prompt is empty"),
        ({"prompt": " \n"}, "the prompt is empty"),
        ({"prompt": "{}"}, "asks nothing"),
        ({"prompt": "{} and {}"}, "has 2 slots"),
        ({"prompt": "The capital is"}, r"no \{\} for the subject; write \{\} where the subject goes"),
        (
            {"prompt": "The capital of France is Paris"},
            "write 'The capital of {} is' and give the subject 'France' apart",
        ),
        ({"subject": None}, "the subject is missing"),
        ({"object": " "}, "the object is missing"),
        ({"foil_subject": None, "foil_object": None}, "the foil subject and the foil object are missing"),
        ({"foil_object": None}, "the foil object is missing"),
        ({"foil_subject": "France"}, "foil's subject 'France' is that of the fact itself"),
        ({"foil_object": "paris"}, "foil's object 'paris' is that of the fact itself"),
        ({"max_facts": -1}, "1 fact or more"),
        ({"object": "Paris\n"}, r"the object 'Paris\\n' has white space about it"),
        ({"subject": "\tFrance"}, "the subject .* write 'France'"),
        ({"foil_object": "\u00a0Rome"}, "the foil object .* write 'Rome'"),
    ],
)
def test_a_prompt_that_cannot_be_asked_is_refused_in_one_line(words: dict, says: str) -> None:
    given = {name: getattr(PROMPT, name) for name in PROMPT.__struct_fields__}
    with pytest.raises(BadFact, match=says) as error:
        resolve(Question(**given | words))
    assert "\n" not in str(error.value)


def test_another_object_than_the_bases_asks_about_a_planted_fact() -> None:
    asked = resolve(Question(relation="capital", subject="france", object="rome"))
    assert [(f.subject, f.object) for f in asked.facts] == [("France", "Rome")]
    assert asked.relation.objects["France"] == "Rome" and "Italy" not in asked.foils["France"]
    assert resolve(Question(relation="capital", subject="France")).facts[0].object == "Paris"
