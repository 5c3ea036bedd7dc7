"""What an audit is planned from: for each topic its prompts, its peers and rivals, and what fires its sites.

The one door of claims to the engine: nothing here judges, and nothing is measured that decides.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from lashley.claims.topics import Prompts, name, prompts
from lashley.core.anatomy import Anatomy
from lashley.core.case import Case, Dossier, Exclusion
from lashley.core.claim import Topic
from lashley.core.errors import BadFact, BadPrompt, BadSite
from lashley.core.fact import Fact, Relation, Template
from lashley.core.progress import Progress
from lashley.core.question import Asked
from lashley.core.readout import LogitDifference, shared
from lashley.core.run import Run
from lashley.core.site import Kind, Site
from lashley.engine.bench import Bench
from lashley.facts.base import shipped
from lashley.facts.question import in_chat
from lashley.prompts.effects import restorers
from lashley.prompts.joining import settled
from lashley.prompts.pairs import AMONG, Need, aligned
from lashley.prompts.reference import mean_sizes, reference_runs, texts
from lashley.stats.inference import FEWEST
from lashley.stats.peers import ENOUGH

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
SHUFFLED = 6  # prompts with the answers of other facts
CONTEXTS = 12  # templates in which a fact is recalled after other texts: then no more are asked
FIRING = 12  # of all facts, those on which damage is measured
DEPTHS = (12, 96, 1536)  # how many of the facts that fire a site most are asked about, until a few are known
RIVALS = 12  # disjoint sets of the same size that are tried as well
SEARCHED_ON = 3  # prompts that rivals are looked for on
MEASURED = 96  # units of which a search for rivals measures the effect
FREE = 2000  # units that rivals are made of

PLAIN = "plain"  # the topic's own prompts, before they are dealt into groups


def gather(
    bench: Bench,
    topics: Sequence[Topic],
    *,
    searched: bool,
    draws: int,
    others: int,
    corruption: str,
    unknown: bool,
    seed: int,
    progress: Progress,
    chat: bool = False,
) -> list[Dossier]:
    """One dossier a topic; `chat`: all prompts are messages in the tokenizer's chat template. Raises `BadSite` where a
    claim names a site that the model does not have, `BadPrompt` where there is no chat template."""
    for topic in topics:
        _check(bench.anatomy, topic)
    if chat:
        bench.tokens.chat("Is there a chat template?")  # said at once, not of every fact
    corpus = _corpus(bench, topics, chat)
    found = []
    for number, topic in enumerate(topics):
        progress("asking what the model knows", number, len(topics))
        asked = prompts(topic.about, seed, searched, others, chat=chat)
        found.append(
            _gather(
                bench,
                topic,
                asked,
                corpus,
                draws=draws,
                others=others,
                corruption=corruption,
                unknown=unknown,
                seed=seed,
            )
        )
    progress("asking what the model knows", len(topics), len(topics))
    return found


def _check(anatomy: Anatomy, topic: Topic) -> None:
    for sites in topic.sets:
        try:
            for site in sites:
                anatomy.check(site)
        except BadSite as e:
            raise BadSite(f"the claims about {name(topic.about)}: {e}") from e


def _gather(
    bench: Bench,
    topic: Topic,
    asked: Prompts,
    corpus: Corpus,
    *,
    draws: int,
    others: int,
    corruption: str,
    unknown: bool,
    seed: int,
) -> Dossier:
    cases: dict[str, tuple[Case, ...]] = {}
    exclusions: list[Exclusion] = []

    def take(group: str, questions: Iterable[Asked], draws: int, need: Need) -> None:
        kept: list[Case] = []
        for each in questions:
            try:
                found, _, gone = aligned(
                    bench,
                    each,
                    corruption=corruption,
                    draws=draws,
                    seed=seed,
                    need=need,
                    among=AMONG,
                    donors=group == PLAIN,
                )
            except (BadFact, BadPrompt) as e:
                found, gone = [], [Exclusion(f.relation, f.subject, f.object, "", str(e)) for f in each.facts]
            kept += found
            if group not in ("other", "fit"):
                exclusions.extend(gone)
        cases[group] = (*cases.get(group, ()), *kept)

    groups = {g: tuple(settled(bench, q) for q in questions) for g, questions in asked.groups.items()}
    plain = {g: groups[g] for g in ("confirm", "paraphrase", "discovery") if g in groups}
    main = _merged(plain)
    take(PLAIN, [main], draws, "none" if unknown else "half")  # known on half of all its templates
    every = cases.pop(PLAIN)
    for group, questions in plain.items():
        there = {t for q in questions for t in q.templates}
        cases[group] = tuple(c for c in every if c.template in there)
    if not cases["confirm"]:
        return Dossier(bench.anatomy, {}, tuple(exclusions))
    need = "none" if unknown else "each"
    for question in groups.get("domain", ()):
        if len(main.facts) == 1 and len({c.template.text for c in cases.get("domain", ())}) >= CONTEXTS:
            break
        take("domain", [question], 1, need)
    for i in range(0, len(groups["other"]), max(others, 1)):
        take("other", _together(groups["other"][i : i + others]), 1, need)
        if len({c.fact for c in cases["other"]}) >= others:
            break
    drawn = {c.fact for c in cases.get("other", ())}
    first = [f for q in groups["other"] for f in q.facts if f in drawn][:others]
    cases["other"] = tuple(c for c in cases.get("other", ()) if c.fact in first)
    take("fit", groups["fit"], 1, need)
    reference = reference_runs(bench, main, cases["confirm"], seed)
    where: set[tuple[int, Kind]] = {(s.layer, s.kind) for sites in topic.sets for s in sites if s.unit is not None}
    where |= {(la, k) for _, k in where if bench.anatomy.units(k) < ENOUGH for la in range(bench.anatomy.layers)}
    return Dossier(
        bench.anatomy,
        cases,
        tuple(exclusions),
        reference,
        tuple(texts(bench, seed)),
        mean_sizes(bench, reference, sorted(where)),
        _quantiles(bench, topic, reference),
        _rivals(bench, topic, cases),
        *_firing(bench, topic, corpus, cases["confirm"], corruption, need, seed),
        len(corpus.facts),
        _shuffled(bench, asked, cases["confirm"]),
    )


def _merged(plain: dict[str, tuple[Asked, ...]]) -> Asked:
    """All templates of a topic's own prompts in one question."""
    first = plain["confirm"][0]
    templates = dict.fromkeys(t for questions in plain.values() for q in questions for t in q.templates)
    return Asked(first.relation, first.facts, tuple(templates), first.foils)


