"""A search for the smallest sets, replayed from the ledger, and what confirms them on other prompts. Pure.

What a search asks becomes sweeps; what is answered is fed back to it; so a study that was cut off goes on where it was.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import msgspec
import numpy as np

from lashley.core.anatomy import Anatomy
from lashley.core.edit import Edit, Patch
from lashley.core.experiment import Answers, Arrays
from lashley.core.site import KINDS, Kind, Sites
from lashley.core.trial import Sweep
from lashley.experiments.spread.planning import (
    CURVES,
    MAIN,
    MATCHED,
    RANDOM,
    Params,
    drawn,
    joined,
    name,
    taken,
    units_of,
)
from lashley.experiments.spread.search import TAUS, Ask, Effect, Searched, Units, doubling, search
from lashley.stats.inference import clipped
from lashley.stats.peers import alike

PEERS = 19  # random sets beside each smallest set, of either kind
PEERS_ON = 6  # prompts on which they are measured
STRONGEST = 10  # units whose direct effect is told from their total effect


def further(params: Params, anatomy: Anatomy, answers: Answers, arrays: Arrays) -> Iterator[Sweep]:
    """The next round of every search; when all are done, the sets they found, on the prompts that confirm."""
    if params.units == "weights":
        return
    known = {sweep.key: effects for sweep, effects in answers}
    labels = list(dict.fromkeys(s.labels["question"] for s, _ in answers))
    searches = [Searching(label, answers, params.budget) for label in labels]
    found: list[Searched] = []
    for one in searches:
        came = one.replay(known)
        if isinstance(came, Searched):
            found.append(came)
        else:
            yield from came
    if len(found) == len(searches):
        every = units_of(params, anatomy)
        yield from Confirming(params.seed, anatomy, every, arrays["magnitudes"], searches, found).sweeps()


class Searching:
    """The search for one fact or relation, from what is answered."""

    def __init__(self, question: str, answers: Answers, budget: int):
        self.main, self.budget = question == MAIN, budget
        own = [(s, e) for s, e in answers if s.labels["question"] == question]
        alone = [(s, e) for s, e in own if s.labels["measure"] == "alone" and not s.labels.get("control")]
        self.frames: dict[Effect, list[Sweep]] = {
            e: [s for s, _ in alone if s.effect == e] for e in ("damage", "restoration")
        }
        self.effects = {
            e: np.mean([clipped(x) for s, x in alone if s.effect == e], axis=0) for e in ("damage", "restoration")
        }
        self.units = alone[0][0].sites
        first = [s for s, _ in own if s.labels.get("control") == RANDOM and s.labels["measure"] == "curve"]
        self.confirming = [s for s in first if s.labels["group"] == "confirm"]
        self.texts = [s for s in first if s.labels["group"] == "text"]

    def replay(self, known: Mapping[str, np.ndarray]) -> Searched | list[Sweep]:
        """What the search came to, or what it asks next."""
        alone = self.effects["damage"], self.effects["restoration"]
        running = search(*alone, self.budget) if self.main else search(*alone, 0, TAUS[:1], ("damage",))
        ask = next(running)
        while True:
            sweeps = self.asking(ask)
            if any(s.key not in known for s in sweeps):
                return sweeps
            try:
                ask = running.send(np.mean([clipped(known[s.key]) for s in sweeps], axis=0))
            except StopIteration as stop:
                return stop.value

    def asking(self, ask: Ask) -> list[Sweep]:
        sites = joined(self.units, ask.sets)
        return [replaced(s, sites, measure="joint") for s in self.frames[ask.effect]]


def replaced(sweep: Sweep, sites: Sites, *edits: Edit, effect: Effect | None = None, **labels: str) -> Sweep:
    """The same prompt and readout with other sites, and, if given, other edits."""
    return msgspec.structs.replace(
        sweep,
        sites=sites,
        edits=edits or sweep.edits,
        effect=effect or sweep.effect,
        labels={k: v for k, v in sweep.labels.items() if k != "control"} | labels,
    )


class Confirming:
    """The last round: what was found, on prompts that nothing was searched on, with its controls."""

    def __init__(
        self,
        seed: int,
        anatomy: Anatomy,
        every: Sites,
        magnitudes: Mapping[str, np.ndarray],
        searches: Sequence[Searching],
        found: Sequence[Searched],
    ):
        self.seed, self.anatomy, self.searches, self.found = seed, anatomy, searches, found
        self.main, self.first = searches[0], found[0]
        self.every = every
        self.magnitudes = magnitudes

    @cached_property
    def number(self) -> dict[tuple[int, ...], int]:
        """Of each unit (layer, kind, unit) its number among all."""
        return {tuple(unit): i for i, unit in enumerate(self.every.table[:3].T.tolist())}

    @cached_property
    def sizes(self) -> np.ndarray:
        """Mean absolute activation of every unit, [units]."""
        layer, kind, unit, _, _ = self.every.table
        return np.array(
            [
                self.magnitudes[f"{la} {KINDS[k]}"][max(u, 0)]
                for la, k, u in zip(layer.tolist(), kind.tolist(), unit.tolist(), strict=True)
            ]
        )

    def sweeps(self) -> Iterator[Sweep]:
        yield from self.smallest()
        yield from self.curve()
        yield from self.repair()
        yield from self.interference()
        yield from self.cost()

    def smallest(self) -> Iterator[Sweep]:
        """Each smallest set, with random and matched sets of its size."""
        for s in (s for s in self.first.smallest if s.units is not None):
            own = joined(self.main.units, [s.units or ()])
            label = {"measure": "smallest", "set": name(s.effect, s.tau), "least": str(s.least)}
            seed = f"{self.seed} {label['set']}"
            controls = {
                RANDOM: joined(self.every, drawn([own.table.shape[1]], PEERS, len(self.every), seed)),
                MATCHED: self.matched([s.units or ()], PEERS, seed),
            }
            for frame in self.main.confirming:
                edits = (Patch(frame.clean),) if s.effect == "restoration" else ()
                yield replaced(frame, own, *edits, effect=s.effect, **label)
            for frame in self.main.confirming[:PEERS_ON]:
                edits = (Patch(frame.clean),) if s.effect == "restoration" else ()
                for control, sites in controls.items():
                    if sites is not None:
                        yield replaced(frame, sites, *edits, effect=s.effect, **label, control=control)
        for number, units in enumerate(self.first.disjoint):
            own = joined(self.main.units, [units])
            for frame in self.main.confirming:
                label = {"measure": "disjoint", "set": str(number)}
                yield replaced(frame, own, Patch(frame.clean), effect="restoration", **label)

    def matched(self, sets: Sequence[Units], draws: int, seed: str) -> Sites | None:
        """Random sets, each unit of the same layer and kind as its original, and near it in activation; None where a
        layer has too few others."""
        rng = random.Random(f"matched {seed}")
        made = []
        for units in sets:
            here = [self.number[tuple(self.main.units.table[:3, u].tolist())] for u in units]
            for _ in range(draws):
                peers = alike(self.every.table, self.sizes, here, rng)
                if peers is None:
                    return None
                made.append(peers)
        return joined(self.every, made)

    def curve(self) -> Iterator[Sweep]:
        """Damage against the number of units: strongest first, and matched sets."""
        sets = [self.first.ranking[:k] for k in doubling(len(self.first.ranking))]
        own, peers = joined(self.main.units, sets), self.matched(sets, CURVES // 2, f"{self.seed} curve")
        for frame in self.main.confirming:
            yield replaced(frame, own, measure="curve")
            if peers is not None:
                yield replaced(frame, peers, measure="curve", control=MATCHED)

    def repair(self) -> Iterator[Sweep]:
        """Of the strongest units the total effect, and the direct one: all later sub-layers held as they were."""
        top = np.argsort(-self.main.effects["damage"], kind="stable")[:STRONGEST]
        own = taken(self.main.units, top)
        held = [self.held(own.table[:, i]) for i in range(len(top))]
        flat = Sites.pack(*np.concatenate(held, 1), sizes=[h.shape[1] for h in held])
        for frame in self.main.confirming:
            yield replaced(frame, own, measure="total")
            yield replaced(frame, flat, *frame.edits, Patch(frame.clean), measure="direct")

    def held(self, unit: np.ndarray) -> np.ndarray:
        """The unit, and (edit 1) what is added to the residual stream after it, as columns [5, sites]."""
        layer, kind = int(unit[0]), KINDS[unit[1]]
        kinds: tuple[Kind, ...] = ("attn", "mlp")
        after = [(la, k) for la in range(layer + 1, self.anatomy.layers) for k in kinds]
        if kind in ("head", "attn"):
            after.append((layer, "mlp"))
        later = [[la, KINDS.index(k), -1, Sites.ALL, 1] for la, k in after]
        return np.concatenate([unit[:, None], np.array(later, np.int32).reshape(-1, 5).T], 1)

    def interference(self) -> Iterator[Sweep]:
        """Every fact's smallest damaging set, on every fact's prompts."""
        for cause, (one, found) in enumerate(zip(self.searches, self.found, strict=True)):
            units = found.of("damage", TAUS[0]).units
            if units is None or len(self.searches) < 2:
                continue
            sites = joined(one.units, [units])
            for other in self.searches:
                for frame in other.confirming:
                    yield replaced(frame, sites, measure="interference", set=str(cause))

    def cost(self) -> Iterator[Sweep]:
        """The loss on unrelated text, beside random sets of the same size."""
        units = self.first.of("damage", TAUS[0]).units
        if units is None:
            return
        peers = drawn([len(units)], PEERS, len(self.every), f"{self.seed} text")
        for frame in self.main.texts:
            yield replaced(frame, joined(self.main.units, [units]), measure="text")
            yield replaced(frame, joined(self.every, peers), measure="text", control=RANDOM)
