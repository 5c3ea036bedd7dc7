"""Published pitfalls, each shown on the embedded model: the standard method says what is not so, and this instrument
does not.

An exhibit runs the method as it is usually run, then looks at what is there (planted, untrained, or measured another
way), and audits the claim that the method suggests.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from lashley import api
from lashley.claims.grammar import parse
from lashley.claims.topics import prompts
from lashley.core.case import Case
from lashley.core.claim import About, Verdict
from lashley.core.edit import Add, Mean, Resample, Zero
from lashley.core.errors import BadPlant
from lashley.core.fact import Fact
from lashley.core.figure import Column, Estimate, Figure, Finding, Table, number
from lashley.core.files import room
from lashley.core.progress import Progress
from lashley.core.site import Site
from lashley.engine.bench import Bench
from lashley.features.search import rise
from lashley.models import planted
from lashley.prompts.effects import effects
from lashley.prompts.pairs import AMONG, Need, aligned
from lashley.prompts.reference import mean_sizes, reference_runs, texts
from lashley.report.charts import DAMAGE, RESTORATION, bars, curves
from lashley.report.page import Page
from lashley.stats.inference import clipped, intervals
from lashley.stats.summary import estimate, share
from lashley.study.study import Study

CONTROLS, OTHERS, DRAWS = 20, 6, 2  # of the audits; corruptions a prompt
SUBJECTS = ("Japan", "France", "Egypt", "Italy")  # whose capitals decoys are sought for
LOUD = 48  # neurons of the largest mean |activation| that are tried as decoys
CROWD = 24  # other subjects that a probe learns, and as many that it is tried on
TOP = 10  # a list of the strongest
WINDOWS = (1, 3, 5)  # layers restored together

Audit = Callable[..., tuple[Verdict, ...]]  # of a bench, the name of the study, and claims
Row = tuple[dict[str, Any], np.ndarray]  # what is measured, and its effects, one a case


class Exhibit(msgspec.Struct, frozen=True):
    """One pitfall. `method` says what the standard method finds and `truth` what is there, as sentences; `found` and
    `real` are their numbers. `verdicts` are on the false claim that the method suggests, and on a true one."""

    pitfall: str
    source: str
    method: str
    found: Estimate
    truth: str
    real: Estimate
    verdicts: tuple[Verdict, ...]
    figure: Figure

    @property
    def said(self) -> str:
        """What became of the claims, and by which criteria."""
        return "; ".join(map(_became, self.verdicts))

    @property
    def sentence(self) -> str:
        """All of it, for a reader in a hurry."""
        first = self.verdicts[0]
        more = f" What the evidence supports: {first.weaker}" if first.weaker and len(self.verdicts) == 1 else ""
        return f"{self.pitfall.capitalize()} ({self.source}). {self.method} {self.truth} {self.said}.{more}"


def pitfalls(folder: Path, progress: Progress) -> Page:
    """Every exhibit, on one page; the audits are studies in `folder`. Raises `LashleyError` where it cannot be
    written."""
    room(folder)
    bench = api.open_model("embedded")
    studies: list[Study] = []

    def audit(model: Bench, name: str, *claims: str) -> tuple[Verdict, ...]:
        where = folder / f"{name}-{model.model.weights_hash[:8]}"
        studies.append(
            api.audit(
                model,
                *claims,
                study=where,
                searched=True,
                draws=DRAWS,
                controls=CONTROLS,
                others=OTHERS,
                progress=progress,
            )
        )
        return studies[-1].page().verdicts

    shown = []
    for turn, exhibit in enumerate(EXHIBITS):
        progress("exhibits", turn, len(EXHIBITS))
        shown.append(exhibit(bench, audit))
    return _page(shown, studies, folder)


# -- the exhibits ----------------------------------------------------------------------------------------------------


def decoy(bench: Bench, audit: Audit) -> Exhibit:
    """Zero ablation of a sub-layer or a loud neuron takes the model off its data; its mean or another fact's
    activation does not. The site where they differ most is sought on discovery prompts, shown on confirming ones."""
    best: tuple[float, Fact, Site] | None = None
    for fact in (_natural("capital", s) for s in SUBJECTS):
        cases, mean = _cases(bench, fact, "discovery")
        sites = _loud(bench, mean)
        zero, kept = (_damage(bench, cases, [[s] for s in sites], e) for e in (Zero(), mean))
        apart = (zero - kept).min(1)  # on the prompt where they differ least
        at = int(np.argmax(apart))
        if best is None or apart[at] > best[0]:
            best = float(apart[at]), fact, sites[at]
    assert best is not None
    _, fact, site = best
    cases, mean = _cases(bench, fact)
    zero, kept = (_damage(bench, cases, [[site]], e)[0] for e in (Zero(), mean))
    other = np.concatenate([_damage(bench, [c], [[site]], Resample(c.other))[0] for c in cases])
    words = {"zero": zero, "mean": kept, "another fact's": other}
    frame = _means(cases, [({"knockout": word}, e) for word, e in words.items()])
    found, real, resampled = map(estimate, _rows(frame))
    what = _said(fact)
    return Exhibit(
        "zero ablation supports decoys",
        "Li & Janson, arXiv 2409.09951",
        f"{site} set to zero costs the recall of {what} {share(found)}.",
        found,
        f"Held at its mean it costs {share(real)}, with another fact's activation {share(resampled)}.",
        real,
        audit(bench, "decoy", f"{site} is necessary for {fact.relation}({fact.subject})"),
        bars(
            frame, name="decoy", label="knockout", measure=DAMAGE,
            title=f"{site} looks necessary for {what} only when zero takes the model off its data",
            about=f"knockout of {site} on {len(cases)} confirming prompts; lines: 95% t intervals on template means",
        ),
    )  # fmt: skip


def _loud(bench: Bench, mean: Mean) -> list[Site]:
    """Every sub-layer, and the neurons of the largest mean absolute activation."""
    layers = range(bench.anatomy.layers)
    sizes = mean_sizes(bench, mean.reference, [(la, "neuron") for la in layers])
    flat = np.stack([sizes[la, "neuron"] for la in layers])
    loud = np.argsort(-flat, axis=None)[:LOUD]
    whole = [Site(la, kind) for la in layers for kind in ("attn", "mlp")]
    return whole + [Site(int(la), "neuron", int(n)) for la, n in zip(*np.unravel_index(loud, flat.shape), strict=True)]


def unread(bench: Bench, audit: Audit) -> Exhibit:
    """A threshold on one unit's activation tells the subject from others on templates it never saw, and nothing reads
    that unit."""
    fact = _natural("capital", "France")
    with _planted(bench, "unread", fact) as truth:
        site = Site.parse(truth.units["unit"][0])
        low, high = (s.mean() for s in _heard(bench, site, fact, "discovery", 0))
        others, own = _heard(bench, site, fact, "confirm", 1)
        limit = (low + high) / 2
        right = ((own > limit)[:, 0] + (others < limit).mean(1)) / 2  # chance: 0.5
        cases, mean = _cases(bench, fact)
        cost = _damage(bench, cases, [[site]], mean)[0]
        read = pd.DataFrame(
            {"what": "prompts read rightly by the probe", "effect": right, "template": range(len(right))}
        )
        lost = pd.DataFrame(
            {"what": "logit difference lost by knockout", "effect": cost, "template": [c.template.text for c in cases]}
        )
        frame = intervals(pd.concat([read, lost]), ["what"], "effect", "template").rename(columns={"mean": "effect"})
        found, real = map(estimate, _rows(frame))
        return Exhibit(
            "a probe reads what nothing uses",
            "Elazar et al., arXiv 2006.00995; planted",
            f"A threshold on {site} tells {fact.subject} from {CROWD} others on {share(found)} of unseen prompts.",
            found,
            f"Nothing reads the unit: knocking it out costs {share(real)}.",
            real,
            audit(bench, "unread", truth.false[0]),
            bars(
                frame, name="unread", label="what", measure="share (0 to 1; chance for the probe is 0.5)",
                title=f"A probe of {site} knows the subject, and the model's answer does not depend on it",
                about=f"balanced accuracy on {len(right)} templates that the probe never saw, beside damage by mean "
                f"knockout on {len(cases)} prompts",
            ),
        )  # fmt: skip


def _heard(bench: Bench, site: Site, fact: Fact, group: str, part: int) -> tuple[np.ndarray, np.ndarray]:
    """Activations at the subject's last token under the templates of a group: of other subjects, [templates, `CROWD`],
    and of the fact's own, [templates, 1]. Each `part` has subjects of its own."""
    (asked,) = prompts(_about(fact), 0, True, 0).groups[group]
    every = [s for s in asked.relation.objects if s != fact.subject]
    crowd = random.Random("probe").sample(every, 2 * CROWD)[part * CROWD : (part + 1) * CROWD]
    last = msgspec.structs.replace(site, position="subject_last")
    found = []
    for subjects in (crowd, [fact.subject]):
        runs = [bench.tokens.ask(t, s) for t in asked.templates for s in subjects]
        found.append(bench.read(runs, [last])[last].reshape(len(asked.templates), -1))
    return found[0], found[1]


