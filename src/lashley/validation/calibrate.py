"""How often the instrument errs: claims of known truth, by the hundred, and what became of them.

A trial is one model (planted, null, or as trained) with its claims. Trials are independent and their records lie in one
file, a line each: what is there is not done again.
"""

from __future__ import annotations

import itertools
import math
import multiprocessing
import os
import platform
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from lashley.claims.criteria import METHODS, Evidence, by_method
from lashley.claims.grammar import check, parse, write
from lashley.claims.verdicts import judge, untestable
from lashley.core.claim import About, Claim, Verdict
from lashley.core.errors import BadFact, BadPlant, BadPrompt, LashleyError
from lashley.core.files import room
from lashley.core.progress import Progress, silent
from lashley.core.question import Question
from lashley.core.site import Site
from lashley.core.trouble import explained
from lashley.experiments import audit
from lashley.facts.base import shipped
from lashley.stats.inference import compare

RELATIONS = ("landmark", "capital", "language")
STANDARD = 2.0  # strength of a plant; `planted.STANDARD`, which needs torch
NULLS = ("untrained", "shuffled weights", "shuffled labels", "natural")
FIRST_SEED = 9000  # the instrument was made on plants of other seeds (0 to 8600)
TRIES, OF_ONE = 12, 4  # facts that are tried for one plant, and how many of one relation before the next one's
DECOYS = 8  # random units of the planted layer, beside the plant's own near misses
SEARCHED, RANDOM = 10, 14  # claims on a model with nothing planted: units that a search found, and random ones


class Instance(msgspec.Struct, frozen=True):
    """One model to be made and audited. `plant` is a plant, or "natural", "untrained", "shuffled weights" or
    "shuffled labels"."""

    model: str
    plant: str
    seed: int
    strength: float = STANDARD
    r: int = 0

    @property
    def key(self) -> str:
        return f"{self.model} {self.plant} r{self.r} strength {self.strength:g} seed {self.seed}"


class Result(msgspec.Struct, frozen=True):
    """What became of one claim. `true` is its truth; `damage`, `restored` and `held` are means over its
    prompts (held: with the later MLPs as they were), `rivals` how many other sets suffice, `methods` whether each
    knockout finds it necessary."""

    claim: str
    true: bool
    outcome: str
    damage: float | None
    restored: float | None
    held: float | None
    rivals: int
    methods: dict[str, bool]
    failed: tuple[str, ...] = ()
    open: tuple[str, ...] = ()


class Record(msgspec.Struct, frozen=True):
    """One trial done. `error` says why nothing could be planted; such trials are counted, and have no results.
    `refused` facts were tried before, and did not become what the plant promises. `machine` is where it was done."""

    key: str
    trial: Instance
    results: tuple[Result, ...]
    roles: dict[str, tuple[str, ...]]
    numbers: dict[str, float]
    seconds: float
    error: str = ""
    refused: int = 0
    machine: str = ""


SIZES = {  # how many of each: single, other strengths, of each r, the r of redundant and of split, other plants, nulls
    "standard": (20, 4, 2, (1, 2, 3, 4, 5, 6, 7, 8), (2, 3, 4), 3, 4),
    "small": (6, 1, 1, (1, 2, 3, 4), (2,), 1, 2),
    "quick": (2, 0, 1, (2,), (), 0, 1),
}


def trials(model: str, size: str) -> list[Instance]:
    """What is tried: of a "standard" calibration, a "small" one, or a "quick" one; the kinds by turns, so that one
    that is not finished holds some of each."""
    single, strengths, of_r, redundant, split, others, nulls = SIZES[size]
    first = FIRST_SEED
    kinds = [[Instance(model, "single", first + s) for s in range(single)]]
    kinds += [[Instance(model, null, first + 500 + s) for s in range(nulls)] for null in NULLS]
    kinds += [[Instance(model, "single", first + 100 + s, x) for s in range(strengths)] for x in (1.0, 3.0)]
    kinds.append([Instance(model, "redundant", first + 200 + 10 * s + r, r=r) for s in range(of_r) for r in redundant])
    kinds.append([Instance(model, "split", first + 300 + r, r=r) for r in split])
    plants = ("backup", "unread", "suppressor", "cancelling", "shared", "dormant")
    kinds += [[Instance(model, plant, first + 400 + s) for s in range(others)] for plant in plants]
    return [t for turn in itertools.zip_longest(*kinds) for t in turn if t is not None]


