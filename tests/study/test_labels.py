"""Labels are part of a sweep's key: words of the prompt, or codes that stand in the source as they are."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import lashley
from lashley.facts.joins import told
from lashley.facts.question import Question, resolve
from lashley.prompts import joining
from lashley.study.study import Study

from .test_fossils import WHOLE, copied

OWN = {  # words of prompts, the fact base or the model
    *("relation", "subject", "object", "foil", "answer", "foil_answer", "pair", "template", "language", "tokens"),
    *("most", "set"),
}
NUMBER = re.compile(r"(?:(?<=[ (:])|^)(?:[0-9.]+(?:e[+-]?[0-9]+)?|inf)(?=[ )]|$)")


@pytest.fixture(scope="module")
def constants() -> set[str]:
    """Every text in the source that stands for itself, numbers left out."""
    found = set()
    for file in Path(lashley.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(bare(node.value))
    return found


def bare(text: str) -> str:
    return " ".join(NUMBER.sub("", text).split()).rstrip("?")


def wrong(labels: Iterable[tuple[str, str]], constants: set[str]) -> set[tuple[str, str]]:
    """Labels that are no codes."""
    every = {(name, text) for name, text in labels if name not in OWN}
    return {(n, t) for n, t in every if bare(t) not in constants or len(t) > 40 or re.search(r"[,;:.!] |[.,;:]$", t)}


@pytest.mark.parametrize("name", WHOLE)
def test_labels_are_codes(tmp_path, constants, name):
    sweeps = Study.open(copied(name, tmp_path)).ledger.sweeps()
    assert not wrong((label for sweep in sweeps for label in sweep.labels.items()), constants)


def test_how_answers_join_is_a_code_and_its_words_are_made_for_the_page(constants, monkeypatch):
    monkeypatch.setattr(joining, "DOUBT", 1e6)
    bench = lashley.open_model("embedded-gpt2")
    fact: Any = {"subject": "France", "object": "Paris", "foil_object": "Rome"}
    ends = (' is "', " is (", ":\n", " is  ", " is", " -", " is…")
    asked = (resolve(Question(f"The capital of {{}}{end}", **fact), "noise") for end in ends)
    codes = {template.joined for one in asked for template in joining.settled(bench, one).templates}
    assert not wrong((("join", code) for code in codes), constants) and {"", "none", "typed 2"} < codes
    assert any(code.startswith("blank? ") for code in codes)
    assert all(len(told(code)) > len(code) for code in codes - {""})