def dormant(bench: Bench, audit: Audit) -> Exhibit:
    """In the foil's run the clean run's component along (reader + sleeper) / sqrt 2 is put in: half of what the two
    differ by, to each. It wakes a neuron that never fires by one that writes nothing."""
    fact = _natural("capital", "Japan")
    with _planted(bench, "dormant", fact) as truth:
        pair = [Site.parse(f"{truth.units[role][0]}@subject_last") for role in ("reader", "sleeper")]
        cases, _ = _cases(bench, fact, corruption="replace")
        along, whole = [], []
        for case in cases:
            there, here = bench.read([case.clean], pair), bench.read([case.other], pair)
            half = sum(float(there[s][0, 0] - here[s][0, 0]) for s in pair) / 2
            spots = [spot for s in pair for spot in case.clean.resolve(s)]
            push = Add(np.array([half], np.float32).tobytes())
            along.append(effects(bench, [case], [spots], "restoration", push)[0, 0])
            whole.append(effects(bench, [case], [spots], "restoration")[0, 0])
        words = {"along the subspace": along, "both units as they are": whole}
        frame = _means(cases, [({"patch": word}, clipped(np.array(e))) for word, e in words.items()])
        found, real = map(estimate, _rows(frame))
        both = truth.false[0].split(" ")[0]
        return Exhibit(
            "a subspace patch wakes a dormant path",
            "Makelov et al., arXiv 2311.17030; planted",
            f"Patching one direction in the plane of {both} restores {share(found)} of {_said(fact)}.",
            found,
            f"One unit writes nothing, the other never fires: restoring both as they are brings back {share(real)}.",
            real,
            audit(bench, "dormant", truth.false[0]),
            bars(
                frame, name="dormant", label="patch", measure=RESTORATION,
                title=f"A patch along one direction brings {fact.object} back by a path that the model never takes",
                about=f"patches at {both} from the clean run into the foil's, at the subject's last token, "
                f"{len(cases)} prompts; lines: 95% t intervals on template means",
            ),
        )  # fmt: skip


