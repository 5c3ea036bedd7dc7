"""What an audit measures: of every topic a dossier, and from it the sweeps that the criteria of all its claims need."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import msgspec
import numpy as np

from lashley.claims import topics as about
from lashley.claims.grammar import parse
from lashley.core.case import Case, Dossier
from lashley.core.claim import Topic
from lashley.core.edit import Constant, Edit, Mean, Noise, Patch, Resample, Zero
from lashley.core.errors import BadSite
from lashley.core.experiment import Door, Gathered
from lashley.core.placed import placed
from lashley.core.question import Question
from lashley.core.readout import Loss
from lashley.core.run import Run
from lashley.core.site import KINDS, Kind, Site, Sites
from lashley.core.trial import Sweep
from lashley.experiments.audit.params import Params, asks
from lashley.stats.peers import fits, matched

CHANCE_ON = 6  # cases, draws of a prompt apart, on which matched random sites and the untrained copy are measured
Effect = Literal["restoration", "damage"]


def gather(params: Params, question: Question, door: Door) -> Gathered[list[Dossier]]:
    """A dossier of each topic. Raises `BadSite` for a site that the model lacks, or `BadPrompt`."""
    dossiers = door.dossiers(
        asks(params),
        searched=params.searched,
        draws=params.draws,
        others=params.others,
        corruption=params.corruption,
        unknown=params.unknown,
        seed=params.seed,
        chat=question.chat,
    )
    cases = [c for d in dossiers for group in ("confirm", "paraphrase") for c in d.cases.get(group, ())]
    return Gathered(dossiers, cases, tuple(e for d in dossiers for e in d.exclusions))


def plan(params: Params, dossiers: Sequence[Dossier]) -> Iterable[Sweep]:
    """All that the criteria of all claims need."""
    for number_, (topic, dossier) in enumerate(zip(asks(params), dossiers, strict=True)):
        if dossier.known:
            yield from _Planner(params, topic, dossier, str(number_)).sweeps()


class _Planner:
    """The sweeps of one topic. A trial is a site set, in order; a label `set` lists instead, by their numbers, the sets
    that a sweep is about ("all": together)."""

    def __init__(self, params: Params, topic: Topic, dossier: Dossier, question: str):
        self.params, self.sets, self.dossier, self.question = params, topic.sets, dossier, question
        self.mean = Mean(dossier.reference)
        self.confirm = dossier.cases["confirm"]
        claims = map(parse, params.claims)
        self.sufficient = {c.sites for c in claims if c.about == topic.about and c.predicate == "is sufficient for"}
        for sites in self.sets:
            if not any(fits(case.clean, sites) for case in self.confirm):
                here = self.confirm[0].clean
                raise BadSite(
                    f"{'+'.join(map(str, sites))} is nowhere in the prompts of {about.name(topic.about)}, such as "
                    f"{here.text!r} ({len(here)} tokens); choose another role or position"
                )

    def sweeps(self) -> Iterator[Sweep]:
        d = self.dossier
        for group in ("confirm", "paraphrase", "domain", "other"):
            for case in d.cases.get(group, ()):
                yield from self.each(case, group, "damage", self.mean)
        for i, case in enumerate(self.confirm):
            for edit in (Zero(), Resample(case.other), Noise(d.reference, self.params.seed * 10_007 + i)):
                yield from self.each(case, "confirm", "damage", edit)
            for q in range(self.constants):
                yield from self.constant(case, "confirm", f"constant {q}", q)
            yield from self.sets_apart(case, i)
        for group in ("confirm", "paraphrase"):
            for case in d.cases.get(group, ()):
                yield from self.each(case, group, "restore", Patch(case.clean), effect="restoration")
                yield from self.rivals(case, group)
        for case in d.cases.get("fit", ()):
            yield from self.each(case, "fit", "fit mean", self.mean)
            yield from self.each(case, "fit", "fit zero", Zero())
            for q in range(self.constants):
                yield from self.constant(case, "fit", f"fit constant {q}", q)
        for run in d.texts:
            yield self.text(run)
        yield from self.controls()

    @property
    def constants(self) -> int:
        return min((len(q) for q in self.dossier.quantiles.values()), default=0)

    def there(self, case: Case) -> list[int]:
        """The sets of which the prompt has every role and position, by their numbers."""
        return [i for i, sites in enumerate(self.sets) if fits(case.clean, sites)]

    def each(
        self, case: Case, group: str, measure: str, *edits: Edit, which: dict[Site, int] | None = None, **words: Any
    ) -> Iterator[Sweep]:
        """All sets; where the prompt lacks what some of them name, the others one by one."""
        there = self.there(case)
        if len(there) == len(self.sets):
            yield self.sweep(case, group, measure, *edits, sites=placed(case.clean, self.sets, which), **words)
            return
        for i in there:
            sites = placed(case.clean, [self.sets[i]], which)
            yield self.sweep(case, group, measure, *edits, sites=sites, set=str(i), **words)

    def sweep(
        self,
        case: Case,
        group: str,
        measure: str,
        *edits: Edit,
        sites: Sites,
        effect: Effect = "damage",
        **labels: str,
    ) -> Sweep:
        return Sweep(
            clean=case.clean,
            corrupt=case.corrupt,
            effect=effect,
            edits=edits,
            sites=sites,
            readout=case.readout,
            labels=case.labels(question=self.question, group=group, measure=measure, **labels),
        )

    def constant(self, case: Case, group: str, measure: str, quantile: int) -> Iterator[Sweep]:
        """Each site of each set held at its own quantile."""
        vectors = {s: q[quantile].tobytes() for s, q in self.dossier.quantiles.items()}
        which = {v: i for i, v in enumerate(dict.fromkeys(vectors.values()))}
        edits = (Constant(v) for v in which)
        yield from self.each(case, group, measure, *edits, which={s: which[v] for s, v in vectors.items()})

    def rivals(self, case: Case, group: str) -> Iterator[Sweep]:
        """The disjoint sets that each set is compared with, restored in its stead; once for all that share them."""
        whose: dict[tuple[tuple[Site, ...], ...], list[str]] = {}
        for i, rivals in enumerate(self.dossier.rivals):
            whose.setdefault(rivals, []).append(str(i))
        for rivals, own in whose.items():
            if rivals:
                there = placed(case.clean, rivals)
                edit = Patch(case.clean)
                yield self.sweep(case, group, "second", edit, sites=there, effect="restoration", set=" ".join(own))

    def sets_apart(self, case: Case, number_: int) -> Iterator[Sweep]:
        """What each set asks of its own: random peers, later MLPs held, the facts that fire it; and all together."""
        d = self.dossier
        there = self.there(case)
        for i, sites in enumerate(self.sets):
            own = str(i)
            if i in there and (held := self.held(case, sites)) is not None:
                yield self.sweep(case, "confirm", "held", self.mean, Patch(case.clean), sites=held, set=own)
            if i in there and number_ < CHANCE_ON and (peers := self.peers(sites)):
                random_ = placed(case.clean, peers)
                yield self.sweep(case, "confirm", "random damage", self.mean, sites=random_, set=own)
                if sites in self.sufficient:
                    edit = Patch(case.clean)
                    yield self.sweep(
                        case, "confirm", "random restore", edit, sites=random_, effect="restoration", set=own
                    )
            if not number_:
                for other, fires in d.firing[i]:
                    if fits(other.clean, sites):
                        yield self.sweep(
                            other, "firing", "damage", self.mean, sites=placed(other.clean, [sites]), set=own,
                            fires=f"{fires:.6g}", most=d.most[i], population=str(d.corpus),
                        )  # fmt: skip
        if len(self.sets) > 1 and len(there) == len(self.sets):
            union = tuple(dict.fromkeys(s for sites in self.sets for s in sites))
            yield self.sweep(case, "confirm", "together", self.mean, sites=placed(case.clean, [union]), set="all")

    def peers(self, sites: tuple[Site, ...]) -> list[tuple[Site, ...]]:
        """Random sets like this one; of units that no claim of the topic names, for those were chosen, not drawn. What
        a search found must stand beside the rest of what it found."""
        magnitudes: dict[tuple[int, Kind], np.ndarray] = dict(self.dossier.magnitudes)
        kinds: set[Kind] = {s.kind for s in sites if s.unit is None}
        anatomy = self.dossier.anatomy
        magnitudes |= {(la, k): np.ones(1) for k in kinds for la in range(anatomy.layers + (k == "resid"))}
        named = () if self.params.searched else itertools.chain(*self.sets)
        seed = f"{self.params.seed} {sites}"
        return matched(sites, magnitudes, self.params.controls, seed, anywhere=True, last=named)

    def held(self, case: Case, sites: tuple[Site, ...]) -> Sites | None:
        """The set, and every later MLP (edit 1) at all positions; None where there is none later."""
        first = max(s.layer + (s.kind != "resid") for s in sites)
        later = range(first, self.dossier.anatomy.layers)
        if not later:
            return None
        layer, kind, unit, position, _ = placed(case.clean, [sites]).table
        n, mlp = len(later), KINDS.index("mlp")
        columns = ([*layer, *later], [*kind, *[mlp] * n], [*unit, *[-1] * n], [*position, *[Sites.ALL] * n])
        return Sites.pack(*columns, [0] * len(layer) + [1] * n, sizes=[len(layer) + n])

    def text(self, run: Run) -> Sweep:
        """Unrelated text: a role that it does not have counts as all its positions."""
        bare = [tuple(dict.fromkeys(_anywhere(s, run) for s in sites)) for sites in self.sets]
        labels = {"question": self.question, "group": "text", "measure": "damage"}
        return Sweep(run, None, "damage", (self.mean,), placed(run, bare), Loss(), labels)

    def controls(self) -> Iterator[Sweep]:
        """Label-shuffled facts, and an untrained copy of the model, in logits."""
        for case, readout in self.dossier.shuffled:
            for sweep in self.each(case, "control", "shuffled", self.mean):
                yield msgspec.structs.replace(sweep, corrupt=None, readout=readout)
        for case in self.confirm[:CHANCE_ON]:
            for sweep in self.each(case, "control", "untrained", self.mean):
                yield msgspec.structs.replace(sweep, corrupt=None, copy="untrained")


def _anywhere(site: Site, run: Run) -> Site:
    try:
        run.resolve(site)
    except BadSite:
        return msgspec.structs.replace(site, position=None)
    return site