def calibrate(
    model: str,
    folder: Path,
    size: str = "standard",
    workers: int = 2,
    progress: Progress = silent,
    minutes: float = math.inf,
    device: str = "cpu",
) -> list[Record]:
    """Do what is missing of a calibration, one trial after another in each worker; all its records so far. After
    `minutes` none is begun. Each worker opens the model on `device` for itself.

    Raises `LashleyError` where the folder cannot be written.
    """
    if math.isnan(minutes) or minutes < 0:
        raise LashleyError(f"minutes {minutes}: write how long to go on, 0 or more")
    if workers < 1:
        raise LashleyError(f"workers {workers}: write 1 or more")
    path = room(folder) / "records.jsonl"
    with explained(path):
        path.touch()  # told before anything is made
    wanted = trials(model, size)
    done = {r.key: r for r in read(path)}
    left = [t for t in wanted if t.key not in done]
    progress("calibrating", len(wanted) - len(left), len(wanted))
    with path.open("ab") as file:
        for record in _each(left, workers, time.monotonic() + 60 * minutes, device):
            file.write(msgspec.json.encode(record) + b"\n")
            file.flush()
            done[record.key] = record
            progress("calibrating", sum(t.key in done for t in wanted), len(wanted))
    return [done[t.key] for t in wanted if t.key in done]


def read(path: Path) -> Iterator[Record]:
    """The records of a calibration; a torn last line is passed over."""
    if path.exists():
        for line in path.read_bytes().splitlines():
            try:
                yield msgspec.json.decode(line, type=Record)
            except msgspec.MsgspecError:
                continue


