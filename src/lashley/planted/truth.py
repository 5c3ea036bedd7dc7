"""What was put into a model: its units, claims that are true of it, claims that are false, and what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import msgspec
import numpy as np

from lashley.core.errors import BadPlant, BadPrompt
from lashley.core.fact import Fact
from lashley.core.site import Site
from lashley.effects import effects, restorers
from lashley.facts.base import shipped
from lashley.facts.question import Asked
from lashley.planted.neuron import Key
from lashley.planted.plot import Bystanders, Plot
from lashley.recall import aligned, recall

STANDARD = 2.0  # the write moves the logit difference by twice the natural clean-corrupt gap
ENOUGH, LITTLE = 0.6, 0.4  # damage and restoration of what is planted, and of what is not: clear of the claims' 0.5
HANDED_ON = 0.3  # restoration by other neurons
SPARED = 0.1  # damage to others
SEARCHED_ON = 6  # prompts on which other neurons are looked for that restore a fact
RIVALS = 64  # other neurons of which restoration is measured
NEIGHBOURS = 6  # facts about other subjects that fire the key most


class Truth(msgspec.Struct, frozen=True):
    """`units` by role; `true` and `false` are claims; `numbers` were measured on templates that planting never saw:
    recall (share of prompts; and of prompts after other texts), damage and restored (noise corruption), others
    (absolute change of the logit differences of other facts and of grammar, as a share of their gaps: mean of each
    group, and the largest). Restoration by other neurons is on learned templates as well."""

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


def measured(plot: Plot, sets: Mapping[str, Sequence[Site]]) -> dict[str, float]:
    """On the held-out templates: how often the fact is recalled, and of each named set damage and restoration.

    Raises `BadPlant` where the model does not recall the fact.
    """
    cases, _, gone = aligned(plot.bench, plot.asked(plot.held), corruption="noise", draws=2)
    recalled = len({c.template for c in cases}) / len(plot.held)
    if recalled < 0.5:
        why = gone[0].reason[:160] if gone else "no prompt separates it"
        raise BadPlant(f"{plot.fact} is recalled on {recalled:.0%} of held-out templates ({why}); plant it stronger")
    after = plot.after(plot.held, plot.seed + 1)
    found = {"recall": recalled}
    heard = [not r.better for r in recall(plot.bench, plot.asked(after).relation, [plot.fact], after)]
    if heard:
        share = found["recall after texts"] = float(np.mean(heard))
        if share < 0.5:
            raise BadPlant(f"{plot.fact} is recalled on {share:.0%} of prompts after other texts; plant it stronger")
    each = list(sets.values())
    damage, restored = effects(plot.bench, cases, each).mean(1), effects(plot.bench, cases, each, "restoration").mean(1)
    for name, mean in (("damage", damage), ("restored", restored)):
        found |= {f"{name} {role}": float(m) for role, m in zip(sets, mean, strict=True)}
    return found


def alone(plot: Plot, sites: Sequence[Site]) -> dict[str, float]:
    """Restoration by as many other neurons, those that restore most on some learned templates, measured on all
    others. Raises `BadPlant` above `HANDED_ON`: what is planted then reaches the answer through later neurons that do
    without it."""
    seen, rest = plot.learned[:SEARCHED_ON], (*plot.learned[SEARCHED_ON:], *plot.held)
    search, confirm = (aligned(plot.bench, plot.asked(t), corruption="noise", need="each")[0] for t in (seen, rest))
    if not search or not confirm:
        raise BadPlant(f"{plot.fact} is recalled on too few templates; plant it stronger")
    found = restorers(plot.bench, search, "neuron", RIVALS, RIVALS)
    others = [s for s in found if s not in sites][: len(sites)]
    restored = float(effects(plot.bench, confirm, [others], "restoration").clip(-1, 1).mean())
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


def neighbours(plot: Plot, key: Key, sites: Sequence[Site]) -> dict[str, float]:
    """Damage to the facts about other subjects that fire a key most. Raises `BadPlant` above `SPARED` / 2: the key is
    then not that of this subject alone."""
    ground = plot.ground
    facts = [(i, r, s) for i, (r, s) in enumerate(ground.facts) if s != plot.fact.subject]
    most = np.array([float(key.fires(ground.inputs[i], plot.mlp.act, plot.mlp.gated).max()) for i, _, _ in facts])
    cases = []
    for i in np.argsort(-most, kind="stable")[: 3 * NEIGHBOURS]:
        _, relation, subject = facts[i]
        foils = tuple(s for s, o in relation.objects.items() if o != relation.objects[subject])
        one = Asked(
            relation,
            (Fact(relation.name, subject, relation.objects[subject]),),
            relation.templates[:1],
            {subject: foils},
        )
        with suppress(BadPrompt):
            cases += aligned(plot.bench, one, need="each")[0]
        if len(cases) == NEIGHBOURS:
            break
    damage = float(np.abs(effects(plot.bench, cases, [sites])).mean()) if cases else 0.0
    if damage > SPARED / 2:
        raise BadPlant(
            f"facts that fire the key as well lose {damage:.2f}, more than {SPARED / 2:g}; try another subject"
        )
    return {"others: firing": damage}


def only(plot: Plot, key: Key, sites: Sequence[Site]) -> dict[str, float]:
    """That the key is of this fact alone (`neighbours`), and the fact of these neurons alone (`alone`)."""
    return neighbours(plot, key, sites) | alone(plot, sites)


def needs(numbers: dict[str, float], **least: float) -> None:
    """Raises `BadPlant` where a number lies below what the plant promises (negative: above its size)."""
    for name, limit in least.items():
        value = numbers[name.replace("_", " ")]
        if (value < limit) if limit > 0 else (value > -limit):
            side = "at least" if limit > 0 else "at most"
            raise BadPlant(f"{name.replace('_', ' ')} is {value:.2f}, promised {side} {abs(limit):g}; try another seed")


def names(*sites: Site) -> tuple[str, ...]:
    return tuple(map(str, sites))


def near_misses(plot: Plot, site: Site) -> Iterable[str]:
    """Right neuron and wrong fact, right fact and neighbouring neuron, right layer and random unit."""
    fact, anatomy, rng = plot.fact, plot.bench.anatomy, plot.rng
    for other in rng.sample(plot.others, min(1, len(plot.others))):
        yield f"{site} stores {_fact(Fact(fact.relation, other, ''))}"
    beside = [r.name for r in shipped().values() if r.name != fact.relation and fact.subject in r.objects]
    for relation in beside[:1]:
        yield f"{site} stores {_fact(Fact(relation, fact.subject, ''))}"
    unit = site.unit or 0
    for layer, n in ((site.layer, unit + 1), (site.layer, unit - 1), (site.layer - 1, unit), (site.layer + 1, unit)):
        if 0 <= layer < anatomy.layers and 0 <= n < anatomy.neurons:
            yield f"{Site(layer, 'neuron', n)} stores {said(plot)}"
    for n in rng.sample(range(anatomy.neurons), 4):
        if n != unit:
            yield f"{Site(site.layer, 'neuron', n)} stores {said(plot)}"


def said(plot: Plot) -> str:
    """The fact as claims name it."""
    same = plot.fact.object == plot.old
    return _fact(msgspec.structs.replace(plot.fact, object="" if same else plot.fact.object))


def _fact(fact: Fact) -> str:
    subject, answer = (f'"{w}"' if any(c in w for c in '()=[]"') else w for w in (fact.subject, fact.object))
    return f"{fact.relation}({subject})" + (f"={answer}" if answer else "")
