"""Facts as public data sets write them: which format a file has, and what it holds, not yet cleaned.

LRE           a relation a file (Hernandez et al. 2308.09124)
known facts   one list of facts with their prompts, of many relations (known_1000 of ROME, Meng et al. 2202.05262)
CounterFact   the same with counterfactual objects, as the original JSON, or JSON lines without the rewrite's prompt
ParaRel       patterns with [X] and [Y], a relation a file (Elazar et al. 2102.01017)
RAVEL         entities with attributes, and the prompts of each in a file beside (Huang et al. 2402.17700)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import msgspec

from lashley.core.errors import BadFact
from lashley.core.fact import SLOT

SHARED = 2  # cases that share a paraphrase, as which it is one of the relation
ENTITIES, PROMPTS = "_entity_attributes.json", "_attribute_to_prompts.json"  # RAVEL's files that belong together
BESIDE = ("_entity_to_split.json", "_prompt_to_split.json", "_entity_prompts.json")  # and those without facts
_Y_LAST = re.compile(r"(.*)\[Y\]\s*\.?\s*", re.S)
_SENTENCE = re.compile(r"[.!?][\"')]?\s+|\n")


Notes = Mapping[str, Sequence[str]]  # what was done -> the names that it was done to
NOTHING: Notes = MappingProxyType({})


class Raw(NamedTuple):
    """A relation as a file has it: templates (text, register, language), and (subject, object) pairs; what was changed
    (`notes`) and left out (`left`)."""

    name: str
    source: str
    asks: list[tuple[str, str, str]]
    pairs: list[tuple[str, str]]
    notes: Notes = NOTHING
    left: Notes = NOTHING


class _Sample(msgspec.Struct):
    subject: str
    object: str | list[str]


class _Lre(msgspec.Struct):
    """Other keys (`properties`, ...) are not read."""

    name: str
    prompt_templates: list[str]
    samples: list[_Sample]
    prompt_templates_zs: list[str] = []


class _Known(msgspec.Struct):
    """`template` is the prompt without its last words in places, and not read."""

    subject: str
    attribute: str
    prompt: str
    relation_id: str


class _Target(msgspec.Struct):
    text: str = msgspec.field(name="str")


class _Rewrite(msgspec.Struct):
    prompt: str
    relation_id: str
    target_true: _Target
    subject: str


class _Original(msgspec.Struct):
    requested_rewrite: _Rewrite


class _Case(msgspec.Struct):
    subject: str
    relation_id: str
    target_true: str
    paraphrase_prompts: list[str] = []


class _ParaRel(msgspec.Struct):
    relation_id: str
    patterns: list[str]
    samples: list[_Sample]


_T = TypeVar("_T")
Patterns = Callable[[str], list[str]]  # the templates that are known of a relation's id, [] where none are


def read(path: Path, text: str, beside: Callable[[Path], str], patterns: Patterns) -> list[Raw]:
    """What a file holds. `beside` reads another file, `patterns` are templates of other files. Raises `BadFact`."""
    held = _held(path, text)
    first = held[0] if isinstance(held, list) and held and isinstance(held[0], dict) else {}
    if path.name.endswith((ENTITIES, PROMPTS)):
        return list(_ravel(path, beside))
    if path.name.endswith(BESIDE):
        raise BadFact(f"{path} holds no facts; name the file of RAVEL that ends in {ENTITIES}, or the folder")
    if "requested_rewrite" in first:
        return list(_original(_typed(path, held, list[_Original], "requested_rewrite in each case")))
    if "target_true" in first:
        cases = _typed(path, held, list[_Case], "subject, relation_id and target_true in each case")
        return list(_counterfact(path, cases, patterns))
    if "attribute" in first:
        return list(_known(_typed(path, held, list[_Known], "subject, attribute, prompt and relation_id in each fact")))
    if isinstance(held, dict) and "patterns" in held:
        return [_pararel(_typed(path, held, _ParaRel, "relation_id, patterns, and samples with subject and object"))]
    needs = 'name, prompt_templates and samples: [{"subject": ..., "object": ...}]'
    return [_lre(path, _typed(path, held, _Lre, f"{needs} (LRE), or another format of `lashley facts import --help`"))]


def _held(path: Path, text: str) -> Any:
    """A file's JSON, or the list of its lines."""
    lines = path.suffix.lower() in (".jsonl", ".ndjson")
    parts = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()] if lines else [(0, text)]
    held = []
    for number, part in parts:
        try:
            held.append(msgspec.json.decode(part))
        except (ValueError, RecursionError) as e:  # msgspec.DecodeError is a ValueError
            where = f"{path}, line {number}," if number else str(path)
            raise BadFact(f"{where} is not JSON ({e}); name a .json, .jsonl or .toml relation file") from e
    return held if lines else held[0]


def _typed(path: Path, held: object, kind: type[_T], needs: str) -> _T:
    """The same with its shape checked; its words are not."""
    try:
        return msgspec.convert(held, kind)
    except msgspec.ValidationError as e:
        raise BadFact(f"{path} is not a relation ({e}); it needs {needs}") from e


def _asks(texts: Sequence[str]) -> list[tuple[str, str, str]]:
    return [(t, "question" if "?" in t else "statement", "en") for t in texts]


