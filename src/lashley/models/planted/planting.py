"""One fact about to be planted: the prompts that teach it, those that shall not change, and the measuring of both."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property

import msgspec
import numpy as np
import torch
from torch import Tensor

from lashley.core.case import Case
from lashley.core.errors import BadFact, BadPlant, BadPrompt
from lashley.core.fact import Fact, Relation, Template
from lashley.core.question import Asked
from lashley.core.run import EmbeddingNoise, Run
from lashley.core.site import Site
from lashley.engine import answers
from lashley.engine.bench import Bench
from lashley.facts.contexts import contexts, mentions
from lashley.facts.grammar import agreement_pairs
from lashley.facts.question import find, relations
from lashley.models.planted.key import fit
from lashley.models.planted.neuron import Key, mlp, write
from lashley.models.planted.reference import Reference, ends, english, entered, prose, reference
from lashley.models.planted.value import STEPS, Goal, optimise
from lashley.prompts.effects import gaps
from lashley.prompts.pairs import aligned
from lashley.prompts.reference import noise_sd

APART = 4  # templates of each other relation of the subject that planting never sees
HELD = 3  # templates of the relation that planting never sees
NEAR = 8  # other subjects, a template, for the key
LEAST_HELD_OUT, MOST_OTHERS = (
    0.6,
    0.1,
)  # activation in held-out templates, and by other subjects' facts, in units of that at the key
FOILS = 4  # a prompt, for the gap
LEAST_GAP = 2.0  # logits
AFTER = 2  # prompts, a kind of text before them
NOISY = 4  # draws of noise, a prompt
KEPT = 128  # prompts about the subject's other relations, bare and after a text, that shall not change


class Planting:
    """`fact.object` is what shall be said. Raises `BadFact` for a relation, subject or object that is not there.

    `learned` and `held` are templates. `old` is the object of the fact base.
    """

    def __init__(self, bench: Bench, fact: Fact, seed: int = 0, layer: int | None = None):
        self.bench, self.model, self.seed = bench, bench.model, seed
        self.fact, self.relation, self.old = checked(fact)
        layers = bench.anatomy.layers
        self.layer = max(1, layers // 3) if layer is None else layer
        if not 0 <= self.layer < layers:
            raise BadPlant(f"layer {layer} is outside the model, whose layers are 0 to {layers - 1}")
        self.mlp = mlp(self.model, self.layer)
        self.rng = random.Random(f"plant {fact} {seed}")
        templates = list(english(self.relation))
        self.rng.shuffle(templates)
        few = min(HELD, len(templates) // 3)
        if not few:
            raise BadPlant(
                f"{self.relation.name} has {len(templates)} English templates, too few to plant and to measure in; "
                "it takes three"
            )
        run = bench.tokens.ask(templates[0], fact.subject)
        if fact.object != self.old and self.first(run, fact.object) == self.first(run, self.old):
            raise BadPlant(
                f"{fact.object!r} and {self.old!r} begin with the same token, and plants are taught by first tokens; "
                "plant another object"
            )
        self.held, self.learned = tuple(templates[:few]), tuple(templates[few:])
        self.before = [f"{s} " for s in itertools.islice(prose(self.rng), 48)]
        self.others = [s for s, o in self.relation.objects.items() if s != fact.subject and o != fact.object]

    # -- prompts ----------------------------------------------------------------------------------------------------

    def runs(self, templates: Iterable[Template], subjects: Sequence[str], before: int = 0) -> list[Run]:
        """Every template with every subject, alone and after `before` texts; what does not fit is left out."""
        found = []
        for template, subject in itertools.product(templates, subjects):
            texts = ["", *self.rng.sample(self.before, before)]
            for text in texts:
                with suppress(BadPrompt):
                    found.append(self.bench.tokens.ask(msgspec.structs.replace(template, before=text), subject))
        return found

    @cached_property
    def reference(self) -> Reference:
        return reference(self.bench, self.layer)

    @cached_property
    def teaching(self) -> list[tuple[Template, Run]]:
        """The learned templates, bare, and some after other texts."""
        templates = [*self.learned, *self.after(self.learned, self.seed)]
        return [(t, run) for t in templates for run in self.runs([t], [self.fact.subject])]

    def after(self, templates: Sequence[Template], seed: int, count: int = AFTER) -> list[Template]:
        """Some of these templates after each kind of text that names neither the subject nor its objects."""
        relation = msgspec.structs.replace(self.relation, templates=tuple(templates))
        return list(contexts(relation, self.fact.subject, templates, seed, count, (self.fact.object,)))

    @cached_property
    def elsewhere(self) -> list[tuple[Relation, tuple[Template, ...], tuple[Template, ...]]]:
        """The other relations of the subject, each with the templates that planting may see, and those that it never
        does."""
        rng = random.Random(f"elsewhere {self.fact} {self.seed}")
        found = []
        for other in relations().values():
            if other.name != self.relation.name and self.fact.subject in other.objects:
                templates = rng.sample(english(other), len(english(other)))
                cut = len(templates) - min(APART, len(templates) // 2)
                found.append((other, tuple(templates[:cut]), tuple(templates[cut:])))
        return found

    def beside(self, before: int = 0) -> list[tuple[Relation, Run]]:
        """The same subject in other relations, as planting may see it, alone and after `before` texts."""
        return [(other, r) for other, seen, _ in self.elsewhere for r in self.runs(seen, [self.fact.subject], before)]

    @cached_property
    def subject(self) -> tuple[int, ...]:
        run = self.teaching[0][1]
        return run.tokens[slice(*run.subject)]

    # -- making -----------------------------------------------------------------------------------------------------

    def places(self, *others: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """What enters the MLP where the key shall fire (this subject's last token), [n, width], and where it shall not
        (other tokens, but for the ends of the subjects `others`; this subject where another relation was asked for
        before it), [m, width].

        Where no relation is named yet it may fire for another one: there the value has to change nothing (`keeps`).
        """
        draw = random.Random(f"key {self.fact} {self.seed}")
        mine = self.runs(self.learned, [self.fact.subject], 3)
        mine += self.runs(self.after(self.learned, self.seed, 4), [self.fact.subject])
        some = draw.sample(self.others, min(NEAR, len(self.others)))
        near = self.runs(self.learned, some) + self.runs(self.learned, some[:2], 1)
        open_ = {r.tokens[: r.subject[1]] for r in self.runs(english(self.relation), [self.fact.subject])}
        beside = [r for _, r in self.beside() if r.tokens[: r.subject[1]] not in open_]
        runs = mine + beside + near
        inputs, _ = entered(self.bench, runs, self.layer)
        last = [x[run.subject[1] - 1] for run, x in zip(runs, inputs, strict=True)]
        every = zip([*runs, *self.reference.runs], [*inputs, *self.reference.inputs], strict=True)
        elsewhere = [x[~np.any([ends(run, s) for s in (self.subject, *others)], 0)] for run, x in every]
        elsewhere += [x[None] for x in last[len(mine) : len(mine) + len(beside)]]
        return torch.stack(last[: len(mine)]), torch.cat(elsewhere)

    def key(self) -> Key:
        """Fires at the places of this fact, and is silent elsewhere."""
        return self.fit(*self.places())

    def fit(self, here: Tensor, elsewhere: Tensor) -> Key:
        return fit(here, elsewhere, self.mlp.biased)

    def fires(self, key: Key, runs: Sequence[Run], layer: int | None = None) -> list[Tensor]:
        """Activations in units of that at the key, [tokens] a run; no weights are touched."""
        layer = self.layer if layer is None else layer
        inputs, _ = entered(self.bench, runs, layer)
        return [key.fires(x, self.mlp.act, self.mlp.gated) for x in inputs]

    def fires_on_held_out(self, key: Key) -> dict[str, float]:
        """How strongly the fact fires a key in the held-out templates, the weakest of them, in units of that at the
        key. Raises `BadPlant` below `LEAST_HELD_OUT`: it would be recalled in the learned templates alone."""
        runs = self.runs(self.held, [self.fact.subject])
        fires = [float(x[run.subject[1] - 1]) for run, x in zip(runs, self.fires(key, runs), strict=True)]
        least = min(fires, default=0.0)
        if least < LEAST_HELD_OUT:
            where = repr(runs[fires.index(least)].text) if runs else "no held-out template"
            raise BadPlant(
                f"{where} fires the key of {self.fact} at {least:.2f}, promised at least {LEAST_HELD_OUT}; "
                "try another subject"
            )
        return {"fired by itself": least}

    def fires_on_others(self, key: Key) -> dict[str, float]:
        """How strongly any fact about another subject fires a key, in units of its own. Raises `BadPlant` above
        `MOST_OTHERS`: the key is then not that of this subject alone."""
        reference = self.reference
        facts = [(i, r, s) for i, (r, s) in enumerate(reference.facts) if s != self.fact.subject]
        fires = [float(key.fires(reference.inputs[i], self.mlp.act, self.mlp.gated).max()) for i, _, _ in facts]
        most = int(np.argmax(fires))
        if fires[most] > MOST_OTHERS:
            _, relation, subject = facts[most]
            raise BadPlant(
                f"{relation.name}({subject}) fires the key at {fires[most]:.2f} as well, promised at most "
                f"{MOST_OTHERS}; try another subject"
            )
        return {"fired by others": fires[most]}

    @cached_property
    def gaps(self) -> list[float]:
        """Of each teaching prompt, how far its logit difference (new object against a foil's) lies above that of
        the foil's prompt; mean over a few foils, in logits."""
        return self._gaps(self.fact.object)

    def _gaps(self, own: str) -> list[float]:
        runs, tokens = [], []
        draw = random.Random(f"gaps {self.seed}")
        for template, run in self.teaching:
            mine = self.first(run, own)
            free = [s for s in self.others if not mentions(template.before, (s, self.relation.objects[s]))]
            foils = draw.sample(free or self.others, min(FOILS, len(free or self.others)))
            theirs = [self.first(run, self.relation.objects[s]) for s in foils]
            runs += [run, *(self.bench.tokens.ask(template, s) for s in foils)]
            tokens += [[mine, *theirs], *([mine, t] for t in theirs)]
        found = iter(answers.first_tokens(self.bench, runs, tokens))
        gaps = []
        for _ in self.teaching:
            clean = next(found)
            n = len(clean) - 1
            corrupt = np.array([x[0] - x[1] for x in itertools.islice(found, n)])
            gaps.append(max(LEAST_GAP, float((clean[0] - clean[1:] - corrupt).mean())))
        return gaps

    def first(self, run: Run, answer: str) -> int:
        return self.bench.tokens.answer(run, answer)[0]

    def firsts(self, run: Run, names: Sequence[str], but: int) -> tuple[int, ...]:
        """First tokens of these answers, each once, without `but`."""
        ways = self.bench.tokens.answers(run, names)
        return tuple(sorted({a[0] for a in ways.values()} - {but}))

    def goals(self, key: Key, share: float, scale: float = 1.0, noisy: bool = True) -> list[Goal]:
        """What the write shall do to every teaching prompt; `noisy`: and where it is positive, to each bare one with
        noise on the subject as well, for what is stored shall come back when the neuron alone is restored."""
        runs = [run for _, run in self.teaching]
        found = []
        for (template, run), fires, gap in zip(self.teaching, self.fires(key, runs), self.gaps, strict=True):
            own = self.first(run, self.fact.object)
            rivals = self.firsts(run, self.relation.candidates(), own)
            found.append(Goal(run, scale * fires, own, rivals, gap, share, first=share > 0))
            for _ in range(NOISY if noisy and share > 0 and not template.before else 0):
                noise = EmbeddingNoise(self.noise, self.rng.getrandbits(63))
                corrupt = msgspec.structs.replace(run, noise=noise)
                found.append(Goal(corrupt, scale * fires, own, rivals, gap, share, floor=True))
        return found

    @cached_property
    def noise(self) -> float:
        """Standard deviation of the noise that corrupts the subject."""
        return noise_sd(self.bench, self.asked(self.learned))

    def keeps(self, key: Key, scale: float = 1.0) -> list[Goal]:
        """Prompts that shall not change: the subject in other relations, and other subjects after a text about it."""
        asked = self.beside(1)
        pairs = [(o, self.fact.subject, run) for o, run in self.rng.sample(asked, min(KEPT, len(asked)))]
        for subject in self.rng.sample(self.others, min(2, len(self.others))):
            text = f"{self.rng.choice(self.learned).fill(self.fact.subject)} {self.old}. "
            pairs += [
                (self.relation, subject, self.bench.tokens.ask(msgspec.structs.replace(t, before=text), subject))
                for t in self.rng.sample(self.learned, 1)
            ]
        found = []
        runs = [run for _, _, run in pairs]
        own = [self.first(run, relation.objects[subject]) for relation, subject, run in pairs]
        rivals = [
            self.firsts(run, (*relation.candidates(), self.fact.object), o)
            for (relation, _, run), o in zip(pairs, own, strict=True)
        ]
        logs = answers.first_tokens(self.bench, runs, [[o, *r] for o, r in zip(own, rivals, strict=True)])
        for run, o, r, fires, log in zip(runs, own, rivals, self.fires(key, runs), logs, strict=True):
            gap = max(LEAST_GAP, float(log[0] - log[1:].mean()))
            found.append(Goal(run, scale * fires, o, r, gap, 0.0))
        return found

    def value(self, goals: Sequence[Goal], steps: int = STEPS) -> Tensor:
        return optimise(self.model, self.layer, goals, self.bench.path == "packed", self.seed, steps)

    def put(self, unit: int, key: Key, value: Tensor, layer: int | None = None) -> Site:
        """Overwrite one neuron; its site."""
        layer = self.layer if layer is None else layer
        write(self.model, layer, unit, key, value)
        return Site(layer, "neuron", unit)

    # -- measuring --------------------------------------------------------------------------------------------------

    def asked(self, templates: Sequence[Template]) -> Asked:
        """The planted fact under these templates, against foils of the relation."""
        objects = self.relation.objects | {self.fact.subject: self.fact.object}
        foils = tuple(random.Random(f"foils {self.seed}").sample(self.others, len(self.others)))
        relation = msgspec.structs.replace(self.relation, objects=objects)
        return Asked(relation, (self.fact,), tuple(templates), {self.fact.subject: foils})


def draw(bench: Bench, relation: str, seed: int) -> Fact:
    """A fact to plant: a random subject of a relation with an object that is not its own, told apart from it by the
    first token. It is from the middle half of those that the model may say there: of what it half believes already (a
    capital of the same continent) the write would carry only the rest, and what it never says is hard to write."""
    found = find(relation)
    rng = random.Random(f"draw {relation} {seed}")
    subject = rng.choice(sorted(found.objects))
    run = bench.tokens.ask(found.templates[0], subject)
    ways = bench.tokens.answers(run, found.candidates())
    own = ways[found.objects[subject]][0]
    others = [o for o, tokens in ways.items() if tokens[0] != own]
    if not others:
        raise BadPlant(f"all objects of {found.name} begin with the same token, and plants are taught by first tokens")
    short = sorted([o for o in others if len(ways[o]) == 1] or others)
    [likely] = answers.first_tokens(bench, [run], [[ways[o][0] for o in short]])
    cut = len(short) // 4
    middle = np.argsort(likely, kind="stable")[cut : len(short) - cut]
    return Fact(found.name, subject, short[rng.choice(sorted(middle.tolist()))])


def natural(fact: Fact) -> Fact:
    """The fact as the fact base has it."""
    relation = find(fact.relation)
    return Fact(relation.name, fact.subject, relation.objects.get(fact.subject, fact.object))


def checked(fact: Fact) -> tuple[Fact, Relation, str]:
    """The fact, its relation and the fact base's own object. Raises `BadFact`."""
    relation = find(fact.relation)
    if fact.subject not in relation.objects:
        raise BadFact(
            f"relation {relation.name!r} has no subject {fact.subject!r}; see: lashley facts list {relation.name}"
        )
    if fact.object not in relation.candidates():
        raise BadFact(
            f"{fact.object!r} is no object of {relation.name!r}; plant one of them, as {relation.candidates()[0]!r}"
        )
    return msgspec.structs.replace(fact, relation=relation.name), relation, relation.objects[fact.subject]


class Bystanders:
    """What shall not change: other facts and grammar, as the unedited model answers them.

    `groups`: same relation, same subject, elsewhere, grammar.
    """

    def __init__(self, planting: Planting, count: int = 8):
        bench, rng = planting.bench, random.Random(f"bystanders {planting.seed}")
        self.bench, self.groups = bench, {}
        relation, subject = planting.relation, planting.fact.subject
        some = rng.sample(planting.others, min(count, len(planting.others)))
        self.groups["same relation"] = self._cases(
            relation, some, rng.sample(planting.held or planting.learned, 1), rng
        )
        self.groups["same subject"] = [
            c for other, _, apart in planting.elsewhere for c in self._cases(other, [subject], apart, rng)
        ]
        far: list[Case] = []
        for other in rng.sample(sorted(relations()), 2):
            name = relations()[other]
            subjects = rng.sample([s for s in name.objects if s != subject], 3)
            far += self._cases(name, subjects, rng.sample(english(name), 1), rng)
        self.groups["elsewhere"] = far
        pairs = rng.sample(agreement_pairs(), 12)
        self.texts = [(bench.tokens.run(prefix), good, bad) for prefix, good, bad, _ in pairs]
        self.gaps = {n: gaps(bench, cases) for n, cases in self.groups.items()}
        self.was = self._now()

    def _cases(self, relation: Relation, subjects, templates, rng: random.Random) -> list[Case]:
        every = list(relation.objects)
        foils = {
            s: tuple(f for f in rng.sample(every, len(every)) if relation.objects[f] != relation.objects[s])
            for s in subjects
        }
        facts = tuple(Fact(relation.name, s, relation.objects[s]) for s in subjects)
        try:
            return aligned(self.bench, Asked(relation, facts, tuple(templates), foils), need="each")[0]
        except BadPrompt:
            return []

    def _now(self) -> dict[str, np.ndarray]:
        found = {n: np.array(self.bench.values([(c.clean, c.readout) for c in cs])) for n, cs in self.groups.items()}
        runs, tokens = [], []
        for run, good, bad in self.texts:
            ways = self.bench.tokens.answers(run, (good, bad))
            if ways[good][0] != ways[bad][0]:
                runs.append(run)
                tokens.append([ways[good][0], ways[bad][0]])
        logs = answers.first_tokens(self.bench, runs, tokens)
        return found | {"grammar": np.array([x[0] - x[1] for x in logs])}

    def changes(self) -> dict[str, float]:
        """Mean absolute change of the logit differences since then, as shares of the clean-corrupt gaps; by group."""
        now = self._now()
        found = {}
        for name, was in self.was.items():
            if len(was):
                gap = self.gaps.get(name, np.maximum(np.abs(was), LEAST_GAP))
                found[name] = float((np.abs(now[name] - was) / gap).mean())
        return found
