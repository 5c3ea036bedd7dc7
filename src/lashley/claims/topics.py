"""What claims are about, and which prompts their evidence will come from. Pure."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import msgspec

from lashley.core.claim import About, Claim, Topic
from lashley.core.fact import Fact, Relation, Template
from lashley.core.question import Asked, Question
from lashley.core.site import Site
from lashley.facts.base import shipped
from lashley.facts.contexts import contexts, mentions
from lashley.facts.parts import parts
from lashley.facts.question import find, in_chat, resolve

CONTEXTS = 6  # of each kind, for one fact
OF_RELATION = 12  # facts that a claim about a whole relation is tried on


class Prompts(msgspec.Struct, frozen=True):
    """Where the evidence about a topic will come from: by group, what is asked.

    confirm     the topic's prompts: necessity, sufficiency, chance, methods, redundancy
    paraphrase  templates on which necessity is confirmed apart; sufficiency and redundancy on these as well
    domain      the topic's prompts after other texts, and in other languages, one a question, the kinds by turns
    discovery   templates for searches (rivals of the site)
    other       other facts: of the relation, of the subject, of other relations
    fit         other facts of the relation, to choose the optimal constant on
    """

    relation: Relation
    facts: tuple[Fact, ...]
    groups: dict[str, tuple[Asked, ...]]


def topics(claims: Sequence[Claim]) -> tuple[Topic, ...]:
    """The topics of some claims, in order of first appearance."""
    sets: dict[About, dict[tuple[Site, ...], None]] = {}
    for claim in claims:
        sets.setdefault(claim.about, {})[claim.sites] = None
    return tuple(Topic(about, tuple(found)) for about, found in sets.items())


def name(about: About) -> str:
    """The topic in words: `capital(France) = Paris`."""
    fact = f"{about.relation}({about.subject})" if about.relation else about.prompt.replace("{}", about.subject)
    if not about.subject:
        return f"the relation {about.relation}"
    answer = about.object or find(about.relation).objects[about.subject]
    return f"{fact} = {answer}" if about.relation else f"“{fact} {answer}”"


def prompts(
    about: About, seed: int, searched: bool, others: int, corpus: Sequence[Relation] = (), chat: bool = False
) -> Prompts:
    """The prompts of a topic. `corpus` is where other facts come from (default: the shipped relations). `chat`: as
    messages in the tokenizer's chat template."""
    found = _prompts(about, seed, searched, others, corpus)
    groups = {g: tuple(map(in_chat, questions)) for g, questions in found.groups.items()} if chat else found.groups
    return msgspec.structs.replace(found, groups=groups)


def _prompts(about: About, seed: int, searched: bool, others: int, corpus: Sequence[Relation]) -> Prompts:
    if about.prompt:
        return _own_prompt(about, seed, others)
    relation = find(about.relation)
    if about.object:
        relation = msgspec.structs.replace(relation, objects=relation.objects | {about.subject: about.object})
    language = "en" if any(t.language == "en" for t in relation.templates) else relation.templates[0].language
    draw = random.Random(f"topic {seed} {about}")
    if about.subject:
        facts = (Fact(relation.name, about.subject, relation.objects[about.subject]),)
    else:
        every = relation.facts()
        facts = tuple(draw.sample(every, min(OF_RELATION, len(every))))
    spoken = [t for t in relation.templates if t.language == language]
    groups = parts(spoken, searched)
    if not about.subject:
        groups = {part: templates[:2] for part, templates in groups.items()}
    asked: dict[str, tuple[Asked, ...]] = {
        part: (_asked(relation, facts, templates, seed),) for part, templates in groups.items() if templates
    }
    plain = groups["confirm"] + groups["paraphrase"]
    per_kind = CONTEXTS if about.subject else 1
    asked["domain"] = tuple(q for fact in facts for q in _with_contexts(relation, fact, plain, seed, per_kind))
    asked["other"], asked["fit"] = _others(relation, facts, spoken, seed, others, corpus or list(shipped().values()))
    return Prompts(relation, facts, asked)


