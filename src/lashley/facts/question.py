"""What the user asks, resolved to facts, templates and foils; no tokenizer is needed.

Three ways to ask: about a `relation` of the fact base (all of it, or one subject), about a `prompt` of one's own,
with its subject and object and those of a foil, or about a `task`, a family of such prompts.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Iterable

import msgspec

from lashley.core.errors import BadFact
from lashley.core.fact import BLANK, SLOT, Fact, Relation, Template, sound
from lashley.core.question import Asked, Question
from lashley.facts import tasks
from lashley.facts.base import shipped
from lashley.facts.importers import imported, slug


def in_chat(asked: Asked) -> Asked:
    """The same, every prompt being a user's message in the tokenizer's chat template, and the answer the reply."""
    chats = lambda some: tuple(msgspec.structs.replace(t, chat=True) for t in some)  # noqa: E731
    relation = msgspec.structs.replace(asked.relation, templates=chats(asked.relation.templates))
    return msgspec.structs.replace(asked, relation=relation, templates=chats(asked.templates))


def relations() -> dict[str, Relation]:
    """Every relation that can be asked about, by name, sorted: the user's own, and the shipped, which win."""
    return dict(sorted((imported() | shipped()).items()))


def find(name: str) -> Relation:
    """The relation of that name, in any spacing or case. Raises `BadFact`, listing the names there are.

    A shipped relation is found even where the user's folder holds a broken file.
    """
    key = slug(name)
    if found := shipped().get(key) or imported().get(key):
        return found
    every = list(relations())
    raise BadFact(f"no relation {name!r}{_meant(key, every)}; there are {', '.join(every)}")


def resolve(question: Question, corruption: str = "replace") -> Asked:
    """The facts, templates and foils that a question asks about. With noise as the `corruption` a prompt of the user's
    own needs no foil subject: its name is then "".

    Foils: those given, otherwise every subject of the relation with another object, in a random order drawn
    from `seed` for each subject. `max_facts` draws at random too, from the same seed. Raises `BadFact`.
    """
    q = question
    _counted(q)
    if q.task:
        raise BadFact(f"the task {q.task!r} is many questions; ask an experiment that takes tasks")
    if q.prompt is None and q.relation is None:
        raise BadFact("nothing is asked; give a relation, as 'capital', or a prompt, as 'The capital of {} is'")
    if q.prompt is not None and q.relation is not None:
        raise BadFact("a relation and a prompt are both given; give one of them")
    noise = corruption == "noise"
    asked = _of_prompt(q, q.prompt, noise) if q.prompt is not None else _of_relation(q, find(q.relation or ""))
    return in_chat(asked) if q.chat else asked


def resolve_all(question: Question, corruption: str = "replace") -> tuple[Asked, ...]:
    """What a question asks about, an item of a task each, or as `resolve` has it. Raises `BadFact`."""
    q = question
    if not q.task:
        return (resolve(q, corruption),)
    _counted(q)
    others = (q.prompt, q.relation, q.subject, q.object, q.foil_subject, q.foil_object, q.register)
    if any(word is not None for word in others) or q.language != "en":
        raise BadFact(f"the task {q.task!r} has its own prompts; leave relation, prompt, subject and the like out")
    found = []
    for item in tasks.items(q.task, q.max_facts or tasks.COUNT, q.seed):
        relation, fact = tasks.relation(q.task, item)
        found.append(Asked(relation, (fact,), relation.templates, {item.subject: (item.foil,)}))
    return tuple(map(in_chat, found) if q.chat else found)


def _counted(q: Question) -> None:
    for name in q.__struct_fields__:
        if isinstance(word := getattr(q, name), str):
            sound(word, f"the {name.replace('_', ' ')}")
    if q.max_facts is not None and q.max_facts < 1:
        raise BadFact(f"max facts {q.max_facts}: ask about 1 fact or more")


