"""The shipped fact base: one TOML file a relation in `base/`, names in other languages in `base/names/`."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from lashley.core.fact import Relation, Template

_BASE = files("lashley.facts") / "base"


def _read(path: Traversable) -> dict:
    return tomllib.loads(path.read_text(encoding="utf-8"))


@cache
def shipped() -> dict[str, Relation]:
    """The relations that come with the package, by name, sorted."""
    names = {p.name.removesuffix(".toml"): _read(p)["names"] for p in (_BASE / "names").iterdir()}
    relations = {}
    for path in sorted((p for p in _BASE.iterdir() if p.name.endswith(".toml")), key=lambda p: p.name):
        raw = _read(path)
        relations[raw["relation"]] = Relation(
            name=raw["relation"],
            source=raw["source"],
            templates=tuple(Template(**t) for t in raw["template"]),
            objects=raw["facts"],
            names=names,
            aliases={own: tuple(others) for own, others in raw.get("aliases", {}).items()},
        )
    return relations
