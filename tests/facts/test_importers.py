"""Relation files as they come: what is cleaned is said, what cannot be read is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lashley.core.errors import BadFact
from lashley.core.fact import Relation, Template
from lashley.facts import importers
from lashley.facts.importers import import_relation, imported, save

LRE = {
    "name": "Country capital-city",
    "prompt_templates": ["The capital city of {} is", "The capital of {} is "],
    "prompt_templates_zs": ["The capital of {} is", "What is the capital of {}? It is the city of"],
    "properties": {"relation_type": "factual", "symmetric": False},
    "samples": [
        {"subject": "France", "object": "Paris"},
        {"subject": "Brazil", "object": "Bras\\u00edlia"},  # a literal escape, as in the data set
        {"subject": "Japan", "object": "Tokyo "},
        {"subject": "France", "object": "Paris"},
        {"subject": "Japan", "object": "Kyoto"},
        {"subject": "Nowhere", "object": ""},
        {"subject": "São Tomé", "object": ["São Tomé", "Santo António"]},
    ],
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LASHLEY_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(importers, "shipped", lambda: {"capital": None})
    return tmp_path / "home"


def lre(folder: Path, **changes: object) -> Path:
    path = folder / "relation.json"
    path.write_text(json.dumps(LRE | changes), encoding="utf-8")
    return path


def test_a_relation_of_the_lre_data_set_is_cleaned_and_every_change_is_noted(tmp_path: Path) -> None:
    relation, notes = import_relation(lre(tmp_path))
    assert relation.name == "country_capital_city"
    assert relation.objects == {
        "France": "Paris",
        "Brazil": "Brasília",
        "Japan": "Tokyo",
        "São Tomé": "São Tomé",
    }
    assert [(t.text, t.register) for t in relation.templates] == [
        ("The capital city of {} is", "statement"),
        ("The capital of {} is", "statement"),
        ("What is the capital of {}? It is the city of", "question"),
    ]
    assert "relation.json" in relation.source and "2308.09124" in relation.source
    assert notes == [
        "objects given as a list, the first kept: 1 (São Tomé)",
        "names with literal \\u escapes, decoded: 1 (Brasília)",
        "names with stray blanks, trimmed: 1 (Tokyo)",
        "samples without a subject or an object, dropped: 1 (Nowhere)",
        "samples that repeat one before, dropped: 1 (France)",
        "samples that give a subject a second object, dropped (the first is kept): 1 (Japan)",
    ]


@pytest.mark.parametrize(
    "typed, kept", [("{} is ", "{} is"), (" {} is  ", "{} is"), ("{}:\n", "{}:\n"), ("\tIn {}", "\tIn {}")]
)
def test_line_breaks_around_a_template_stay_and_blanks_are_told(tmp_path, monkeypatch, typed, kept) -> None:
    monkeypatch.setenv("LASHLEY_HOME", str(tmp_path))
    relation, notes = import_relation(lre(tmp_path, prompt_templates=[typed], prompt_templates_zs=[]))
    assert [t.text for t in relation.templates] == [kept]
    assert any("templates with stray blanks" in note for note in notes) == (typed.strip(" ") not in (typed, typed[:-1]))
    assert import_relation(save(relation))[0].templates == relation.templates


def test_a_clean_file_has_no_notes_and_a_byte_order_mark_is_no_matter(tmp_path: Path) -> None:
    path = lre(tmp_path, samples=[{"subject": s, "object": s * 2} for s in "ab"])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert import_relation(str(path))[1] == []


def test_escapes_of_two_halves_make_one_character_and_of_one_half_stay(tmp_path: Path) -> None:
    samples = [{"subject": "smile", "object": "\\ud83d\\ude00"}, {"subject": "half", "object": "\\ud83d"}]
    relation, _ = import_relation(lre(tmp_path, samples=samples))
    assert relation.objects == {"smile": "\U0001f600", "half": "\\ud83d"}


def test_a_relation_without_any_foil_is_said_to_be_one(tmp_path: Path) -> None:
    _, notes = import_relation(lre(tmp_path, samples=[{"subject": "a", "object": "b"}]))
    assert notes == ["relations of one object, so that no fact has a foil: 1 (country_capital_city)"]


def test_the_projects_own_format_is_read_and_written_back_the_same(home: Path) -> None:
    relation = Relation(
        "odd_one",
        'says "so"\n\x7f\\',
        (Template("{} is", "list", "en"), Template("« {} » est", "statement", "fr")),
        {'a "quoted" name': "b = c", "[x.y]": "é\U0001f600", "#": "\\n"},
        {"fr": {"#": "dièse"}},
        {"\\n": ("the line's end", 'a "b"')},
    )
    path = save(relation)
    assert path == home / "facts" / "odd_one.toml"
    assert import_relation(path) == (relation, [])
    assert imported() == {"odd_one": relation}
    assert [p.name for p in path.parent.iterdir()] == ["odd_one.toml"]  # nothing half-written is left


def test_other_names_are_of_objects_there(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('relation = "r"\n[[template]]\ntext = "{} is"\n[facts]\na = "b"\n[aliases]\nc = ["d"]\n')
    with pytest.raises(BadFact, match="aliases of 'c', which is no object; write"):
        import_relation(path)


def test_an_import_is_found_again_and_a_second_one_replaces_it(tmp_path: Path) -> None:
    assert imported() == {}
    first, _ = import_relation(lre(tmp_path))
    save(first)
    second, _ = import_relation(lre(tmp_path, samples=[{"subject": "Italy", "object": "Rome"}]))
    save(second)
    assert imported() == {"country_capital_city": second}


def test_the_name_of_a_shipped_relation_is_refused(tmp_path: Path) -> None:
    relation, _ = import_relation(lre(tmp_path, name="Capital"))
    with pytest.raises(BadFact, match="comes with lashley and cannot be replaced"):
        save(relation)


def test_a_folder_that_cannot_be_written_is_said_to_be_one(home: Path) -> None:
    home.write_text("a file where the folder should be")
    with pytest.raises(BadFact, match="set LASHLEY_HOME"):
        save(Relation("a", "", (Template("{} is"),), {"b": "c"}))


def test_a_broken_import_is_named(home: Path) -> None:
    (home / "facts").mkdir(parents=True)
    (home / "facts" / "bad.toml").write_text("relation = ")
    with pytest.raises(BadFact, match=r"mend or delete it: .*bad\.toml"):
        imported()


def test_without_lashley_home_the_users_data_folder_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LASHLEY_HOME")
    assert importers.folder().parts[-2:] == ("lashley", "facts")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"samples": []}, "holds no fact"),
        ({"samples": [{"subject": " ", "object": "x"}]}, "holds no fact"),
        ({"samples": None}, r"samples.*it needs name, prompt_templates"),
        ({"samples": [{"subject": "a"}]}, r"missing required field `object`"),
        ({"samples": [{"subject": "a", "object": 3}]}, r"\$\.samples\[0\]\.object"),
        ({"prompt_templates": [], "prompt_templates_zs": []}, "holds no template"),
        ({"prompt_templates": ["The capital is"]}, r"has 0 slots; write exactly one \{\}"),
        ({"prompt_templates": ["{} and {}"]}, "has 2 slots"),
        ({"prompt_templates": [" {} "]}, "asks nothing"),
        ({"name": "?!"}, "holds no name"),
        ({"name": 7}, r"\$\.name"),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path: Path, changes: dict, says: str) -> None:
    with pytest.raises(BadFact, match=says) as error:
        import_relation(lre(tmp_path, **changes))
    assert "relation.json" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", b"", "is not JSON"),
        ("a.json", b"not json", "is not JSON"),
        ("a.json", b"[]", "is not a relation"),
        ("a.json", b'{"relation": "x"}', "missing required field `name`"),
        ("a.json", b"[" * 100_000, "is not"),
        ("a.json", b'{"name": "\\ud800"}', "is not"),
        ("a.json", b"\xff\xfe\x00", "is not UTF-8"),
        ("a.txt", b"France Paris", "is not JSON"),
        ("a.toml", b"= 3", "is not TOML"),
        ("a.toml", b'relation = "x"', "missing required field `template`"),
        ("a.toml", b'relation = "x"\nfacts = {a = "b"}\ntemplate = [{text = "no slot"}]', "has 0 slots"),
        ("a.toml", b'relation = "x"\nfacts = {a = "b"}\ntemplate = [{txt = "{}"}]', "unknown field `txt`"),
        ("a.toml", b'relation = "x"\nfacts = {a = 1}\ntemplate = [{text = "{} is"}]', "Expected `str`"),
        ("a.toml", b'relation = "x"\nfacts = {}\ntemplate = [{text = "{} is"}]', "holds no fact"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadFact, match=says) as error:
        import_relation(path)
    assert name in str(error.value) and "\n" not in str(error.value)


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFact, match="is a folder"):
        import_relation(tmp_path)
    with pytest.raises(BadFact, match="does not exist"):
        import_relation(tmp_path / "nothing.json")
    with pytest.raises(BadFact, match="cannot be read"):
        import_relation("a\0b")