def _of_prompt(q: Question, prompt: str, noise: bool) -> Asked:
    """One template and two facts, as the user wrote them: the base has no say in whether they are true.

    Blanks around a name are no part of it (those before an answer are the prompt's); other white space is refused.
    """
    text = prompt.strip()
    given = {
        "subject": q.subject,
        "object": q.object,
        "foil subject": q.foil_subject,
        "foil object": q.foil_object,
    }
    words = {what: (word or "").strip() for what, word in given.items()}
    for what, word in given.items():
        if word and (bare := word.strip()) and word.strip(BLANK) != bare:
            raise BadFact(
                f"the {what} {word!r} has white space about it, which belongs to no name; write {bare!r}, and what "
                "stands before an answer at the prompt's end"
            )
    subject, answer, foil, other = words.values()
    if not text:
        raise BadFact("the prompt is empty; write {} where the subject goes, as 'The capital of {} is'")
    if SLOT not in text:
        raise BadFact(f"prompt {text!r} has no {{}} for the subject; {_with_slot(text, subject, answer)}")
    if text == SLOT:
        raise BadFact("prompt '{}' asks nothing; write a sentence around the {}, as 'The capital of {} is'")
    if missing := [what for what, word in words.items() if not (word or (noise and what == "foil subject"))]:
        raise BadFact(
            f"a prompt needs its own fact and a foil, and the {' and the '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing; "
            "give, for example, France and Paris, and the foil Italy and Rome"
        )
    _differ(subject, foil, "subject")
    _differ(answer, other, "object")
    bare = prompt if q.chat else prompt.rstrip(BLANK)  # a blank at the end is what an answer follows
    template = Template(bare, q.register or "statement", q.language)
    if typed := prompt[len(bare) :]:
        joined = "" if typed == BLANK else f"typed {len(typed)}"
        template = msgspec.structs.replace(template, join=typed, joined=joined)
    relation = Relation("prompt", "typed by the user", (template,), {subject: answer, foil: other})
    return Asked(relation, (Fact("prompt", subject, answer),), (template,), {subject: (foil,)})


def _with_slot(text: str, subject: str, answer: str) -> str:
    """How to write a prompt that names its subject."""
    at = text.lower().find(subject.lower()) if subject else -1
    if at < 0:
        return "write {} where the subject goes, as 'The capital of {} is'"
    fixed = text[:at] + SLOT + text[at + len(subject) :]
    if answer and fixed.lower().endswith(answer.lower()):
        fixed = fixed[: -len(answer)].rstrip()
    return f"write {fixed!r} and give the subject {subject!r} apart"


def _of_relation(q: Question, relation: Relation) -> Asked:
    templates = _templates(q, relation)
    if q.subject is not None and q.object is not None:  # perhaps not the base's own: that of a planted or edited fact
        subject, answer = (_name(q, relation, w, k) for w, k in ((q.subject, "subject"), (q.object, "object")))
        relation = msgspec.structs.replace(relation, objects=relation.objects | {subject: answer})
    objects = {s: relation.say(o, q.language) for s, o in relation.objects.items()}
    facts = _facts(q, relation)
    foils = _given_foils(q, relation, facts)
    order = list(relation.objects) if foils is None else foils
    asked = {}
    for fact in facts:
        own = relation.objects[fact.subject]
        others = [
            s for s in order if objects[s] != objects[fact.subject] and not relation.alike(own, relation.objects[s])
        ]
        random.Random(f"{q.seed} {fact.subject}").shuffle(others)
        if not others:
            raise BadFact(
                f"{relation.name}({fact.subject}) has no foil: there is no other object than "
                f"{objects[fact.subject]!r}; {'ask another relation' if foils is None else 'choose another'}"
            )
        asked[fact.subject] = tuple(others)
    return Asked(relation, facts, templates, asked)


