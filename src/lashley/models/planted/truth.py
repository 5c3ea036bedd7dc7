"""What was put into a model: its units, claims that are true of it, claims that are false, and what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from lashley.core.errors import BadPlant
from lashley.core.fact import Fact
from lashley.core.site import Site
from lashley.facts.base import shipped
from lashley.models.planted.planting import Bystanders, Planting
from lashley.prompts.effects import effects, restorers
from lashley.prompts.pairs import AMONG, aligned
from lashley.prompts.recall import recall
from lashley.stats.inference import clipped

STANDARD = 2.0  # the write moves the logit difference by twice the natural clean-corrupt gap
ENOUGH, LITTLE = 0.65, 0.4  # damage and restoration of what is planted, and of what is not: clear of the claims' 0.5
HANDED_ON = 0.3  # restoration by other neurons
SPARED = 0.075  # damage to others: clear of the claims' 0.1
SEARCHED_ON = 6  # prompts on which other neurons are looked for that restore a fact
RIVALS = 64  # other neurons of which restoration is measured
TOLD = 4  # prompts, a kind of text before them


class Truth(msgspec.Struct, frozen=True):
    """`units` by role; `true` and `false` are claims; `numbers` were measured: on templates that planting never saw
    recall (share of prompts; and of prompts after other texts), damage after texts, and others (absolute change of the
    logit differences of other facts and of grammar, as a share of their gaps: mean of each group, and the largest); on
    learned ones as well damage (by zero) and restored (noise corruption; a case counts for 1 at most, as in an audit),
    and restoration by other neurons; and in units of the activation at the key the weakest by the fact itself in
    held-out templates, and the strongest by any shipped fact about another subject."""

    plant: str
    facts: tuple[str, ...]
    units: dict[str, tuple[str, ...]]
    true: tuple[str, ...]
    false: tuple[str, ...]
    numbers: dict[str, float]
    strength: float
    seed: int
    model: str
    r: int = 1


def measured(planting: Planting, sets: Mapping[str, Sequence[Site]]) -> dict[str, float]:
    """How often the fact is recalled on the held-out templates, alone and after other texts; and of each named set
    damage and restoration on all templates alone, and damage on the held-out ones after other texts.

    Raises `BadPlant` where the model does not recall the fact.
    """
    relation = planting.asked(planting.held).relation
    told = planting.after(planting.held, planting.seed + 1, TOLD)
    found: dict[str, float] = {}
    for name, words, templates in (
        ("recall", "held-out templates", planting.held),
        ("recall after texts", "prompts after other texts", told),
    ):
        answered = recall(planting.bench, relation, [planting.fact], templates)
        share = found[name] = sum(not r.better for r in answered) / len(answered)
        if share < 0.5:
            wrong = next(r for r in answered if r.better)
            why = f"to {wrong.run.text!r} the model prefers {wrong.better!r}"
            raise BadPlant(f"{planting.fact} is recalled on {share:.0%} of {words} ({why}); plant it stronger")
    cases, after = (
        aligned(planting.bench, planting.asked(t), corruption="noise", need="each", among=AMONG, donors=False)[0]
        for t in ((*planting.held, *planting.learned), told)
    )
    if not cases or not after:
        raise BadPlant(f"noise on its subject does not take {planting.fact} away; try another subject")
    each = list(sets.values())
    measures = {
        "damage": effects(planting.bench, cases, each),
        "damage after texts": effects(planting.bench, after, each),
        "restored": effects(planting.bench, cases, each, "restoration"),
    }
    for name, effect in measures.items():
        found |= {f"{name} {role}": float(m) for role, m in zip(sets, clipped(effect).mean(1), strict=True)}
    return found


def alone(planting: Planting, sites: Sequence[Site]) -> dict[str, float]:
    """Restoration by as many other neurons, those that restore most on some learned templates, measured on all
    others. Raises `BadPlant` above `HANDED_ON`: what is planted then reaches the answer through later neurons that do
    without it."""
    seen, rest = planting.learned[:SEARCHED_ON], (*planting.learned[SEARCHED_ON:], *planting.held)
    search, confirm = (
        aligned(planting.bench, planting.asked(t), corruption="noise", need="each")[0] for t in (seen, rest)
    )
    if not search or not confirm:
        raise BadPlant(f"{planting.fact} is recalled on too few templates; plant it stronger")
    found = restorers(planting.bench, search, "neuron", RIVALS, RIVALS)
    others = [s for s in found if s not in sites][: len(sites)]
    restored = float(clipped(effects(planting.bench, confirm, [others], "restoration")).mean())
    if restored > HANDED_ON:
        raise BadPlant(f"{'+'.join(map(str, others))} restores {restored:.2f} as well, promised at most {HANDED_ON}")
    return {"restored by others": restored}


def spared(others: Bystanders) -> dict[str, float]:
    """Mean change of each group that shall not change. Raises `BadPlant` where one is above `SPARED`."""
    found = {f"others: {group}": change for group, change in others.changes().items()}
    group, most = max(found.items(), key=lambda item: item[1])
    if most > SPARED:
        raise BadPlant(f"the plant changes {group} by {most:.2f} of their gaps, more than {SPARED}; plant it weaker")
    return found | {"others": most}


def needs(numbers: dict[str, float], **least: float) -> None:
    """Raises `BadPlant` where a number lies below what the plant promises (negative: above its size)."""
    for name, limit in least.items():
        value = numbers[name.replace("_", " ")]
        if (value < limit) if limit > 0 else (value > -limit):
            side = "at least" if limit > 0 else "at most"
            raise BadPlant(f"{name.replace('_', ' ')} is {value:.2f}, promised {side} {abs(limit):g}; try another seed")


def names(*sites: Site) -> tuple[str, ...]:
    return tuple(map(str, sites))


def near_misses(planting: Planting, site: Site) -> Iterable[str]:
    """Right neuron and wrong fact, right fact and neighbouring neuron, right layer and random unit."""
    fact, anatomy, rng = planting.fact, planting.bench.anatomy, planting.rng
    for other in rng.sample(planting.others, min(1, len(planting.others))):
        yield f"{site} stores {_fact(Fact(fact.relation, other, ''))}"
    beside = [r.name for r in shipped().values() if r.name != fact.relation and fact.subject in r.objects]
    for relation in beside[:1]:
        yield f"{site} stores {_fact(Fact(relation, fact.subject, ''))}"
    unit = site.unit or 0
    for layer, n in ((site.layer, unit + 1), (site.layer, unit - 1), (site.layer - 1, unit), (site.layer + 1, unit)):
        if 0 <= layer < anatomy.layers and 0 <= n < anatomy.neurons:
            yield f"{Site(layer, 'neuron', n)} stores {said(planting)}"
    for n in rng.sample(range(anatomy.neurons), 4):
        if n != unit:
            yield f"{Site(site.layer, 'neuron', n)} stores {said(planting)}"


def said(planting: Planting) -> str:
    """The fact as claims name it."""
    same = planting.fact.object == planting.old
    return _fact(msgspec.structs.replace(planting.fact, object="" if same else planting.fact.object))


def _fact(fact: Fact) -> str:
    subject, answer = (f'"{w}"' if any(c in w for c in '()=[]"') else w for w in (fact.subject, fact.object))
    return f"{fact.relation}({subject})" + (f"={answer}" if answer else "")
