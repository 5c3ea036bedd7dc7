"""Does a claim hold? `L4.mlp.n173 stores capital(France)` goes in, a verdict with its evidence comes out.

Claims and thresholds are frozen before anything is measured. Every claim about one topic shares its prompts, and all
claims share one sweep; the verdict is a pure function of the ledger (see `lashley.claims`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from lashley.claims import topics as about
from lashley.claims.criteria import Evidence, percent_of
from lashley.claims.grammar import check, closed, parse, write
from lashley.claims.spread import BREAKS, broken, clustered, loss, signed, spread
from lashley.claims.topics import topics
from lashley.claims.verdicts import compared, lacking, together, unseen, untestable
from lashley.claims.verdicts import judge as judged
from lashley.core.anatomy import Anatomy
from lashley.core.case import Case, Dossier
from lashley.core.claim import CRITERIA, Claim, Topic, Verdict, shortened
from lashley.core.edit import Constant, Edit, Mean, Noise, Patch, Resample, Zero
from lashley.core.errors import BadSite, LashleyError
from lashley.core.experiment import Arrays, Door, Experiment, Gathered
from lashley.core.figure import Column, Control, Estimate, Finding, Table, number, plural
from lashley.core.outcome import Drawing, Outcome
from lashley.core.question import Question
from lashley.core.readout import Loss
from lashley.core.run import Run
from lashley.core.site import KINDS, Kind, Site, Sites, brief
from lashley.core.trial import Sweep
from lashley.experiments import at_least, unsplit
from lashley.experiments.audit.steps import UNSEEN
from lashley.facts.question import find
from lashley.report.charts import audits
from lashley.stats.peers import fits, matched, placed
from lashley.stats.summary import CAP, capped, measured, ranged, readings, share

if TYPE_CHECKING:
    import pandas as pd

QUESTION = "What becomes of {facts} in {model}?"
MOST = 2_000  # claims in one audit
CHANCE_ON = 6  # cases, draws of a prompt apart, on which matched random sites and the untrained copy are measured
Effect = Literal["restoration", "damage"]
OUTCOMES = ("supported", "refuted", "undecided", "not testable")


@dataclass(frozen=True)
class Params:
    """What is claimed, and how much evidence is gathered.

    Parameters
    ----------
    claims
        The claims: `L4.mlp.n173 stores capital(France)`.
    draws
        Corruptions of each prompt: other foils, or other noise.
    controls
        Matched random sites beside each claimed one.
    others
        Other facts on which damage is measured.
    corruption
        How the corrupted run is made: "noise" on the subject's embeddings (damage 1 is recall lost), or "replace" by
        another subject (damage 1 is that one's object recalled instead).
    searched
        The sites were found on this model's discovery templates; these then confirm nothing.
    unknown
        Go on where the model does not know the fact: only to try the instrument where nothing can be found.
    seed
        Seed of prompts, foils, random sites and noise.
    """

    claims: tuple[str, ...] = ()
    draws: int = 2
    controls: int = 99
    others: int = 24
    corruption: Literal["noise", "replace"] = "noise"
    searched: bool = False
    unknown: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(1, draws=self.draws)
        at_least(0, controls=self.controls, others=self.others)


def frozen(claims: Iterable[str | Claim], anatomy: Anatomy | None = None) -> tuple[str, ...]:
    """Claims as canonical sentences, checked against the fact base, each once; with a model's anatomy, all that it has
    in place of a `*`.

    Raises `BadClaim`, `BadFact`, `BadSite` or `LashleyError`.
    """
    read = (c if isinstance(c, Claim) else parse(c) for c in claims)
    found = dict.fromkeys(write(check(closed(c, anatomy) if anatomy else c)) for c in read)
    if not found:
        raise LashleyError("no claim is given; write one, as 'L4.mlp.n173 stores capital(France)'")
    if len(found) > MOST:
        raise LashleyError(
            f"{len(found):,} different claims are too many for one audit, which takes {MOST:,}; rank the units with "
            "`lashley knockout --screen`, and audit the strongest"
        )
    return tuple(found)


def settled(params: Params, anatomy: Anatomy) -> Params:
    """The parameters with all that a model has in place of a `*`."""
    return replace(params, claims=frozen(params.claims, anatomy))


def asks(params: Params) -> tuple[Topic, ...]:
    """The topics that the claims are about: an audit is planned from a dossier of each."""
    return topics([closed(parse(c)) for c in params.claims])


def title(params: Params, rows: pd.DataFrame) -> str:
    """What is audited, in words."""
    return f"“{shortened(params.claims[0])}”" if len(params.claims) == 1 else f"{number(len(params.claims))} claims"


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


def again(params: dict, table: pd.DataFrame) -> list[Verdict]:
    """The verdicts of a study from its exported heading and table. Raises `LashleyError` where it holds no claims."""
    if "claims" not in params:
        raise LashleyError("this study makes no claims; `lashley report` shows what it found")
    return verdicts(msgspec.convert(params, Params), table)


def verdicts(params: Params, table: pd.DataFrame) -> list[Verdict]:
    """The verdict on every claim, from the tidy table alone."""
    claims = [parse(c) for c in params.claims]
    each = evidence(params, claims, table)
    found = []
    for claim, own in zip(claims, each, strict=True):
        if own is not None and len(own.damage("confirm")):
            found.append(judged(claim, own))
        else:
            reason = _reason(claim, table)
            found.append(untestable(claim, reason) if reason else unseen(claim, f"{UNSEEN} {about.name(claim.about)}"))
    return together(found, claims)


def evidence(params: Params, claims: Sequence[Claim], table: pd.DataFrame) -> list[Evidence | None]:
    """Each claim's own rows."""
    rows = capped(measured(table))
    every = topics(claims)
    where = {topic.about: str(i) for i, topic in enumerate(every)}
    sets = {topic.about: {sites: i for i, sites in enumerate(topic.sets)} for topic in every}
    if not len(rows):
        return [None] * len(claims)
    rows = rows.assign(set=rows["set"].astype(object).where(rows["set"].notna(), ""))
    rows["context"] = rows["context"].astype(object).where(rows["context"].notna(), "")
    by_topic = dict(iter(rows.groupby(rows["question"].astype(str), sort=False)))
    labels = {q: {label: label.split() for label in of["set"].unique()} for q, of in by_topic.items()}
    found: list[Evidence | None] = []
    for claim in claims:
        of = by_topic.get(where[claim.about])
        i = sets[claim.about][claim.sites]
        if of is None:
            found.append(None)
            continue
        about_it = [label for label, numbers in labels[where[claim.about]].items() if str(i) in numbers]
        own = of[((of["set"] == "") & (of["trial"] == i)) | of["set"].isin(about_it)]
        found.append(Evidence(own, clustered(claim.about)))
    return found


def _reason(claim: Claim, table: pd.DataFrame) -> str:
    """Why a topic could not be asked, as it was recorded; "" where nothing was."""
    gone, topic = table[table["excluded"]], claim.about
    gone = gone[gone["relation"] == (topic.relation or "prompt")]
    if topic.subject:
        answer = topic.object or find(topic.relation).objects[topic.subject]
        gone = gone[(gone["subject"] == topic.subject) & (gone["object"] == answer)]
    reasons = [str(r) for r in gone["reason"]]
    typed = topic.prompt.replace("{}", topic.subject)
    reasons = [r for r in reasons if typed in r] or reasons
    return f"the model cannot be asked about {about.name(topic)}; see the exclusions ({reasons[0]})" if reasons else ""


def judge(params: Params, table: pd.DataFrame, arrays: Arrays) -> Outcome:
    """The verdict, its weaker sentence, and the controls."""
    found = verdicts(params, table)
    each = evidence(params, [parse(c) for c in params.claims], table)
    rows = capped(measured(table))
    together = [_count(found), *spread(params.claims, rows)] if len(found) > 1 else []
    findings = [*together, *(_finding(v, e) for v, e in zip(found[:12], each, strict=False))]
    caveats = [
        "A verdict is about this model, these prompts and these thresholds; the README says how often the instrument "
        "errs on models whose truth is known.",
        "Self-repair is looked for in the later MLPs only, and rivals among sets of the same size and kind.",
        *_untested(found),
    ]
    if params.unknown:
        caveats.insert(0, "Asked although the model may not know the facts: this is a trial of the instrument.")
    if params.searched:
        caveats.insert(0, "The sites were found by a search: of so many that were tried, some look strong by chance.")
    not_tested = ("Editing: whether changing the site changes the answer, and spares others.",)
    return Outcome(tuple(findings), tuple(_controls(rows)), tuple(caveats), not_tested, tuple(found))


def _untested(found: Sequence[Verdict]) -> Iterator[str]:
    """Which criteria were not tested, and of how many claims."""
    judged_ = [v for v in found if v.criteria]
    for criterion in CRITERIA:
        of = sum(v[criterion].status == "not tested" for v in judged_)
        if of:
            whose = f" (of {number(of)} of {number(len(judged_))} claims)" if of < len(judged_) else ""
            yield f"Not tested: {criterion}{whose}."


def _finding(verdict: Verdict, own: Evidence | None) -> Finding:
    first = next((c.effect for c in verdict.criteria if c.effect is not None), None)
    sentence = f"“{verdict.said}”: {verdict.outcome}. {verdict.why.split(': ', 1)[1]}"
    if verdict.weaker:
        sentence += f" What the evidence supports: {verdict.weaker}"
    if not verdict.criteria or own is None:
        return Finding(sentence, first)
    alpha = parse(verdict.claim).thresholds.alpha
    basis = f"Each criterion is tested at {percent_of(alpha)}, a failing one after Holm; {percent_of(1 - alpha)} t "
    basis += f"intervals on cluster means. {CAP}"
    texts = own.damage("text")
    if (lost := loss(texts)) is not None:
        basis += f" Knocked out, the loss on unrelated text changes by {signed(lost)} nats a token "
        basis += f"({plural(len(texts), 'text')})."
        if words := broken(lost):
            sentence += f" {words}"
    return Finding(sentence, first, basis)


def _count(found: Sequence[Verdict]) -> Finding:
    counts = {o: sum(v.outcome == o for v in found) for o in OUTCOMES}
    words = ", ".join(f"{n} {o}" for o, n in counts.items() if n)
    return Finding(f"Of {number(len(found))} claims: {words}.", None, "Benjamini-Hochberg across the claims.")


def _controls(rows: pd.DataFrame) -> Iterator[Control]:
    kept = rows[rows["corrupt"].notna()]
    least = float((kept["noise_floor"] / (kept["clean"] - kept["corrupt"]).abs()).max()) if len(kept) else None
    yield Control("identity edit", Estimate(least), "the numerical noise floor, a share: smaller effects say nothing")
    own = rows[(rows["group"] == "confirm") & (rows["measure"] == "damage") & (rows["edit"] == "mean")]
    true = float((own["clean"] - own["value"]).abs().mean()) if len(own) else math.nan
    what = {
        "untrained": ("an untrained copy of the model", "in the readout of random weights"),
        "shuffled": ("label-shuffled facts", "in the difference between two other facts' answers"),
    }
    for measure, (name, words) in what.items():
        control = rows[rows["measure"] == measure]
        if len(control) and true > 0:
            size = float(control["effect"].abs().mean())
            many = plural(len(control), "knockout")
            reading = f"mean change, in logits, by the same knockouts ({many}) {words}, where nothing of this fact can "
            reading += f"be lost: {share(Estimate(size / true))} of what they change in this fact's own readout, "
            reading += f"{number(true)} logits"
            yield Control(name, Estimate(size), reading)
    random_ = rows[rows["measure"] == "random damage"]
    if len(random_):
        each = random_.groupby(["question", "set", "trial"], observed=True)["effect"].mean()
        reading = f"damage, a share: mean and 95% range of {plural(len(each), 'site')}"
        yield Control("matched random sites", ranged(each), reading)


def draw(params: Params, table: pd.DataFrame, arrays: Arrays) -> Drawing:
    """Criteria beside their thresholds, damage prompt by prompt, and the site among its peers; or all claims."""
    found = verdicts(params, table)
    claims = [parse(c) for c in params.claims]
    each = evidence(params, claims, table)
    shown = [(v, e) for v, e in zip(found, each, strict=True) if e is not None and v.criteria]
    figures = []
    if len(found) > 1:
        figures.append(audits.overview(found))
    for i, (verdict, own) in enumerate(shown[:3]):
        figures += audits.pictures(verdict, own.rows, i, parse(verdict.claim).thresholds.alpha)
    tables = [*_readings(params, table), *(_criteria(v) for v in found[:12] if v.criteria)]
    if len(found) > 1:
        tables.insert(0, _became(found, each))
    return Drawing(tuple(figures), tuple(tables))


def _readings(params: Params, table: pd.DataFrame) -> Iterator[Table]:
    """What effects are shares of, and what knocking out the first site of each topic makes of the readout."""
    rows = measured(table)
    for i, topic in enumerate(asks(params)[:3] if len(rows) else ()):
        own = rows[(rows["question"].astype(str) == str(i)) & (rows["group"] == "confirm")]
        knocked = own[(own["measure"] == "damage") & (own["edit"] == "mean") & (own["trial"] == 0) & own["set"].isna()]
        what = f"mean knockout of {brief(topic.sets[0])}"
        for each in readings(own, knocked, what):
            yield each if not i else msgspec.structs.replace(each, title=f"{about.name(topic.about)}: {each.title}")


def _became(found: Sequence[Verdict], each: Sequence[Evidence | None]) -> Table:
    """Every claim with its verdict, what its site costs the fact, and what it costs unrelated text."""
    rows = []
    for verdict, own in list(zip(found, each, strict=True))[:200]:
        damage = next((c.effect for c in verdict.criteria if c.criterion == "necessary"), None)
        lost = None if own is None else loss(own.damage("text"))
        rows.append((verdict.said, verdict.outcome, damage, lost, verdict.weaker or verdict.why))
    note = f"The first 200 of {number(len(found))}. " if len(found) > 200 else ""
    note += f"{CAP} A site whose knockout costs unrelated text {BREAKS:g} nats a token or more breaks the model."
    columns = (
        Column("claim"), Column("verdict"), Column("damage", "share of the logit difference"),
        Column("loss on unrelated text", "nats a token more"), Column("what the evidence supports"),
    )  # fmt: skip
    return Table("What became of each claim", columns, tuple(rows), note)


def _criteria(verdict: Verdict) -> Table:
    columns = (Column("criterion"), Column("verdict"), Column("measured"), Column("p, adjusted"), Column("on"))
    rows = tuple(
        (c.criterion, c.status, compared(c), None if c.criterion == "monosemantic" else c.p, c.note)
        for c in verdict.criteria
    )
    note = f"{verdict.why} p: of the threshold itself, two-sided; of chance, by permutation where it holds and exact "
    note += f"binomial where it fails; after Holm where one fails. {CAP}"
    open_ = [f"{c.criterion}: about {lacking(c)}" for c in verdict.criteria if c.missing]
    note += f" What is open might be decided by {'; '.join(open_)}." if open_ else ""
    return Table(f"The criteria of “{verdict.said}”", columns, rows, note)


EXPERIMENT = Experiment(
    name="audit",
    about=__doc__,
    question=QUESTION,
    Params=Params,
    gather=gather,
    plan=plan,
    **unsplit(judge, draw),
    topic=title,
    asks="claims",
    settled=settled,
)