def _lre(path: Path, held: _Lre) -> Raw:
    lists = [s.subject for s in held.samples if isinstance(s.object, list)]
    pairs = [(s.subject, s.object if isinstance(s.object, str) else "".join(s.object[:1])) for s in held.samples]
    source = f"{path.name}, a relation in the format of the LRE data set (Hernandez et al. 2308.09124)"
    asks = _asks(held.prompt_templates + held.prompt_templates_zs)
    return Raw(held.name, source, asks, pairs, {"objects given as a list, the first kept": lists})


def _grouped(cases: Sequence[_T], relation: Callable[[_T], str]) -> dict[str, list[_T]]:
    groups: dict[str, list[_T]] = {}
    for case in cases:
        groups.setdefault(relation(case), []).append(case)
    return groups


def _known(facts: Sequence[_Known]) -> Iterator[Raw]:
    for name, some in _grouped(facts, lambda f: f.relation_id).items():
        slotted = {f.prompt: _slotted(f.prompt, f.subject) for f in some}
        left = {"prompts that do not name their subject": [p for p, t in slotted.items() if not t]}
        source = f"{name} of a list of known facts (after known_1000, Meng et al. 2202.05262)"
        pairs = [(f.subject, f.attribute) for f in some]
        yield Raw(f"known {name}", source, _asks([*filter(None, slotted.values())]), pairs, left=left)


def _slotted(prompt: str, subject: str) -> str:
    """The prompt with a slot in place of the last mention of its subject; "" where there is none."""
    head, found, tail = prompt.rpartition(subject) if subject else ("", "", "")
    return head + SLOT + tail if found and SLOT not in head + tail else ""


def _original(cases: Sequence[_Original]) -> Iterator[Raw]:
    rewrites = [case.requested_rewrite for case in cases]
    for name, some in _grouped(rewrites, lambda r: r.relation_id).items():
        source = f"{name} of CounterFact (Meng et al. 2202.05262)"
        pairs = [(r.subject, r.target_true.text) for r in some]
        yield Raw(f"counterfact {name}", source, _asks([r.prompt for r in some]), pairs)


def _counterfact(path: Path, cases: Sequence[_Case], patterns: Patterns) -> Iterator[Raw]:
    """Cases without the prompt of their rewrite: ParaRel's patterns of the relation, or else the paraphrases that
    several cases share, without the sentences before them."""
    for name, some in _grouped(cases, lambda c: c.relation_id).items():
        said = Counter(_slotted(_last(p, c.subject), c.subject) for c in some for p in c.paraphrase_prompts)
        said.pop("", None)
        own = [t for t, n in said.items() if n >= SHARED] or [t for t, _ in said.most_common(1)]
        texts = patterns(name)
        taken = "templates of ParaRel" if texts else f"templates from paraphrases that {SHARED} or more cases share"
        source = f"{name} of CounterFact (Meng et al. 2202.05262), {taken}"
        pairs = [(c.subject, c.target_true) for c in some]
        yield Raw(f"counterfact {name}", source, _asks(texts or own), pairs, {taken: [name]})


def _last(prompt: str, subject: str) -> str:
    """The prompt from the sentence on that names its subject last."""
    at = prompt.rfind(subject)
    begin = max((m.end() for m in _SENTENCE.finditer(prompt, 0, max(at, 0))), default=0)
    return prompt[begin:]


def templates(patterns: Sequence[str]) -> dict[str, str]:
    """ParaRel's patterns of which a causal model can be asked: those that end with the object."""
    found = {p: m[1].strip() for p in patterns if p.count("[Y]") == 1 and (m := _Y_LAST.fullmatch(p))}
    return {p: t.replace("[X]", SLOT) for p, t in found.items() if t.count("[X]") == 1 and t != "[X]" and SLOT not in t}


def _pararel(held: _ParaRel) -> Raw:
    texts = templates(held.patterns)
    left = {"patterns that do not end in the object": [p for p in held.patterns if p not in texts]}
    pairs = [(s.subject, s.object if isinstance(s.object, str) else "".join(s.object[:1])) for s in held.samples]
    return Raw(
        f"pararel {held.relation_id}",
        f"{held.relation_id} of ParaRel (Elazar et al. 2102.01017)",
        _asks([*texts.values()]),
        pairs,
        left=left,
    )


def _ravel(path: Path, beside: Callable[[Path], str]) -> Iterator[Raw]:
    """Every attribute as a relation; of several values the first."""
    kind = path.name.removesuffix(ENTITIES).removesuffix(PROMPTS)
    one, other = (path.with_name(kind + suffix) for suffix in (ENTITIES, PROMPTS))
    entities = _typed(one, _held(one, beside(one)), dict[str, dict[str, str]], "attributes of each entity")
    prompts = _typed(other, _held(other, beside(other)), dict[str, list[str]], "a list of prompts of each attribute")
    for attribute in dict.fromkeys([*prompts, *(a for held in entities.values() for a in held)]):
        values = [(entity, held[attribute]) for entity, held in entities.items() if held.get(attribute)]
        texts = {p: p.replace("%s", SLOT) for p in prompts.get(attribute, ()) if p.count("%s") == 1 and SLOT not in p}
        yield Raw(
            f"{kind} {attribute}",
            f"{attribute} of RAVEL's {kind} (Huang et al. 2402.17700)",
            _asks([*texts.values()]),
            [(entity, value.split(",")[0]) for entity, value in values],
            {"values of several names, the first kept": [value for _, value in values if "," in value]},
            {"prompts without one %s": [p for p in prompts.get(attribute, ()) if p not in texts]},
        )