def _each(left: Sequence[Instance], workers: int, until: float, device: str) -> Iterator[Record]:
    coming = itertools.takewhile(lambda _: time.monotonic() < until, left)
    if workers < 2 or len(left) < 2:
        yield from (run(t, device) for t in coming)
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, spawn, initializer=_follow, initargs=(os.getpid(),))
    try:
        waiting = {pool.submit(run, t, device) for t in itertools.islice(coming, workers)}
        while waiting:
            ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            waiting |= {pool.submit(run, t, device) for t in itertools.islice(coming, len(ready))}
            yield from (f.result() for f in ready)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _follow(parent: int) -> None:
    """Let this process end soon after its parent, which may have been killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@cache
def _bench(model: str, device: str):
    from lashley.api import open_model

    return open_model(model, device=device)


def run(trial: Instance, device: str = "cpu") -> Record:
    """Make one model, audit its claims, and put the weights back; of a few facts, the first that can be planted."""
    from lashley.models import planted

    begun, error = time.monotonic(), ""
    bench = _bench(trial.model, device)
    machine = _machine(bench.model.device)
    tries = 1 if trial.plant in NULLS else TRIES  # what has no fact would be the same again
    for attempt in range(tries):
        with planted.undoing(bench):
            try:
                claims, roles, numbers = _made(bench, trial, attempt)
            except (BadPlant, BadPrompt) as e:
                error = str(e)
                continue
            unknown = trial.plant in NULLS[:3]
            results = tuple(audited(bench, claims, trial, unknown))
        seconds = time.monotonic() - begun
        return Record(trial.key, trial, results, roles, numbers, seconds, refused=attempt, machine=machine)
    return Record(trial.key, trial, (), {}, {}, time.monotonic() - begun, error, tries, machine)


def _machine(device) -> str:
    """The processor, or the card, as a table names it."""
    words = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    if device.type == "cpu":
        return words
    import torch

    return f"{torch.cuda.get_device_name(device) if device.type == 'cuda' else device.type}, {words}"


def _made(
    bench, trial: Instance, attempt: int
) -> tuple[list[tuple[Claim, bool]], dict[str, tuple[str, ...]], dict[str, float]]:
    """The model in its state, and its claims with their truth. Raises `BadPlant`."""
    from lashley.features.search import search
    from lashley.models import planted

    draw = random.Random(trial.key)
    relation = RELATIONS[trial.seed % len(RELATIONS)]
    if trial.plant not in planted.names() or trial.plant == "null":
        objects = shipped()[relation].objects
        if trial.plant in ("untrained", "shuffled weights"):
            planted.find("null").plant(
                bench, planted.draw(bench, relation, trial.seed), how=trial.plant, seed=trial.seed
            )
        about, found, unknown = About(relation), [], trial.plant != "natural"
        for subject in draw.sample(sorted(objects), 40):
            wrong = draw.choice(sorted({*objects.values()} - {objects[subject]}))
            about = About(relation, subject, wrong if trial.plant == "shuffled labels" else "")
            with suppress(BadFact):  # of an untrained model few prompts come apart from their corrupt ones at all
                found = search(bench, about, SEARCHED, "neurons", trial.seed, lambda *_: None, unknown).sites
                break
        if not found:
            raise BadPlant(f"{trial.key}: no fact of {relation} comes apart from its corrupt run")
        layers, neurons = bench.anatomy.layers, bench.anatomy.neurons
        more = [Site(draw.randrange(layers), "neuron", draw.randrange(neurons)) for _ in range(RANDOM)]
        return [(Claim((s,), "stores", about), False) for s in dict.fromkeys([*found, *more])], {}, {}
    own: dict[str, Any] = {"r": trial.r} if trial.r else {}
    relation = RELATIONS[(trial.seed + attempt // OF_ONE) % len(RELATIONS)]
    fact = planted.draw(bench, relation, TRIES * trial.seed + attempt)
    truth = planted.find(trial.plant).plant(bench, fact, strength=trial.strength, seed=trial.seed, **own)
    claims = [(check(parse(c)), True) for c in truth.true] + [(check(parse(c)), False) for c in truth.false]
    units = {s for role in truth.units.values() for s in role}
    layer = Site.parse(min(units)).layer
    about = claims[0][0].about
    for _ in range(DECOYS):
        site = Site(layer, "neuron", draw.randrange(bench.anatomy.neurons))
        if str(site) not in units:
            claims.append((Claim((site,), "stores", about), False))
    kept = {write(c): (c, t) for c, t in reversed(claims)}
    return list(reversed(kept.values())), truth.units, truth.numbers


def audited(bench, claims: Sequence[tuple[Claim, bool]], trial: Instance, unknown: bool) -> Iterable[Result]:
    """Every claim judged by itself, though all share one sweep, in which none is a peer of another."""
    from lashley.study.beginning import begin

    params = audit.Params(claims=audit.frozen(c for c, _ in claims), unknown=unknown, seed=trial.seed)
    folder = Path(tempfile.mkdtemp(prefix="lashley-calibrate-"))
    try:
        study = begin("audit", params, Question(), bench, folder / "study").run(bench)
        table = study.table
        study.ledger.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    parsed = [parse(c) for c in params.claims]
    evidence = audit.evidence(params, parsed, table)
    truth = {write(check(c)): t for c, t in claims}
    for claim, own in zip(parsed, evidence, strict=True):
        known = own is not None and len(own.damage("confirm"))
        verdict = judge(claim, own) if own is not None and known else untestable(claim, "not known")
        yield _result(claim, truth[write(claim)], verdict, own if known else None)


def _result(claim: Claim, true: bool, verdict: Verdict, own: Evidence | None) -> Result:
    blank: tuple[float | None, ...] = (None, None, None)
    damage, restored, held = blank if own is None else (
        _mean(rows) for rows in (own.damage("confirm"), own.restored(), own.of("confirm", "held"))
    )  # fmt: skip
    methods = {} if own is None else {m: _finds(own, m, claim.thresholds.necessary) for m in METHODS}
    seconds = None if own is None else own.restored("second")
    rivals = 0
    if seconds is not None and len(seconds):
        rivals = int((seconds.groupby("trial", observed=True)["effect"].mean() >= claim.thresholds.second).sum())
    required = [c for c in verdict.criteria if c.criterion in claim.required]
    failed, open_ = (tuple(c.criterion for c in required if c.status == s) for s in ("fails", "undecided"))
    return Result(verdict.claim, true, verdict.outcome, damage, restored, held, rivals, methods, failed, open_)


def _mean(rows) -> float | None:
    return float(rows["effect"].mean()) if len(rows) else None


def _finds(own: Evidence, method: str, limit: float) -> bool:
    rows = by_method(own, method)
    above = compare(rows["effect"].to_numpy(float), limit, rows[own.cluster].astype(str).to_numpy()).above
    return above is not None and above <= 0.025
