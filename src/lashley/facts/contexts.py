"""Text before a prompt: does the model recall the same, by the same parts, in another context?

A context is a `Template` of a fact with text before it, or one of another language. No text names the fact's
subject or object, nor any other name that is to be avoided (a foil, for instance), as a whole word.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from lashley.core.fact import Relation, Template
from lashley.core.question import Asked
from lashley.facts.base import shipped
from lashley.facts.joins import joins

KINDS = ("unrelated text", "distractor facts", "another register", "another language", "few-shot")
SHOTS = 3  # facts before a few-shot prompt, and statements before one with distractors

# In the words and the grammar of the embedded model, with no name of the fact base in them.
UNRELATED = (
    "The key near the cabinets is old.",
    "We saw two knives.",
    "The teacher who helps the guards waits outside.",
    "They counted several bottles.",
    "The clocks behind the door look strange.",
    "She drew three windows.",
    "The man next to the boys praised himself.",
    "The letters in front of the machine were new.",
    "There are many chairs.",
    "The women who know the doctor walk every day.",
    "The box with the pictures seems heavy.",
    "The pilot sleeps well.",
    "We saw every bridge.",
    "The shelves near the table have no name.",
    "The sisters behind the waiter described themselves.",
    "The leaf falls slowly.",
    "They counted four loaves.",
    "The princess who likes the actors drinks water.",
    "The doors move in the wind.",
    "The child that the mothers follow stays at home.",
    "There are two brothers.",
    "The guards next to the queen wait every day.",
    "She drew a single foot.",
    "The knife behind the books looks clean.",
)

Clear = Callable[[str], bool]  # whether a text names nothing that it must not name


def contexts(
    relation: Relation,
    subject: str,
    templates: Sequence[Template],
    seed: int,
    per_kind: int = 2,
    avoid: Iterable[str] = (),
) -> tuple[Template, ...]:
    """At most `per_kind` templates of each of `KINDS` for a fact, in that order.

    The given templates are dealt out in a random order, so that few come twice; each keeps its text, register and
    language, and has its `before` and `context` set. "another language" are templates of the relation in languages
    that none of the given has, with nothing before. `avoid` are further names that no text may have. A kind that
    cannot be made is left out: few-shot where no other facts may be named. Depends on the arguments alone.
    """
    clear = _clear(relation, (subject, *relation.called(relation.objects[subject]), *avoid))
    draw = random.Random(f"contexts {seed} {relation.name} {subject}")
    bare = [t for t in templates if not t.before]
    deal = itertools.cycle(draw.sample(bare, len(bare)))
    spoken = {t.language for t in bare}
    foreign = [t for t in relation.templates if t.language not in spoken and not t.before]
    made: list[Template] = []
    for kind in KINDS:
        if kind == "another language":
            chosen = draw.sample(foreign, min(per_kind, len(foreign)))
            made += [msgspec.structs.replace(t, context=kind) for t in chosen]
        elif bare:
            for template in itertools.islice(deal, per_kind):
                if before := _BEFORE[kind](draw, relation, template, clear):
                    made.append(msgspec.structs.replace(template, before=before, context=kind))
    return tuple(dict.fromkeys(made))


def with_contexts(asked: Asked, seed: int, per_kind: int = 2) -> Asked:
    """The same question with contexts that suit all its facts: no text names one of their subjects, objects or foils.

    Half of the objects that foils may have are kept for them, and the others for the texts.
    """
    relation, own = asked.relation, {f.object for f in asked.facts}
    objects = relation.objects
    spare = [o for o in dict.fromkeys(objects[f] for fs in asked.foils.values() for f in fs) if o not in own]
    kept = own.union(spare[: (len(spare) + 1) // 2])
    avoid = [*kept, *(s for s, o in objects.items() if o in kept)]
    more = contexts(relation, asked.facts[0].subject, asked.templates, seed, per_kind, avoid)
    foils = {s: tuple(f for f in fs if objects[f] in kept) for s, fs in asked.foils.items()}
    return msgspec.structs.replace(asked, templates=(*asked.templates, *more), foils=foils)


def mentions(text: str, names: Iterable[str]) -> bool:
    """Whether any of the names is in the text as a whole word; those of three letters or more in any case.

    >>> mentions("In Paris, he sleeps.", ["paris"]), mentions("In Parisian style", ["Paris", "He", "Pa"])
    (True, False)
    """
    return bool((found := _pattern(names)) and found.search(text))


def statement(relation: Relation, subject: str, template: Template) -> str:
    """The fact said in a template, ended as its register asks.

    >>> statement(shipped()["capital"], "Italy", Template("The capital of {} is"))
    'The capital of Italy is Rome.'
    """
    prompt = template.fill(relation.say(subject, template.language))
    end = "" if template.register == "list" else '."' if prompt.count('"') % 2 else "."
    answer = relation.say(relation.objects[subject], template.language)
    join = template.join if isinstance(template.join, str) and not template.chat else joins(prompt, [answer])[0]
    return f"{prompt}{join}{answer}{end}"


def _pattern(names: Iterable[str]) -> re.Pattern[str] | None:
    words = [f"(?i:{re.escape(n)})" if len(n) > 2 else re.escape(n) for n in dict.fromkeys(names) if n]
    return re.compile(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)") if words else None


def _clear(relation: Relation, names: Iterable[str]) -> Clear:
    """What a text must not name, in any language of the relation."""
    found = _pattern(relation.say(name, language) for name in names for language in ("", *relation.names))
    return lambda text: not (found and found.search(text))


def _joined(sentences: Sequence[str], template: Template) -> str:
    """Sentences with the blank, or the new line of a list, between them and before the prompt."""
    mark = "\n" if template.register == "list" else " "
    return "".join(s + mark for s in sentences)


def _said(draw: random.Random, relation: Relation, templates: Sequence[Template], clear: Clear) -> Iterator[str]:
    """Facts of a relation in random order, each in one of the templates, that may be said."""
    for subject in draw.sample(list(relation.objects), len(relation.objects)) if templates else ():
        if clear(text := statement(relation, subject, draw.choice(templates))):
            yield text


def _elsewhere(draw: random.Random, registers: Sequence[str], language: str, clear: Clear, but: str) -> Iterator[str]:
    """Facts of other relations than `but`, one of each in turn, in templates of these registers."""
    others = [r for r in shipped().values() if r.name != but]
    for relation in draw.sample(others, len(others)):
        fitting = [t for t in relation.templates if t.language == language and t.register in registers]
        yield from itertools.islice(_said(draw, relation, fitting, clear), 1)


def _unrelated(draw: random.Random, relation: Relation, template: Template, clear: Clear) -> str:
    """One or two plain sentences, English before a prompt of any language."""
    return _joined(draw.sample([s for s in UNRELATED if clear(s)], draw.randint(1, 2)), template)


def _distractors(draw: random.Random, relation: Relation, template: Template, clear: Clear) -> str:
    """Two other facts of the relation, where there are, and others of other relations, in random order."""
    other = [
        t
        for t in relation.templates
        if (t.language, t.register) == (template.language, "statement") and t.text != template.text and not t.before
    ]
    near = itertools.islice(_said(draw, relation, other, clear), SHOTS - 1)
    far = _elsewhere(draw, ("statement",), template.language, clear, relation.name)
    found = list(itertools.islice(itertools.chain(near, far), SHOTS))
    return _joined(draw.sample(found, len(found)), template)


def _register(draw: random.Random, relation: Relation, template: Template, clear: Clear) -> str:
    """A fact of another relation in a question, a dialogue or a list, whichever the prompt is not."""
    registers = [r for r in ("question", "dialogue", "list") if r != template.register]
    found = next(_elsewhere(draw, registers, template.language, clear, relation.name), "")
    return found and found + "\n"


def _shots(draw: random.Random, relation: Relation, template: Template, clear: Clear) -> str:
    """Other facts of the relation in the same template, a line each, with different objects where there are."""
    found: dict[str, str] = {}
    again: list[str] = []
    for subject in draw.sample(list(relation.objects), len(relation.objects)):
        if clear(text := statement(relation, subject, template)):
            again += [text] * (relation.objects[subject] in found)
            found.setdefault(relation.objects[subject], text)
            if len(found) == SHOTS:
                break
    lines = [*found.values(), *again][:SHOTS]
    return "".join(f"{line}\n" for line in lines) if len(lines) == SHOTS else ""


_BEFORE = {
    "unrelated text": _unrelated,
    "distractor facts": _distractors,
    "another register": _register,
    "few-shot": _shots,
}