def redundant(bench: Bench, audit: Audit) -> Exhibit:
    """Two neurons, either of which suffices: one knocked out is hardly missed."""
    return _alone(bench, audit, "redundant", "is redundancy", 5, "the two that each suffice")


def backup(bench: Bench, audit: Audit) -> Exhibit:
    """A neuron, and a second one that fires only when the first is off."""
    return _alone(bench, audit, "backup", "is self-repair", 5, "the first with its backup")


def _alone(bench: Bench, audit: Audit, kind: str, why: str, seed: int, both: str) -> Exhibit:
    """A knockout of one planted unit beside that of both."""
    fact = Fact("capital", "France", "Oslo")
    with _planted(bench, kind, fact, seed) as truth:
        units = [Site.parse(u) for role in truth.units.values() for u in role]
        cases, mean = _cases(bench, fact)
        one, all_ = _damage(bench, cases, [units[:1], units], mean)
        frame = _means(cases, [({"units": str(units[0])}, one), ({"units": "+".join(map(str, units))}, all_)])
        found, real = map(estimate, _rows(frame))
        source = "Wang et al., arXiv 2211.00593" if kind == "redundant" else "Rushing & Nanda, arXiv 2402.15390"
        return Exhibit(
            f"a single knockout is blind where there {why}",
            f"{source}; planted",
            f"Knocked out alone, {units[0]} costs {_said(fact)} {share(found)}, and is passed over.",
            found,
            f"Together, {both} cost {share(real)}.",
            real,
            audit(bench, kind, truth.false[0], truth.false[0].replace("stores", "is sufficient for")),
            bars(
                frame, name=kind, label="units", measure=DAMAGE,
                title=f"{units[0]} alone seems not to matter: there {why}, and only knocking out both shows it",
                about=f"mean knockout on {len(cases)} confirming prompts; lines: 95% t intervals on template means",
            ),
        )  # fmt: skip