def _templates(q: Question, relation: Relation) -> tuple[Template, ...]:
    spoken = list(dict.fromkeys(t.language for t in relation.templates))
    if q.language not in spoken:
        raise BadFact(
            f"relation {relation.name!r} has no templates in language {q.language!r}; choose {' or '.join(spoken)}"
        )
    there = [t for t in relation.templates if t.language == q.language]
    registers = list(dict.fromkeys(t.register for t in there))
    if q.register is not None and q.register not in registers:
        raise BadFact(
            f"relation {relation.name!r} has no {q.language!r} templates in register {q.register!r}; "
            f"choose {' or '.join(registers)}"
        )
    return tuple(t for t in there if q.register in (None, t.register))


def _facts(q: Question, relation: Relation) -> tuple[Fact, ...]:
    """The facts asked about: of the subject, of the object, or all; at most `max_facts`, in base order."""
    facts = relation.facts()
    answer = None if q.object is None else _name(q, relation, q.object, "object")
    if q.subject is not None:
        subject = _name(q, relation, q.subject, "subject")
        facts = (Fact(relation.name, subject, relation.objects[subject]),)
    elif answer is not None:
        facts = tuple(f for f in facts if f.object == answer)
    if q.max_facts is not None and q.max_facts < len(facts):
        drawn = sorted(random.Random(q.seed).sample(range(len(facts)), q.max_facts))
        facts = tuple(facts[i] for i in drawn)
    return facts


def _given_foils(q: Question, relation: Relation, facts: tuple[Fact, ...]) -> list[str] | None:
    """The foil subjects that the user allows, or None for all of them."""
    if q.foil_subject is None and q.foil_object is None:
        return None
    if q.subject is None and q.object is None:
        raise BadFact("a foil is given, but no fact that it stands against; give the subject too, or no foil")
    other = None if q.foil_object is None else _name(q, relation, q.foil_object, "object", "foil object")
    if q.foil_subject is None:
        _differ(facts[0].object, other or "", "object")
        return [s for s, o in relation.objects.items() if o == other]
    foil = _name(q, relation, q.foil_subject, "subject", "foil subject")
    if other is not None and other != relation.objects[foil]:
        raise BadFact(
            f"{relation.name}({foil}) is {relation.objects[foil]!r} in the fact base, not {q.foil_object!r}; "
            f"leave the foil object out"
        )
    for fact in facts:
        _differ(fact.subject, foil, "subject")
        _differ(fact.object, relation.objects[foil], "object")
    return [foil]


def _name(q: Question, relation: Relation, typed: str, kind: str, what: str = "") -> str:
    """The base's own spelling of a subject or object: as typed, in any case, or as said in the language."""
    names = relation.objects.keys() if kind == "subject" else dict.fromkeys(relation.objects.values())
    spelt: dict[str, str] = {}
    for name in names:
        for form in (
            name,
            *(relation.called(name, q.language) if kind == "object" else [relation.say(name, q.language)]),
        ):
            spelt.setdefault(_fold(form), name)
    word = _fold(typed)
    if typed.strip() in names:
        return typed.strip()
    if word in spelt:
        return spelt[word]
    raise BadFact(
        f"relation {relation.name!r} has no {what or kind} {typed!r}{_meant(word, spelt)}; "
        f"choose one of its {len(names)} {kind}s, or ask with a prompt of your own"
    )


def _fold(name: str) -> str:
    return " ".join(name.split()).casefold()


def _differ(own: str, foil: str, what: str) -> None:
    if _fold(own) == _fold(foil):
        raise BadFact(f"the foil's {what} {foil!r} is that of the fact itself; choose a foil with another {what}")


def _meant(word: str, names: Iterable[str] | dict[str, str]) -> str:
    """`, did you mean 'x' or 'y'?`, or nothing; a dict maps what is compared to what is shown."""
    shown = names if isinstance(names, dict) else {name: name for name in names}
    near = [shown[n] for n in difflib.get_close_matches(word, list(shown), n=3, cutoff=0.6)]
    return f" (did you mean {' or '.join(map(repr, dict.fromkeys(near)))}?)" if near else ""