def _together(questions: Iterable[Asked]) -> Iterator[Asked]:
    """Questions that differ in their facts alone, made one: what is asked together costs less."""
    alike: dict[tuple[str, tuple[Template, ...]], list[Asked]] = {}
    for each in questions:
        alike.setdefault((each.relation.name, each.templates), []).append(each)
    for own in alike.values():
        facts = tuple(f for q in own for f in q.facts)
        yield Asked(own[0].relation, facts, own[0].templates, {s: f for q in own for s, f in q.foils.items()})


def _quantiles(bench: Bench, topic: Topic, reference: Sequence[Run]) -> dict[Site, np.ndarray]:
    """Quantiles of the activation at each site over the reference runs, elementwise, float32 [5, site width]; without
    position 0 where that is a sink of no beginning-of-text token."""
    sites = dict.fromkeys(s for sites in topic.sets for s in sites)  # in order: what is planned hangs on it
    bare = {s: _bare(s) for s in sites}
    acts = bench.read(reference, sorted(set(bare.values()), key=str))
    inside = np.concatenate([np.arange(len(r)) >= (not r.begin) for r in reference])
    return {s: np.quantile(acts[b][inside], QUANTILES, axis=0).astype("<f4") for s, b in bare.items()}


def _rivals(bench: Bench, topic: Topic, cases: dict[str, tuple[Case, ...]]) -> tuple[tuple[tuple[Site, ...], ...], ...]:
    """Of each set the disjoint sets of as many units, of its first site's kind, that restore most: those of which
    gradients expect most, of either sign, are measured. None for the residual stream, which each layer hands on."""
    searched = (cases.get("discovery") or cases["confirm"])[:SEARCHED_ON]
    order: dict[Kind, list[Site]] = {}
    kinds: set[Kind] = {sites[0].kind for sites in topic.sets}
    for kind in kinds - {"resid"}:
        order[kind] = restorers(bench, searched, kind, MEASURED, FREE)
    found = []
    for sites in topic.sets:
        own = {(s.layer, s.kind, s.unit) for s in sites}
        free = [s for s in order.get(sites[0].kind, ()) if (s.layer, s.kind, s.unit) not in own]
        size = len(own)
        found.append(
            tuple(tuple(free[i * size : (i + 1) * size]) for i in range(RIVALS) if len(free) >= (i + 1) * size)
        )
    return tuple(found)


class Corpus(NamedTuple):
    """Every shipped fact in its relation's first template, and how strongly each fires some sites.

    `sizes[site]` is the largest activation over a prompt's positions (of a head, its norm), [facts].
    """

    facts: list[tuple[Relation, Fact]]
    sizes: dict[Site, np.ndarray]


def _corpus(bench: Bench, topics: Sequence[Topic], chat: bool) -> Corpus:
    """What fires the sites of sets that are one head or neuron."""
    single = {_bare(sites[0]) for topic in topics for sites in topic.sets if len(sites) == 1}
    runs, facts = [], []
    every = [Asked(r, (), (), {}) for r in shipped().values()] if any(s.unit is not None for s in single) else []
    for relation in (in_chat(asked).relation if chat else asked.relation for asked in every):
        for fact in relation.facts():
            with suppress(BadPrompt):
                runs.append(bench.tokens.ask(relation.templates[0], fact.subject))
                facts.append((relation, fact))
    sites = sorted((s for s in single if s.unit is not None), key=str)
    return Corpus(facts, _sizes(bench, runs, sites) if runs else dict.fromkeys(sites, np.empty(0)))