def ranking(bench: Bench, audit: Audit) -> Exhibit:
    """The strongest neurons on one prompt, as shares of its logit difference: of the model, and of fresh weights."""
    fact, fresh = _natural("capital", "France"), bench.untrained()
    rows, tops = [], {}
    for word, model in (("trained", bench), ("untrained", fresh)):
        case = next(c for group in ("confirm", "paraphrase") for c in _cases(model, fact, group, need="none")[0])
        every = list(model.anatomy.every("neuron"))
        damage = effects(model, [case], every, edit=Resample(case.other))[:, 0]
        order = np.argsort(-damage)[:TOP]
        clean, corrupt = model.values([(case.clean, case.readout), (case.corrupt, case.readout)])
        tops[word] = every[order[0]][0], float(damage[order[0]]), clean - corrupt
        rows += [
            {"model": word, "rank": rank, "effect": damage[i], "site": str(every[i][0])}
            for rank, i in enumerate(order, 1)
        ]
    site, top, gap = tops["untrained"]
    real = top * gap
    return Exhibit(
        "a list of the strongest comes out of noise",
        "the dead salmon: Bennett et al. 2009; Heap et al., arXiv 2501.17727",
        f"Of fresh random weights, {site} heads the list: its knockout costs {share(Estimate(top))} of the logit "
        f"difference of {_said(fact)} (trained: {tops['trained'][0]}, {share(Estimate(tops['trained'][1]))}).",
        Estimate(top, n=1),
        f"That difference is {number(gap)} logits (trained: {number(tops['trained'][2])}), of which it moves "
        f"{number(real)}: there is nothing to find.",
        Estimate(real, n=1, unit="logits"),
        audit(fresh, "ranking", f"{site} stores {fact.relation}({fact.subject})"),
        curves(
            pd.DataFrame(rows), name="ranking", x="rank", by="model", measure=DAMAGE, muted=("untrained",),
            title="Ranked by share, ten neurons of a model that knows nothing look like those of one that knows",
            about=f"one prompt; the share is of {number(gap)} logits untrained, {number(tops['trained'][2])} trained; "
            "knockout by another fact's activation",
        ),
    )  # fmt: skip


def window(bench: Bench, audit: Audit) -> Exhibit:
    """Causal tracing of MLP outputs at the subject's last token, one layer and windows of layers at a time. The layer
    that the window flatters most is sought on discovery prompts, shown on confirming ones."""
    fact, most = _natural("capital", "France"), max(WINDOWS)
    searched = _traced(bench, _cases(bench, fact, "discovery")[0])
    layer = int(np.argmax((searched[most] - searched[1]).mean(1)))
    cases, _ = _cases(bench, fact)
    traced = _traced(bench, cases)
    named = {w: "single layers" if w == 1 else f"windows of {w}" for w in WINDOWS}
    frame = _means(
        cases, [({"by": named[w], "layer": la}, e) for w, each in traced.items() for la, e in enumerate(each)]
    )
    single, wide = (frame[frame["by"] == named[w]].reset_index(drop=True) for w in (1, most))
    found, real = (estimate(rows.iloc[layer]) for rows in (wide, single))
    alone = single.iloc[int(single["effect"].argmax())]
    site = Site(layer, "mlp", None, "subject_last")
    return Exhibit(
        "a peak made by its window",
        "Meng et al., arXiv 2202.05262; Zhang & Nanda, arXiv 2309.16042",
        f"Restoring the MLP outputs of {most} layers about layer {layer} brings back {share(found)} of {_said(fact)}.",
        found,
        f"{site} alone brings back {share(real)}; the window lends it L{alone['layer']}.mlp, which alone brings back "
        f"{share(estimate(alone))}.",
        real,
        audit(bench, "window", f"{site} is sufficient for {fact.relation}({fact.subject})"),
        curves(
            frame, name="window", by="by", measure=RESTORATION, x_title="layer in the middle of the window",
            title=f"Windows make a plateau over layers 0 to {layer}, where single layers show one",
            about=f"restoration of MLP outputs at the subject's last token, {len(cases)} prompts with noise on the "
            "subject's embeddings; 95% t intervals on template means",
        ),
    )  # fmt: skip


