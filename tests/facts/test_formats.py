"""Files of public data sets, in miniature: each is taken as it is, and what is left out is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lashley.core.errors import BadFact
from lashley.core.fact import Relation
from lashley.facts import importers
from lashley.facts.importers import import_all, import_relation, said, save

LRE = {
    "name": "city in country",
    "prompt_templates": ["{} is part of the country of"],
    "prompt_templates_zs": ["What country is {} in? It is in"],
    "properties": {"relation_type": "factual"},
    "samples": [
        {"subject": "Los Angeles", "object": "United States"},
        {"subject": "Bogot\\u00e1", "object": "Colombia"},
    ],
}
KNOWN = [
    {
        "known_id": i,
        "subject": subject,
        "attribute": answer,
        "template": prompt.removesuffix(" of"),
        "prediction": "of ...",
        "prompt": prompt.format(subject),
        "relation_id": relation,
    }
    for i, (subject, answer, prompt, relation) in enumerate(
        [
            ("Vinson Massif", "Antarctica", "{} is located in the continent of", "P30"),
            ("Audible.com", "Amazon", "{} is owned by", "P127"),
            ("Toko Syndicate", "Antarctica", "{} belongs to the continent of", "P30"),
            ("Nile", "Africa", "The river {} is on the continent of", "P30"),
        ]
    )
]
CASES = [
    {
        "case_id": i,
        "subject": subject,
        "relation_id": relation,
        "target_true": answer,
        "target_new": "English",
        "paraphrase_prompts": [f"It rained. The end.\nNo one ran! {said}" for said in prompts],
        "neighborhood_prompts": ["The mother tongue of Léon Blum is"],
    }
    for i, (subject, relation, answer, prompts) in enumerate(
        [
            ("J. R. Rey", "P103", "French", ["J. R. Rey, a native", "The mother tongue of J. R. Rey is"]),
            ("Bo Li", "P103", "Chinese", ["Bo Li, a native", "Bo Li spoke the language"]),
            ("Edwin", "P140", "Christianity", ["Edwin is follower of"]),
            ("Lund", "P99", "x", ["no one is named"]),
        ]
    )
]
ORIGINAL = [
    {
        "case_id": i,
        "requested_rewrite": {
            "prompt": prompt,
            "relation_id": "P103",
            "target_new": {"str": "English", "id": "Q1860"},
            "target_true": {"str": answer, "id": "Q150"},
            "subject": subject,
        },
        "paraphrase_prompts": [],
    }
    for i, (subject, answer, prompt) in enumerate(
        [
            ("Danielle Darrieux", "French", "The mother tongue of {} is"),
            ("Bo Li", "Chinese", "{} is a native speaker of"),
        ]
    )
]
PARAREL = {
    "relation_id": "P103",
    "patterns": [
        "The native language of [X] is [Y].",
        "[X] natively speaks [Y] .",
        "[Y] is [X]'s mother tongue.",
        "[X][Y]",
    ],
    "samples": [{"subject": "Trochu", "object": "French"}, {"subject": "Jan", "object": "Dutch"}],
}
RAVEL = {
    "ravel_city_entity_attributes.json": {
        "Algiers": {"Country": "Algeria", "Language": "Arabic,Berberi", "Latitude": "36"},
        "Bogota": {"Country": "Colombia", "Language": "Spanish", "Latitude": "4"},
    },
    "ravel_city_attribute_to_prompts.json": {
        "Country": [
            "%s is a city in the country of",
            '[{"city": "Paris", "country": "France"}, {"city": "%s", "country": "',
        ],
        "Language": ["People in %s speak", "No city speaks", "{} and %s"],
        "Mayor": ["The mayor of %s is"],
    },
    "ravel_city_entity_to_split.json": {"Algiers": "train"},
    "ravel_city_prompt_to_split.json": {"%s is a city in the country of": "test"},
    "wikipedia_city_entity_prompts.json": {"%s is a major railway,": {"split": "test", "entity": None}},
}


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LASHLEY_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, object], Path]:
    """`put("name.json", content)`; of .jsonl a line each."""

    def write(name: str, content: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        lines = content if path.suffix == ".jsonl" else [content]
        assert isinstance(lines, list)
        path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
        return path

    return write


def held(relations: tuple[Relation, ...]) -> dict[str, tuple[list[str], dict[str, str]]]:
    return {r.name: ([t.text for t in r.templates], r.objects) for r in relations}


def test_lre_gives_objects_the_names_that_models_say(put) -> None:
    relation, notes = import_relation(put("a.json", LRE))
    assert relation.objects == {"Los Angeles": "United States", "Bogotá": "Colombia"}
    assert "the United States" in relation.aliases["United States"] and set(relation.aliases) == {"United States"}
    assert "objects with other names, which count as them: 1 (United States)" in notes
    save(relation)
    assert importers.imported()["city_in_country"] == relation


def test_known_facts_are_many_relations_whose_templates_are_their_whole_prompts(put) -> None:
    taken = import_all(put("known_1000.json", KNOWN))
    assert held(taken.relations) == {
        "known_p30": (
            [
                "{} is located in the continent of",
                "{} belongs to the continent of",
                "The river {} is on the continent of",
            ],
            {"Vinson Massif": "Antarctica", "Toko Syndicate": "Antarctica", "Nile": "Africa"},
        ),
        "known_p127": (["{} is owned by"], {"Audible.com": "Amazon"}),
    }
    assert str(taken) == "2 relations: 4 facts, 4 templates"
    assert said(taken.notes) == ["relations of one object, so that no fact has a foil: 1 (known_p127)"]


def test_counterfact_without_its_prompts_takes_those_of_its_paraphrases_that_cases_share(put) -> None:
    taken = import_all(put("counterfact.jsonl", CASES))
    assert held(taken.relations) == {
        "counterfact_p103": (["{}, a native"], {"J. R. Rey": "French", "Bo Li": "Chinese"}),
        "counterfact_p140": (["{} is follower of"], {"Edwin": "Christianity"}),
    }
    assert str(taken).endswith("left out: relations: 1 (counterfact_p99: holds no template)")


@pytest.mark.parametrize("where", ["P103.json", "../pararel/P103.json", "imported"])
def test_counterfact_takes_the_templates_of_pararel_where_they_are(put, where) -> None:
    path = put("set/P103.json" if where == "P103.json" else "pararel/P103.json", PARAREL)
    if where == "imported":
        save(import_all(path).relations[0])
        path.unlink()
    first = import_all(put("set/counterfact.jsonl", CASES)).relations[0]
    assert [t.text for t in first.templates] == ["The native language of {} is", "{} natively speaks"]


def test_counterfact_as_it_was_published_has_its_prompts(put) -> None:
    taken = import_all(put("counterfact.json", ORIGINAL))
    assert held(taken.relations) == {
        "counterfact_p103": (
            ["The mother tongue of {} is", "{} is a native speaker of"],
            {"Danielle Darrieux": "French", "Bo Li": "Chinese"},
        )
    }


def test_pararel_gives_the_patterns_that_end_in_the_object_and_counts_the_others(put) -> None:
    taken = import_all(put("P103.json", PARAREL))
    assert held(taken.relations) == {
        "pararel_p103": (["The native language of {} is", "{} natively speaks"], {"Trochu": "French", "Jan": "Dutch"})
    }
    assert "patterns that do not end in the object: 2 ([Y] is [X]'s mother tongue., [X][Y])" in str(taken)


@pytest.mark.parametrize("asked", ["ravel_city_entity_attributes.json", "ravel_city_attribute_to_prompts.json", "."])
def test_ravel_is_taken_from_either_file_or_from_the_folder(put, tmp_path, asked) -> None:
    for name, content in RAVEL.items():
        put(name, content)
    taken = import_all(tmp_path / asked)
    assert held(taken.relations) == {
        "ravel_city_country": (
            ["{} is a city in the country of", '[{"city": "Paris", "country": "France"}, {"city": "{}", "country": "'],
            {"Algiers": "Algeria", "Bogota": "Colombia"},
        ),
        "ravel_city_language": (["People in {} speak"], {"Algiers": "Arabic", "Bogota": "Spanish"}),
    }
    assert "values of several names, the first kept: 1 (Arabic,Berberi)" in said(taken.notes)
    for left in (
        "prompts without one %s: 2",
        "ravel_city_mayor: holds no fact",
        "ravel_city_latitude: holds no template",
    ):
        assert left in str(taken)


@pytest.mark.parametrize("name", [n for n in RAVEL if "split" in n or "wikipedia" in n])
def test_a_file_of_ravel_without_facts_says_which_has_them(put, name) -> None:
    with pytest.raises(BadFact, match=f"{name} holds no facts; name the file of RAVEL"):
        import_all(put(name, RAVEL[name]))


def test_ravel_without_its_other_file_names_it(put) -> None:
    with pytest.raises(BadFact, match=r"ravel_city_attribute_to_prompts\.json does not exist"):
        import_all(put("ravel_city_entity_attributes.json", {"a": {"b": "c"}}))


def test_a_folder_is_taken_whole_and_a_broken_file_in_it_is_named(put, tmp_path) -> None:
    put("a.json", LRE)
    put("P103.json", PARAREL)
    put("broken.json", {"name": "x"})
    (tmp_path / "LICENSE").write_text("MIT")
    taken = import_all(tmp_path)
    assert [r.name for r in taken.relations] == ["pararel_p103", "city_in_country"]
    assert "files: 1 (broken.json is not a relation" in str(taken)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(BadFact, match=r"is a folder without relations; name one with files that end in \.json"):
        import_all(empty)


FILES = {
    "lre.json": LRE,
    "known.json": KNOWN,
    "cases.jsonl": CASES,
    "original.json": ORIGINAL,
    "P103.json": PARAREL,
    "ravel_city_entity_attributes.json": RAVEL["ravel_city_entity_attributes.json"],
}


def places(value: object, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where there is anything in a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, part in inside for place in places(part, (*at, key)))]


def changed(value, at: tuple[str | int, ...], to: object):
    """The value with another part in that place."""
    if not at:
        return to
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[at[0]] = changed(value[at[0]], at[1:], to)
    return copy


OTHERS = (None, 3, "", " ", "a\x07", "{}", "[X] [Y]", "%s", [], {}, ["a"], {"a": "b"}, [[]], True)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_with_anything_in_the_place_of_anything_is_taken_or_refused_in_one_line(put, name) -> None:
    for beside, more in RAVEL.items():
        put(beside, more)
    taken, refused = 0, 0
    for where in places(FILES[name])[1:]:
        for other in OTHERS:
            path = put(name, changed(FILES[name], where, other))
            try:
                found = import_all(path)
            except BadFact as e:
                assert str(e).isprintable() and path.stem.split("_entity")[0] in str(e), (where, other)
                refused += 1
            else:
                assert all(r.objects and r.templates for r in found.relations), (where, other)
                assert str(found).isprintable() and all(line.isprintable() for line in said(found.notes))
                taken += 1
    assert taken and refused


ODD = ["\0", "\x07", "\x0b", "\x1b[31m", "\x7f", "\x85", "\u2028", "\ufffe", "\uffff"]


@pytest.mark.parametrize("bad", [*ODD, "\\ud83d\\ude00\\u0007"], ids=ascii)
@pytest.mark.parametrize(
    ("name", "where", "place"),
    [
        ("lre.json", ("samples", 1, "subject"), "subject of fact 2"),
        ("lre.json", ("samples", 0, "object"), "object of fact 1"),
        ("lre.json", ("prompt_templates_zs", 0), "template 2"),
        ("P103.json", ("patterns", 1), "template 2"),
    ],
)
def test_a_control_character_is_refused_with_its_file_and_place(put, bad, name, where, place) -> None:
    content = FILES[name]
    text = {"subject": "x", "object": "y"}.get(str(where[-1]), "The {} is [X] is [Y]" if name[0] == "P" else "{} is")
    text = text.replace("{} is [X]", "[X]")
    path = put(name, changed(content, where, text[:1] + bad + text[1:]))
    with pytest.raises(
        BadFact, match=f"{name}, {place}: a control character .U\\+[0-9A-F]{{4}}. in .*; delete it"
    ) as e:
        import_all(path)
    assert str(e.value).isprintable()


def test_half_a_character_in_a_file_of_ones_own_is_refused(tmp_path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b'relation = "r"\n[[template]]\ntext = "{} is"\n[facts]\n"a\\u0007" = "b"\n')
    with pytest.raises(BadFact, match=r"a.toml, subject of fact 1: a control character \(U\+0007\)"):
        import_all(path)