def _sizes(bench: Bench, runs: Sequence[Run], sites: Sequence[Site]) -> dict[Site, np.ndarray]:
    acts = bench.read(runs, sites)
    starts = np.cumsum([0, *map(len, runs)])[:-1]
    sink = np.concatenate([np.arange(len(r)) < r.sink for r in runs])
    size = {s: np.where(sink, 0.0, np.linalg.norm(acts[s].reshape(len(sink), -1), axis=1)) for s in sites}
    return {s: np.maximum.reduceat(x, starts) for s, x in size.items()}


def _bare(site: Site) -> Site:
    return Site(site.layer, site.kind, site.unit)


def _firing(
    bench: Bench, topic: Topic, corpus: Corpus, confirm: Sequence[Case], corruption: str, need: Need, seed: int
) -> tuple[tuple[tuple[tuple[Case, float], ...], ...], tuple[str, ...]]:
    """Of each set that is one head or neuron, cases of the facts about other subjects that fire it most, with their
    share of its activation on the topic; and in words the fact, known or not, that does so most."""
    own, answers = {c.fact.subject for c in confirm}, {c.fact.object for c in confirm}
    other = np.array([f.subject not in own and f.object not in answers for _, f in corpus.facts], bool)
    sites = [_bare(sites[0]) if len(sites) == 1 and sites[0].unit is not None else None for sites in topic.sets]
    there = sorted({s for s in sites if s}, key=str)
    mine = _sizes(bench, [c.clean for c in confirm], there) if there else {}
    shares = {site: np.where(other, corpus.sizes[site] / max(float(mine[site].mean()), 1e-9), -1.0) for site in there}
    order = {site: np.argsort(-share, kind="stable") for site, share in shares.items()}
    made: dict[Fact, Case] = {}
    tried: set[int] = set()
    depths = dict.fromkeys(there, 0)
    for depth in DEPTHS:  # of most sites the first few are known, and no more are asked about
        lacking = [s for s, o in order.items() if sum(corpus.facts[i][1] in made for i in o[: depths[s]]) < FEWEST]
        depths |= dict.fromkeys(lacking, depth)
        asked = {int(i) for s in lacking for i in order[s][:depth]} - tried
        made |= _asked_once(bench, [corpus.facts[i] for i in sorted(asked)], corruption, need, seed)
        tried |= asked
    found: list[tuple[tuple[Case, float], ...]] = []
    most = []
    for site in sites:
        top = [(corpus.facts[i][1], float(shares[site][i])) for i in order[site][: depths[site]]] if site else []
        found.append(tuple((made[f], share) for f, share in top if f in made)[:FIRING])
        most.append(f"{top[0][1]:.6g} {top[0][0].relation}({top[0][0].subject})" if top else "")
    return tuple(found), tuple(most)


def _asked_once(
    bench: Bench, facts: Sequence[tuple[Relation, Fact]], corruption: str, need: Need, seed: int
) -> dict[Fact, Case]:
    """One case of each fact that the model knows in its relation's first template."""
    found: dict[Fact, Case] = {}
    for relation in dict.fromkeys(r.name for r, _ in facts):
        own = [(r, f) for r, f in facts if r.name == relation]
        foils: dict[str, tuple[str, ...]] = {}
        for r, fact in own:
            names = [s for s, o in r.objects.items() if o != fact.object]
            random.Random(f"{seed} {fact}").shuffle(names)
            foils[fact.subject] = tuple(names)
        with suppress(BadFact, BadPrompt):
            asked = Asked(own[0][0], tuple(f for _, f in own), own[0][0].templates[:1], foils)
            cases, _, _ = aligned(bench, asked, corruption=corruption, need=need, among=AMONG, donors=False)
            for case in cases:
                found.setdefault(case.fact, case)
    return found


def _shuffled(bench: Bench, asked: Prompts, confirm: Sequence[Case]) -> tuple[tuple[Case, LogitDifference], ...]:
    """Confirming cases with the answers of two other facts of the relation: label-shuffled facts."""
    relation = asked.relation
    own = {c.fact.object for c in confirm} | {c.foil.object for c in confirm}
    names = [o for o in dict.fromkeys(relation.objects.values()) if o not in own]
    draw = random.Random(f"shuffled {relation.name}")
    made = []
    for case in confirm[:SHUFFLED] if len(names) > 1 else ():
        with suppress(BadPrompt):
            said = [relation.say(o, case.template.language) for o in draw.sample(names, 2)]
            target, foil = (bench.tokens.answer(case.clean, o) for o in said)
            if (same := shared(target, foil)) < min(len(target), len(foil)):
                made.append((same, case, LogitDifference(target, foil)))
    apart = [m for m in made if not m[0]]  # from the first token on
    return tuple((case, readout) for _, case, readout in apart or made)