def _traced(bench: Bench, cases: list[Case]) -> dict[int, np.ndarray]:
    """Restoration by windows about each layer, cut at the ends of the model, [layers, cases]; by width."""
    layers, found = bench.anatomy.layers, {}
    for w in WINDOWS:
        about = [range(max(0, la - w // 2), min(layers, la + w // 2 + 1)) for la in range(layers)]
        each = []
        for case in cases:
            place = case.clean.positions("subject_last")[0]
            sets = [[Site(la, "mlp", None, place) for la in some] for some in about]
            each.append(effects(bench, [case], sets, "restoration")[:, 0])
        found[w] = clipped(np.stack(each, 1))
    return found


def broken(bench: Bench, audit: Audit) -> Exhibit:
    """The sub-layer of largest damage to one fact is one that every text needs. Units that carry the attention sink of
    larger models are of this kind; no unit of the embedded models is, so that a sub-layer stands for them."""
    fact = _natural("capital", "France")
    cases, mean = _cases(bench, fact, "discovery")
    whole = [Site(layer, kind) for layer in range(bench.anatomy.layers) for kind in ("attn", "mlp")]
    site = whole[int(np.argmax(_damage(bench, cases, [[s] for s in whole], mean).mean(1)))]
    rows = []
    for other in (fact, *(_natural("capital", s) for s in SUBJECTS if s != fact.subject)):
        cases, mean = _cases(bench, other)
        rows.append(_means(cases, [({"fact": _said(other)}, _damage(bench, cases, [[site]], mean)[0])]))
    frame = pd.concat(rows, ignore_index=True)
    found, unrelated = estimate(frame.iloc[0]), list(texts(bench, 0))
    (lost,) = rise(bench, unrelated, [site], mean)
    real = Estimate(lost, n=len(unrelated), unit="nats a token")
    return Exhibit(
        "the strongest site is one that breaks the model",
        "attention sinks: Sun et al., arXiv 2402.17762; here a sub-layer",
        f"Of all sub-layers {site} costs {_said(fact)} most: {share(found)}.",
        found,
        f"Knocked out, the loss on unrelated text rises by {number(lost)} nats a token: every text needs it.",
        real,
        audit(bench, "broken", f"{site} stores {fact.relation}({fact.subject})"),
        bars(
            frame, name="broken", label="fact", measure=DAMAGE,
            title=f"{site} looks like the place of {fact.object}, and costs other facts as much",
            about=f"mean knockout of {site} on the confirming prompts of each fact; lines: 95% t intervals on template "
            "means",
        ),
    )  # fmt: skip


EXHIBITS = (decoy, unread, dormant, redundant, backup, ranking, window, broken)


# -- what they share -------------------------------------------------------------------------------------------------


def _natural(relation: str, subject: str) -> Fact:
    """The fact as the fact base has it."""
    from lashley.facts.question import find

    return Fact(relation, subject, find(relation).objects[subject])


def _became(v: Verdict) -> str:
    needed = parse(v.claim).required
    failed = [c.criterion for c in v.criteria if c.criterion in needed and c.status == "fails"]
    return f"“{v.claim}”: {v.outcome}" + (f" ({', '.join(failed)} fail{'s' * (len(failed) == 1)})" if failed else "")


def _about(fact: Fact) -> About:
    return About(fact.relation, fact.subject, fact.object)


def _said(fact: Fact) -> str:
    return f"{fact.relation}({fact.subject}) = {fact.object}"


@contextmanager
def _planted(bench: Bench, kind: str, fact: Fact, first: int = 0) -> Iterator[planted.Truth]:
    """A plant that keeps what it promises, sought from seed `first` on, and undone afterwards. Raises `BadPlant`."""
    for seed in range(first, first + 8):
        with planted.undoing(bench):
            try:
                truth = planted.find(kind).plant(bench, fact, seed=seed)
            except BadPlant:
                continue
            yield truth
            return
    raise BadPlant(f"no seed from {first} on plants {fact} as {kind!r}; choose another fact")


def _cases(
    bench: Bench, fact: Fact, group: str = "confirm", corruption: str = "noise", need: Need = "half"
) -> tuple[list[Case], Mean]:
    """The prompts of an audit's group, and the mean of the relation's other facts under the same templates."""
    (asked,) = prompts(_about(fact), 0, True, 0).groups[group]
    cases, _, _ = aligned(bench, asked, corruption=corruption, draws=DRAWS, need=need, among=AMONG)
    return cases, Mean(reference_runs(bench, asked, cases, 0))


def _damage(bench: Bench, cases: list[Case], sets: list[list[Site]], edit: Mean | Zero | Resample) -> np.ndarray:
    """Damage, [sets, cases]; what is all lost is lost once."""
    return clipped(effects(bench, cases, sets, edit=edit))


def _means(cases: list[Case], rows: Iterable[Row]) -> pd.DataFrame:
    """The mean of every row, with its t interval on template means: the row's own columns, effect, low, high, n."""
    each = [
        row | {"effect": effect, "template": case.template.text}
        for row, found in rows
        for case, effect in zip(cases, found, strict=True)
    ]
    by = [k for k in each[0] if k not in ("effect", "template")]
    prompts_ = pd.DataFrame(each).groupby([*by, "template"], sort=False)["effect"].mean().reset_index()  # over draws
    return intervals(prompts_, by, "effect", "template").rename(columns={"mean": "effect"})


def _rows(frame: pd.DataFrame) -> list[pd.Series]:
    return [row for _, row in frame.iterrows()]


def _page(shown: list[Exhibit], studies: list[Study], folder: Path) -> Page:
    verdicts = tuple(e.verdicts[0] for e in shown)
    right = sum(v.outcome in ("refuted", "not testable") for v in verdicts)
    wrong = sum(v.outcome == "supported" for v in verdicts)
    sentence = (
        f"In {len(shown)} exhibits the usual method's number reads as a finding, or as its absence; of the "
        f"{len(shown)} claims that they suggest, none of which is true, this instrument "
        f"supports {wrong} and rejects {right}."
    )
    columns = (
        Column("pitfall"), Column("source"), Column("the standard method says"), Column("its number"),
        Column("what is there"), Column("in numbers"), Column("lashley says"),
    )  # fmt: skip
    rows = tuple((e.pitfall, e.source, e.method, e.found, e.truth, e.real, e.said) for e in shown)
    note = (
        "Numbers are shares: of the logit difference lost or restored, of prompts read rightly by the probe; in the "
        "ranking, of the difference, beside the logits that it comes to; of what breaks the model, nats a token. "
        "Each audit is a study beside this page."
    )
    return Page(
        title="Pitfalls: what standard methods say, what is there, and what this instrument says",
        question="Does the instrument fall for what is known to fool standard methods?",
        finding=Finding(sentence, None, f"Audits with {CONTROLS} matched random sites and {OTHERS} other facts."),
        verdicts=tuple(v for e in shown for v in e.verdicts),
        also=tuple(Finding(e.sentence, e.found) for e in shown),
        figures=tuple(e.figure for e in shown),
        tables=(Table("Pitfalls, and what became of the claims that they suggest", columns, rows, note),),
        caveats=(
            "Exhibits are chosen because the method fails there; they do not say how often it fails. How often this "
            "instrument errs is what `lashley calibrate` measures.",
        ),
        environment=studies[0].page().environment,
        command="lashley pitfalls",
        study=str(folder),
        created=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
