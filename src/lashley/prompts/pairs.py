"""Known facts made into aligned pairs of clean and corrupted runs, and unknown ones into recorded exclusions."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from typing import Literal

import msgspec
import numpy as np

from lashley.core.case import Case, Exclusion, Material
from lashley.core.errors import BadFact, BadPrompt
from lashley.core.fact import Fact, Template
from lashley.core.figure import plural
from lashley.core.progress import Count, silent
from lashley.core.question import Asked
from lashley.core.readout import LogitDifference, shared
from lashley.core.run import EmbeddingNoise, Run
from lashley.core.site import Kind
from lashley.core.trial import Sweep
from lashley.engine import answers
from lashley.engine.attribution import estimates
from lashley.engine.bench import LEAST_GAP, Bench
from lashley.engine.readouts import extend
from lashley.facts.base import shipped
from lashley.facts.corpus import is_trained
from lashley.prompts.joining import settled
from lashley.prompts.recall import Recalled, likeliest, recall
from lashley.prompts.reference import REFERENCE_RUNS, mean_sizes, noise_sd, reference_runs, texts

Need = Literal["half", "each", "none"]
AT_ONCE = 16  # facts that are asked together
BESIDE = 8  # templates of facts that are asked about beside the others
AMONG = 5  # noise draws a prompt of audits, of which the most central is kept


def prepare(
    bench: Bench,
    asked: Asked | Sequence[Asked],
    *,
    corruption: str = "replace",
    draws: int = 1,
    seed: int = 0,
    magnitudes: Sequence[tuple[int, Kind]] = (),
    screen: Callable[[Material], Iterable[Sweep]] | None = None,
    among: int = 1,
    progress: Count = silent,
) -> Material:
    """Pairs of runs for the facts that the model knows.

    `draws` is the number of corruptions of each prompt: other foils ("replace") or noise seeds ("noise").
    Several questions (a task's items) make one material. `screen` says of which sweeps the effects are estimated, given
    all but these estimates; it is asked again with them, until it yields no more. `among` is as in `aligned`.
    Raises `BadFact` when no fact is left, with the reasons.
    """
    if corruption not in ("replace", "noise"):
        raise BadFact(f"corruption {corruption!r} is not offered; use 'replace' or 'noise'")
    every = [asked] if isinstance(asked, Asked) else list(asked)
    cases, gaps, exclusions, own = [], [], [], []
    for number, one in enumerate(every):
        part = (lambda done, total, n=number: progress(n, len(every))) if len(every) > 1 else progress
        found = aligned(bench, one, corruption=corruption, draws=draws, seed=seed, among=among, progress=part)
        for kept, more in zip((cases, gaps, exclusions), found, strict=True):
            kept += more
        own += one.facts[: len(one.facts) - one.beside]
    if not any(c.fact in own for c in cases):
        reasons = "; ".join(dict.fromkeys(e.reason for e in exclusions if e.subject in {f.subject for f in own}))
        raise BadFact(f"nothing is left to ask: {reasons[:400]}")
    if len(every) > 1:
        reference = tuple(dict.fromkeys(c.clean for c in cases))[:REFERENCE_RUNS]
    else:
        reference = reference_runs(bench, every[0], cases, seed)
    sizes = mean_sizes(bench, reference, magnitudes)
    unrelated = tuple(texts(bench, seed))
    material = Material(
        bench.anatomy, tuple(cases), tuple(exclusions), reference, sizes, tuple(gaps), facts=tuple(own), texts=unrelated
    )
    return _screened(bench, material, screen) if screen else material


def _screened(bench: Bench, material: Material, screen: Callable[[Material], Iterable[Sweep]]) -> Material:
    """The material with the estimates of its screens; sweeps of an untrained copy are estimated there."""
    untrained: Bench | None = None
    while some := list(screen(material))[len(material.estimates) :]:
        found: dict[str, np.ndarray] = {}
        own = [s for s in some if not s.copy]
        found |= dict(zip((s.key for s in own), estimates(bench, own), strict=True))
        if copies := [s for s in some if s.copy]:
            untrained = untrained or bench.untrained()
            found |= dict(zip((s.key for s in copies), estimates(untrained, copies), strict=True))
        more = tuple(found[s.key] for s in some)
        material = msgspec.structs.replace(material, estimates=material.estimates + more)
    return material


def aligned(
    bench: Bench,
    asked: Asked,
    *,
    corruption: str = "replace",
    draws: int = 1,
    seed: int = 0,
    need: Need = "half",
    among: int = 1,
    donors: bool = True,
    progress: Count = silent,
) -> tuple[list[Case], list[float], list[Exclusion]]:
    """Pairs of runs with their answers, how far their readouts lie apart, and what was left out.

    A fact is asked about where its object ranks first on `half` of its templates, or on those where it does (`each`),
    or whatever the model answers (`none`: only to try the instrument where there is nothing to find). Of noise, `among`
    times as many draws are tried as asked for, and those kept whose readouts (of the first tokens in which the answers
    differ) are nearest
    the median of their prompt: a draw that happens to spare the fact would make every share of the gap large. Without
    `donors`, noise takes foils whose subject has another number of tokens where no others are left; such cases have no
    run to patch from.
    """
    asked = settled(bench, asked)
    cases: list[Case] = []
    exclusions: list[Exclusion] = []
    noise = noise_sd(bench, asked) if corruption == "noise" else 0.0
    own = len(asked.facts) - asked.beside
    fewer = msgspec.structs.replace(asked, templates=asked.templates[:BESIDE])
    parts = [(asked, asked.facts[:own][i : i + AT_ONCE]) for i in range(0, own, AT_ONCE)]
    parts += [(fewer, asked.facts[own:][i : i + AT_ONCE]) for i in range(0, asked.beside, AT_ONCE)]
    done = 0
    for question, facts in parts:
        progress(done, len(asked.facts))
        done += len(facts)
        for known, left_out in _known(bench, question, facts, need):
            exclusions += left_out
            for turn, found in enumerate(known):
                made = _pair(bench, asked, found, turn, draws * among if noise else draws, noise, seed, donors)
                if isinstance(made, Exclusion):
                    exclusions.append(made)
                else:
                    cases += made
    if noise and among > 1:
        cases = _central(bench, cases, draws)
    progress(len(asked.facts), len(asked.facts))
    cases, gaps, flat = _separated(bench, cases, 0.05 if need == "none" else LEAST_GAP)
    return cases, gaps, exclusions + flat


def _known(
    bench: Bench, asked: Asked, facts: Sequence[Fact], need: Need
) -> Iterator[tuple[list[Recalled], list[Exclusion]]]:
    """Of each fact the prompts under which its object ranks first, if it is known; else why it is not."""
    prompts: dict[Fact, list[tuple[Template, Run]]] = {}
    refused: dict[Fact, str] = {}
    for fact in facts:
        try:
            said = ((t, asked.relation.say(fact.subject, t.language)) for t in asked.templates)
            prompts[fact] = [(t, bench.tokens.ask(t, s)) for t, s in said]
        except BadPrompt as e:
            refused[fact] = str(e)
    answered: dict[Fact, list[Recalled]] = {f: [] for f in facts}
    if need == "none":
        say = asked.relation.say
        answered |= {
            f: [Recalled(f, t, run, "", say(f.object, t.language)) for t, run in own] for f, own in prompts.items()
        }
    else:
        for r in recall(bench, asked.relation, list(prompts), asked.templates):
            answered[r.fact].append(r)
    for fact, found in answered.items():
        gone = Exclusion(fact.relation, fact.subject, fact.object, "", refused.get(fact, ""))
        first = [r for r in found if not r.better]
        if fact in refused:
            yield [], [gone]
        elif 2 * len(first) < len(found) * (need == "half") or not first:
            wrong = next(r for r in found if r.better)
            templates = {r.template for r in found}
            where = _where(templates)
            reason = (
                f"{f'the model does not recall it{where}' if where else 'not known to the model'}: the object ranks "
                f"first on {len(first)} of {plural(len(found), 'prompt')}; "
                f"to {wrong.run.text!r} it prefers {wrong.better!r} "
                f"(its own top answers: {answers.top(bench, wrong.run)})"
            )
            under = wrong.template.text if where and len(templates) == 1 else ""
            yield [], [msgspec.structs.replace(gone, template=under, reason=reason)]
        else:
            yield (
                first,
                [
                    msgspec.structs.replace(
                        gone,
                        template=r.template.text,
                        reason=f"under this template{_where({r.template})} the model prefers {r.better!r}",
                    )
                    for r in found
                    if r.better
                ],
            )


def _where(templates: Set[Template]) -> str:
    """What sets prompts apart on which a fact may be unknown though it is known on others; "" where nothing does."""
    languages, contexts = {t.language for t in templates}, {t.context for t in templates}
    if len(languages) == 1 and languages != {"en"}:
        return f" in the language {languages.pop()!r}"
    if len(contexts) == 1 and contexts != {""}:
        context = contexts.pop()
        return f" in {context}" if context.startswith("another") else f" after {context}"
    return ""


def _pair(
    bench: Bench, asked: Asked, found: Recalled, turn: int, draws: int, noise: float, seed: int, donors: bool
) -> list[Case] | Exclusion:
    """Cases of one prompt, each with another foil or noise draw; the foils tried first change from prompt to
    prompt. An `Exclusion` where no foil fits."""
    fact, template, clean = found.fact, found.template, found.run
    relation, tokens = asked.relation, bench.tokens
    say = lambda name: relation.say(name, template.language)  # noqa: E731
    target = tokens.answer(clean, found.answer)
    foils = asked.foils[fact.subject]
    wanted = 1 if noise else draws
    cases: list[Case] = []
    refused: list[str] = []
    order = [foils[(turn * draws + i) % len(foils)] for i in range(len(foils))]
    preference = [(True, True), (True, False)]  # whether the foil's subject, and its object, have as many tokens
    #                                             (those whose objects share no first token come before all others)
    if noise and not (donors and any(foils)):  # a foil without a subject has no run
        preference.append((False, False))
    for first, (alike, same_length) in itertools.product((True, False), preference):
        for name in order:
            if len(cases) == wanted:
                break
            if any(c.foil.subject == name for c in cases):
                continue
            foil = Fact(fact.relation, name, relation.objects[name])
            try:
                corrupt = tokens.ask(template, say(name)) if name else None
                (against,) = likeliest(bench, [clean], [relation.called(foil.object, template.language)])
                other = tokens.answer(clean, against)
            except BadPrompt as e:
                refused.append(str(e))
                continue
            same = shared(target, other)
            if same == min(len(target), len(other)):
                refused.append(
                    f"{foil.object!r} and {fact.object!r} are the same tokens"
                    if target == other
                    else f"one of {foil.object!r} and {fact.object!r} begins with all tokens of the other"
                )
            elif corrupt and corrupt.tokens == clean.tokens:
                refused.append(f"{name!r} and {fact.subject!r} are the same tokens")
            elif alike and (not corrupt or corrupt.subject != clean.subject or len(corrupt) != len(clean)):
                refused.append(f"{name or 'no subject'!r} has another number of tokens than {fact.subject!r}")
            elif (not first or not same) and (not same_length or len(other) == len(target)):
                donor = corrupt if alike else None
                case = _case(found, foil, corrupt or clean, donor, target, other, bench, len(cases))
                own = {"answer": (found.answer, fact.object), "foil_answer": (against, foil.object)}
                named = {field: word for field, (word, object) in own.items() if word != say(object)}
                cases.append(msgspec.structs.replace(case, **named))
    if noise and cases:
        draw = range(seed, seed + draws)
        noisy = [msgspec.structs.replace(clean, noise=EmbeddingNoise(noise, _own_seed(clean, s))) for s in draw]
        return [
            msgspec.structs.replace(cases[0], corrupt=r, corruption="noise", seed=s)
            for r, s in zip(noisy, draw, strict=True)
        ]
    reason = f"no foil fits: {'; '.join(list(dict.fromkeys(refused))[:3])}; give another --foil-subject"
    return cases or Exclusion(fact.relation, fact.subject, fact.object, template.text, reason)


def _central(bench: Bench, cases: list[Case], draws: int) -> list[Case]:
    """Of each prompt's cases the `draws` whose corrupt readouts are nearest their median, told by the first tokens that
    the answers do not share: one pass a draw."""
    told = []
    for case in cases:
        n = shared(case.target, case.foil_tokens)
        first = LogitDifference(case.target[n : n + 1], case.foil_tokens[n : n + 1])
        told.append((extend(case.corrupt, case.target[:n]), first))
    corrupt = np.array(bench.values(told))
    prompts: dict[Run, list[int]] = {}
    for i, case in enumerate(cases):
        prompts.setdefault(case.clean, []).append(i)
    kept: list[int] = []
    for own in prompts.values():
        far = np.abs(corrupt[own] - np.median(corrupt[own]))
        kept += sorted(own[i] for i in np.argsort(far, kind="stable")[:draws])
    return [cases[i] for i in kept]


def _own_seed(run: Run, seed: int) -> int:
    """A seed that differs from prompt to prompt, so that prompts are replicates of each other."""
    return random.Random(f"{run.text} {seed}").getrandbits(63)


def _case(found: Recalled, foil: Fact, corrupt: Run, donor: Run | None, target, other, bench: Bench, seed: int) -> Case:
    base = shipped().get(found.fact.relation)
    split = ""
    if bench.model.name == "embedded" and base and found.template in base.templates:
        split = "trained" if is_trained(base.name, found.fact.subject, found.template) else "held out"
    words = tuple(bench.tokens.words(found.run.tokens))
    return Case(
        found.fact,
        foil,
        found.template,
        found.run,
        corrupt,
        donor,
        target,
        other,
        words,
        "replace",
        split,
        seed,
    )


def _separated(bench: Bench, cases: list[Case], least: float) -> tuple[list[Case], list[float], list[Exclusion]]:
    """Cases whose clean and corrupt readouts differ by more than `least` logits, and by how much; effects are shares of
    that gap."""
    kept, gaps, gone = [], [], []
    clean = bench.values([(case.clean, case.readout) for case in cases])
    corrupt = bench.values([(case.corrupt, case.readout) for case in cases])
    for case, gap in zip(cases, np.subtract(clean, corrupt), strict=True):
        if gap > least:
            kept.append(case)
            gaps.append(float(gap))
        else:
            reason = f"clean and corrupt run differ by only {gap:.2f} logits (foil {case.foil.object!r})"
            f = case.fact
            gone.append(Exclusion(f.relation, f.subject, f.object, case.template.text, reason))
    return kept, gaps, gone
