"""Relations from files: read, cleaned, kept in the user's own folder, found again by name.

Two formats are read: JSON as in the LRE data set (Hernandez et al. 2308.09124), and the project's own TOML,
as in `facts/base/`. What had to be changed on the way in is said in notes, never done in silence.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec
import platformdirs

from lashley.core.errors import BadFact
from lashley.core.fact import SLOT, Relation, Template
from lashley.facts.base import shipped

_ESCAPES = re.compile(r"(?:\\u[0-9a-fA-F]{4})+")


class _Sample(msgspec.Struct):
    subject: str
    object: str | list[str]


class _Json(msgspec.Struct):
    """A relation file of the LRE data set; other keys (`properties`, ...) are not read."""

    name: str
    prompt_templates: list[str]
    samples: list[_Sample]
    prompt_templates_zs: list[str] = []


class _Text(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    register: str = "statement"
    language: str = "en"


class _Toml(msgspec.Struct, forbid_unknown_fields=True):
    """A relation file of this project; `names` and `aliases` as in `Relation`."""

    relation: str
    template: list[_Text]
    facts: dict[str, str]
    source: str = ""
    names: dict[str, dict[str, str]] = {}
    aliases: dict[str, list[str]] = {}


_NEEDS: dict[type, str] = {
    _Json: 'name, prompt_templates and samples: [{"subject": ..., "object": ...}]',
    _Toml: "relation, [[template]] with text, and [facts] with subject = object",
}
_File = TypeVar("_File", _Json, _Toml)


def slug(name: str) -> str:
    """A relation's name as it is stored and looked up.

    >>> slug("Country capital-city ")
    'country_capital_city'
    """
    return re.sub(r"[\W_]+", "_", name.lower()).strip("_")


def import_relation(path: str | Path) -> tuple[Relation, list[str]]:
    """Read a relation file (`.toml`: the project's own format, anything else: JSON of the LRE data set).

    Returns the relation, named by the slug of the name inside the file, and one note for each kind of thing
    that was changed: escapes decoded, blanks trimmed, repeated subjects dropped (the first is kept), ...
    Raises `BadFact` for a file that cannot be read, has another shape, or leaves no fact or no template.
    """
    path = Path(path)
    text = _text(path)
    if path.suffix.lower() == ".toml":
        toml = _decode(path, text, _Toml)
        templates = [(t.text, t.register, t.language) for t in toml.template]
        notes, relation = _clean(path, toml.relation, toml.source, templates, toml.facts.items())
        aliases = {o: tuple(filter(None, (" ".join(n.split()) for n in names))) for o, names in toml.aliases.items()}
        if unknown := sorted(aliases.keys() - set(relation.objects.values())):
            raise BadFact(
                f"{path}: aliases of {unknown[0]!r}, which is no object; write [aliases] of objects in [facts]"
            )
        return msgspec.structs.replace(relation, names=toml.names, aliases=aliases), notes
    lre = _decode(path, text, _Json)
    asks = [(t, "question" if "?" in t else "statement", "en") for t in lre.prompt_templates + lre.prompt_templates_zs]
    pairs, lists = [], 0
    for sample in lre.samples:
        several = isinstance(sample.object, list)
        lists += several
        pairs.append((sample.subject, "".join(sample.object[:1]) if several else sample.object))
    source = f"{path.name}, a relation in the format of the LRE data set (Hernandez et al. 2308.09124)"
    notes, relation = _clean(path, lre.name, source, asks, pairs)
    if lists:
        notes.append(f"objects given as a list, the first kept: {lists}")
    return relation, notes


def folder() -> Path:
    """Where imported relations are kept: `facts/` in LASHLEY_HOME, or in the user's data folder."""
    home = os.environ.get("LASHLEY_HOME")
    return (Path(home).expanduser() if home else platformdirs.user_data_path("lashley")) / "facts"


def save(relation: Relation) -> Path:
    """Keep a relation as `<slug>.toml` in `folder()`, replacing one of the same name; returns the file.

    Raises `BadFact` for the name of a shipped relation, or where the folder cannot be written.
    """
    name = slug(relation.name)
    if name in shipped():
        raise BadFact(f"relation {name!r} comes with lashley and cannot be replaced; give the file another name inside")
    path = folder() / f"{name}.toml"
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(_toml(msgspec.structs.replace(relation, name=name)), encoding="utf-8", newline="\n")
        part.replace(path)  # whole or not at all
    except OSError as e:
        with suppress(OSError):
            part.unlink()
        raise BadFact(f"{path}: {e.strerror or e}; set LASHLEY_HOME to a folder that can be written") from e
    return path


def imported() -> dict[str, Relation]:
    """The relations in `folder()`, by name, sorted. Raises `BadFact` for a file there that is broken."""
    try:
        found = (import_relation(path)[0] for path in sorted(folder().glob("*.toml")))
        return {relation.name: relation for relation in found}
    except BadFact as e:
        raise BadFact(f"an imported relation is broken; mend or delete it: {e}") from e


def _text(path: Path) -> str:
    if path.is_dir():
        raise BadFact(f"{path} is a folder; name one relation file in it")
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as e:
        raise BadFact(f"{path} does not exist; check the path") from e
    except UnicodeDecodeError as e:
        raise BadFact(f"{path} is not UTF-8 text; save it as UTF-8, or name a .json or .toml relation file") from e
    except (OSError, ValueError) as e:  # ValueError: a NUL in the path
        raise BadFact(f"{str(path)!r} cannot be read ({e}); check the path and its permissions") from e


def _decode(path: Path, text: str, kind: type[_File]) -> _File:
    """The file's content; its shape is checked, its words are not."""
    try:
        return (msgspec.toml if kind is _Toml else msgspec.json).decode(text, type=kind)
    except msgspec.ValidationError as e:
        raise BadFact(f"{path} is not a relation ({e}); it needs {_NEEDS[kind]}") from e
    except (ValueError, RecursionError) as e:  # msgspec.DecodeError is a ValueError
        raise BadFact(f"{path} is not {kind.__name__[1:].upper()} ({e}); name a .json or .toml relation file") from e


def _clean(
    path: Path,
    name: str,
    source: str,
    asks: Iterable[tuple[str, str, str]],
    pairs: Iterable[tuple[str, str]],
) -> tuple[list[str], Relation]:
    """A relation of templates (text, register, language) and facts (subject, object); what was changed."""
    objects: dict[str, str] = {}
    decoded, trimmed, empty, repeated, contrary = [], [], [], [], []
    for raw in pairs:
        words = [_unescape(word) for word in raw]
        decoded += [new for old, new in zip(raw, words, strict=True) if old != new]
        subject, answer = (" ".join(word.split()) for word in words)
        trimmed += [new for old, new in zip(words, (subject, answer), strict=True) if old != new]
        if not subject or not answer:
            empty.append(subject or answer or "both missing")
        elif subject in objects:
            (repeated if objects[subject] == answer else contrary).append(subject)
        else:
            objects[subject] = answer
    try:
        templates = {t.text: t for t in (Template(_unescape(x).strip(), r, la) for x, r, la in asks)}
    except BadFact as e:
        raise BadFact(f"{path}: {e}") from e
    if bare := next((t for t in templates if t == SLOT), None):
        raise BadFact(f"{path}: template {bare!r} asks nothing; write a sentence around the {{}}")
    for what, there in (("name", slug(name)), ("template", templates), ("fact", objects)):
        if not there:
            raise BadFact(f"{path} holds no {what}; a relation needs a name, a template with a {{}}, and facts")
    notes = [
        f"{what}: {len(names)} ({_some(names)})"
        for what, names in (
            ("names with literal \\u escapes, decoded", decoded),
            ("names with stray blanks, trimmed", trimmed),
            ("samples without a subject or an object, dropped", empty),
            ("samples that repeat one before, dropped", repeated),
            ("samples that give a subject a second object, dropped (the first is kept)", contrary),
        )
        if names
    ]
    if len(set(objects.values())) == 1:
        notes.append(f"every object is {next(iter(objects.values()))!r}: no fact here has a foil")
    return notes, Relation(slug(name), source, tuple(templates.values()), objects)


def _unescape(text: str) -> str:
    r"""Decode literal `\u00ed` as some data sets hold; an escape of half a character stays as it is."""

    def decode(found: re.Match[str]) -> str:
        new = json.loads(f'"{found[0]}"')
        return found[0] if any("\ud800" <= c <= "\udfff" for c in new) else new

    return _ESCAPES.sub(decode, text)


def _some(names: list[str], most: int = 5) -> str:
    first = list(dict.fromkeys(names))
    return ", ".join(first[:most]) + (", ..." if len(first) > most else "")


def _quote(text: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml(relation: Relation) -> str:
    """The relation in the project's own format; `import_relation` reads back the same."""
    lines = [f"relation = {_quote(relation.name)}", f"source = {_quote(relation.source)}"]
    for t in relation.templates:
        fields = (("text", t.text), ("register", t.register), ("language", t.language))
        lines += ["", "[[template]]", *(f"{key} = {_quote(value)}" for key, value in fields)]
    tables = {"facts": relation.objects}
    tables |= {f"names.{_quote(language)}": names for language, names in relation.names.items()}
    for title, table in tables.items():
        lines += ["", f"[{title}]", *(f"{_quote(key)} = {_quote(value)}" for key, value in table.items())]
    lists = {own: ", ".join(map(_quote, others)) for own, others in relation.aliases.items()}
    lines += ["", "[aliases]", *(f"{_quote(own)} = [{others}]" for own, others in lists.items())] if lists else []
    return "\n".join(lines) + "\n"
