"""Relations from files: read, cleaned, kept in the user's own folder, found again by name.

The project's own TOML, as in `facts/base/`, and the formats of public data sets (`lashley.facts.formats`). What had to
be changed on the way in is said in notes, never done in silence.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import msgspec

from lashley.core.errors import BadFact
from lashley.core.fact import Relation
from lashley.core.places import data
from lashley.facts import formats
from lashley.facts.base import shipped
from lashley.facts.cleaning import clean, merged, said, slug, sound
from lashley.facts.formats import Notes, Raw

_ENDS = (".json", ".jsonl", ".ndjson", ".toml")  # of what is taken from a folder


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


class Taken(NamedTuple):
    """What was taken from a file or folder, what was changed in it, and what was left out."""

    relations: tuple[Relation, ...]
    notes: Notes
    left: Notes

    def __str__(self) -> str:
        facts, templates = sum(len(r.objects) for r in self.relations), sum(len(r.templates) for r in self.relations)
        one = len(self.relations) == 1
        what = f"relation {', '.join(r.name for r in self.relations)}" if one else f"{len(self.relations)} relations"
        left = f"; left out: {'; '.join(said(self.left))}" if self.left else ""
        return f"{what}: {facts:,} fact{'s' * (facts != 1)}, {templates:,} template{'s' * (templates != 1)}{left}"


def import_all(path: str | Path) -> Taken:
    """Read a file of relations in any format, or every one of a folder; see `Taken`.

    Relations are named by the slug of the name or id inside the file, with the data set before an id. Raises `BadFact`
    for a file that cannot be read, has another shape, or leaves no relation with a fact and a template.
    """
    path = Path(path)
    if not path.is_dir():
        return _file(path)
    taken, left = [], []
    for part in sorted(p for p in path.iterdir() if p.suffix.lower() in _ENDS):
        try:
            if not part.name.endswith((formats.PROMPTS, *formats.BESIDE)):  # RAVEL's: read with another, or no facts
                taken.append(_file(part))
        except BadFact as e:
            left.append(str(e).removeprefix(f"{path}/"))
    if not taken:
        why = f": {left[0]}" if left else f"; name one with files that end in {', '.join(_ENDS)}"
        raise BadFact(f"{path} is a folder without relations{why}")
    relations = tuple(r for one in taken for r in one.relations)
    unread = {"files": left} if left else {}
    return Taken(relations, merged(one.notes for one in taken), merged([*(one.left for one in taken), unread]))


def import_relation(path: str | Path) -> tuple[Relation, list[str]]:
    """Read a file of one relation: the relation, and one note for each kind of thing that was changed or left out.
    Raises `BadFact` as `import_all` does, and for a folder or a file of several."""
    taken = _file(Path(path))
    relation, *others = taken.relations
    if others:
        raise BadFact(f"{path} holds {len(taken.relations)} relations; import them with `lashley facts import {path}`")
    return relation, said(merged([taken.notes, taken.left]))


def _file(path: Path) -> Taken:
    text = _text(path)
    if path.suffix.lower() == ".toml":
        return _own(path, text)
    raws = formats.read(path, text, _text, lambda name: _patterns(path, name))
    relations, notes, left = [], [], []
    for raw in raws:
        try:
            relation, changed = clean(path, raw)
        except BadFact as e:
            if len(raws) == 1:
                raise
            why = str(e).removeprefix(f"{path}").strip(" ,:").partition(";")[0]
            left.append({"relations": [f"{slug(raw.name)}: {why}"]})
            continue
        aliases = {own: _called()[own] for own in dict.fromkeys(relation.objects.values()) if own in _called()}
        relations.append(msgspec.structs.replace(relation, aliases=aliases))
        notes += [changed, {"objects with other names, which count as them": list(aliases)}]
        left.append(raw.left)
    if not relations:
        why = "; ".join(said(merged(left)))[:300] or "it is empty"
        raise BadFact(f"{path} holds no relation that can be asked about: {why}")
    return Taken(tuple(relations), merged(notes), merged(left))


def _own(path: Path, text: str) -> Taken:
    """A file in the project's own format."""
    try:
        toml = msgspec.toml.decode(text, type=_Toml)
    except msgspec.ValidationError as e:
        needs = "relation, [[template]] with text, and [facts] with subject = object"
        raise BadFact(f"{path} is not a relation ({e}); it needs {needs}") from e
    except (ValueError, RecursionError) as e:  # msgspec.DecodeError is a ValueError
        raise BadFact(f"{path} is not TOML ({e}); name a .json, .jsonl or .toml relation file") from e
    asks = [(t.text, t.register, t.language) for t in toml.template]
    relation, notes = clean(path, Raw(toml.relation, toml.source, asks, list(toml.facts.items())))
    aliases = {o: tuple(filter(None, (" ".join(n.split()) for n in names))) for o, names in toml.aliases.items()}
    if unknown := sorted(aliases.keys() - set(relation.objects.values())):
        raise BadFact(f"{path}: aliases of {unknown[0]!r}, which is no object; write [aliases] of objects in [facts]")
    for word in (
        *(n for held in toml.names.values() for n in held.values()),
        *(n for x in aliases.values() for n in x),
    ):
        sound(word, path, f"name {word!r}")
    relation = msgspec.structs.replace(relation, names=toml.names, aliases=aliases)
    return Taken((relation,), notes, {})


def _patterns(path: Path, name: str) -> list[str]:
    """ParaRel's templates of a relation's id, from a file beside, or as they were imported; [] where there are none."""
    if not name.isalnum():  # else no name of a file
        return []
    for file in (path.with_name(f"{name}.json"), path.parent.parent / "pararel" / f"{name}.json"):
        if file.is_file():
            return [text for raw in formats.read(file, _text(file), _text, lambda _: []) for text, *_ in raw.asks]
    own = folder() / f"{slug(f'pararel {name}')}.toml"
    return [t.text for t in import_relation(own)[0].templates] if own.is_file() else []


@cache
def _called() -> Mapping[str, tuple[str, ...]]:
    """Other names of things, by each name; one table for all imports."""
    held = tomllib.loads((files("lashley.facts") / "aliases.toml").read_text(encoding="utf-8"))
    return {name: tuple(n for n in names if n != name) for names in held["names"] for name in names}


def folder() -> Path:
    """Where imported relations are kept: `facts/` in LASHLEY_HOME, or in the user's data folder."""
    return data() / "facts"


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
