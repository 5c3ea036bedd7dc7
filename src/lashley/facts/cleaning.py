"""What a file holds, made fit to be asked about; what had to be changed is said, never done in silence."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from lashley.core.errors import BadFact, excerpt
from lashley.core.fact import BLANK, SLOT, Relation, Template
from lashley.facts.formats import Notes, Raw

_ESCAPES = re.compile(r"(?:\\u[0-9a-fA-F]{4})+")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff\ud800-\udfff]")


def slug(name: str) -> str:
    """A relation's name as it is stored and looked up.

    >>> slug("Country capital-city ")
    'country_capital_city'
    """
    return re.sub(r"[\W_]+", "_", name.lower()).strip("_")


def merged(notes: Iterable[Notes]) -> Notes:
    """All notes as one, without those that name nothing."""
    made: dict[str, list[str]] = {}
    for what, names in (item for note in notes for item in note.items() if item[1]):
        made.setdefault(what, []).extend(names)
    return made


def said(notes: Notes) -> list[str]:
    """One line a note."""
    return [f"{what}: {len(names):,} ({_some(names)})" for what, names in notes.items()]


def sound(text: str, path: Path, what: str) -> str:
    """The text, if nothing in it is a control character or half a character. Raises `BadFact`."""
    if bad := _CONTROL.search(text):
        code = f"U+{ord(bad[0]):04X}"
        raise BadFact(
            f"{path}, {what}: a control character ({code}) in '{''.join(excerpt(text, bad.start()))}'; delete it"
        )
    return text


def clean(path: Path, raw: Raw) -> tuple[Relation, Notes]:
    """The relation, with its name a slug, and what was changed."""
    objects: dict[str, str] = {}
    decoded, trimmed, empty, repeated, contrary = [], [], [], [], []
    for number, pair in enumerate(raw.pairs, 1):
        words = [_unescape(word) for word in pair]
        decoded += [new for old, new in zip(pair, words, strict=True) if old != new]
        for word, part in zip(words, ("subject", "object"), strict=True):
            sound(word, path, f"{part} of fact {number}")
        subject, answer = (" ".join(word.split()) for word in words)
        trimmed += [new for old, new in zip(words, (subject, answer), strict=True) if old != new]
        if not subject or not answer:
            empty.append(subject or answer or "both missing")
        elif subject in objects:
            (repeated if objects[subject] == answer else contrary).append(subject)
        else:
            objects[subject] = answer
    templates, asks = _templates(path, raw)
    for what, there in (("name", slug(raw.name)), ("template", templates), ("fact", objects)):
        if not there:
            raise BadFact(f"{path} holds no {what}; a relation needs a name, a template with a {{}}, and facts")
    notes = {
        **raw.notes,
        "names with literal \\u escapes, decoded": decoded,
        "names with stray blanks, trimmed": trimmed,
        "templates with stray blanks, trimmed": asks,
        "samples without a subject or an object, dropped": empty,
        "samples that repeat one before, dropped": repeated,
        "samples that give a subject a second object, dropped (the first is kept)": contrary,
        "relations of one object, so that no fact has a foil": [slug(raw.name)][: len(set(objects.values())) == 1],
    }
    found = Relation(slug(raw.name), raw.source, tuple(templates), objects)
    return found, merged([notes])


def _templates(path: Path, raw: Raw) -> tuple[list[Template], list[str]]:
    """The templates, and those of them whose blanks at either end were too many; line breaks stay, for answers follow
    one without a blank, and one blank at the end is what answers follow anyway."""
    made: dict[str, Template] = {}
    trimmed = []
    for number, (text, register, language) in enumerate(raw.asks, 1):
        typed = sound(_unescape(text), path, f"template {number}")
        text = typed.strip(BLANK)
        trimmed += [text] * (typed not in (text, text + BLANK))
        if text.strip() == SLOT:
            raise BadFact(f"{path}: template {text!r} asks nothing; write a sentence around the {{}}")
        try:
            made[text] = Template(text, register, language)
        except BadFact as e:
            raise BadFact(f"{path}: {e}") from e
    return list(made.values()), trimmed


def _unescape(text: str) -> str:
    r"""Decode literal `\u00ed` as some data sets hold; an escape of half a character stays as it is."""

    def decode(found: re.Match[str]) -> str:
        new = json.loads(f'"{found[0]}"')
        return found[0] if any("\ud800" <= c <= "\udfff" for c in new) else new

    return _ESCAPES.sub(decode, text)


def _some(names: Sequence[str], most: int = 5) -> str:
    first = ["".join(excerpt(name, width=60)) for name in dict.fromkeys(names)]
    return ", ".join(first[:most]) + (", ..." if len(first) > most else "")