def _own_prompt(about: About, seed: int, others: int) -> Prompts:
    q = Question(
        prompt=about.prompt,
        subject=about.subject,
        object=about.object,
        foil_subject=about.foil_subject,
        foil_object=about.foil_object,
    )
    asked = resolve(q)
    groups: dict[str, tuple[Asked, ...]] = {"confirm": (asked,), "discovery": (asked,)}
    groups["domain"] = _with_contexts(asked.relation, asked.facts[0], asked.templates, seed, CONTEXTS)
    groups["other"], groups["fit"] = _others(
        asked.relation, asked.facts, asked.templates, seed, others, list(shipped().values())
    )
    return Prompts(asked.relation, asked.facts, groups)


def foils(relation: Relation, fact: Fact, seed: int) -> tuple[str, ...]:
    """Subjects whose object may stand against the fact's own, in the order to try them."""
    there = [s for s, o in relation.objects.items() if s != fact.subject and not relation.alike(fact.object, o)]
    random.Random(f"{seed} {fact.subject}").shuffle(there)
    return tuple(there)


def _asked(relation: Relation, facts: Sequence[Fact], templates: Sequence[Template], seed: int) -> Asked:
    return Asked(relation, tuple(facts), tuple(templates), {f.subject: foils(relation, f, seed) for f in facts})


def _with_contexts(
    relation: Relation, fact: Fact, templates: Sequence[Template], seed: int, per_kind: int
) -> tuple[Asked, ...]:
    """The fact after other texts, the kinds of text by turns; a foil that a text names is not a foil there."""
    made = contexts(relation, fact.subject, templates, seed, per_kind)
    kinds = [[t for t in made if t.context == kind] for kind in dict.fromkeys(t.context for t in made)]
    every = foils(relation, fact, seed)
    found: list[Asked] = []
    for template in (t for turn in itertools.zip_longest(*kinds) for t in turn if t is not None):
        free = tuple(f for f in every if not mentions(template.before, (f, *relation.called(relation.objects[f]))))
        found.append(Asked(relation, (fact,), (template,), {fact.subject: free}))
    return tuple(found)


def _others(
    relation: Relation,
    facts: Sequence[Fact],
    templates: Sequence[Template],
    seed: int,
    count: int,
    corpus: Sequence[Relation],
) -> tuple[tuple[Asked, ...], tuple[Asked, ...]]:
    """Other facts: of the relation, of the same subjects, of other relations, by turns, four times as many as `count`,
    for the model may not know them all, in two templates each, those of the same subjects in four; and again some of
    the relation, to fit on. About a whole relation, none of the others is of it."""
    draw = random.Random(f"others {seed} {relation.name} {facts[0]}")
    subjects, whole = {f.subject for f in facts}, len(facts) > 1
    answers = {f.object for f in facts}
    beside = [f for f in relation.facts() if f.subject not in subjects and f.object not in answers]
    draw.shuffle(beside)
    elsewhere = [r for r in corpus if r.name != relation.name]
    own = [f for r in elsewhere for f in r.facts() if f.subject in subjects and f.object not in answers]
    far = [f for r in elsewhere for f in r.facts() if f.subject not in subjects and f.object not in answers]
    kinds = ([] if whole else beside[6:], draw.sample(own, len(own)), draw.sample(far, min(4 * count, len(far))))
    turns = [f for turn in itertools.zip_longest(*kinds) for f in turn if f is not None][: 4 * count]
    known = {r.name: r for r in elsewhere} | {relation.name: relation}
    four: dict[str, list[Template]] = {}
    for name_ in dict.fromkeys(f.relation for f in turns):
        spoken = [t for t in known[name_].templates if t.language == "en"] or list(known[name_].templates)
        four[name_] = draw.sample(spoken, min(4, len(spoken)))
    made = [_asked(known[f.relation], (f,), four[f.relation][: 4 if f in own else 2], seed) for f in turns]
    fit = beside[:6]
    return tuple(made), (_asked(relation, fit, templates[:1], seed),) if fit else ()
