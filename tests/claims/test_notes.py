"""What is said beside a verdict is so: every note, basis and weaker sentence is held against the measurements, read
here once more by plain means."""

import re

import numpy as np
import pandas as pd
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st

from lashley.claims.criteria import METHODS, Evidence
from lashley.claims.grammar import parse
from lashley.claims.verdicts import judge

from .conftest import CONSTANTS, made

PREDICATES = ("stores", "contributes to", "is necessary for", "is sufficient for")
SIZES = st.sampled_from([-0.6, -0.02, 0.0, 0.03, 0.2, 0.45, 0.5, 0.55, 0.9])
VARIED = (
    *(f"confirm damage {edit}" for edit in ("mean", "zero", "resample", "noise")), "confirm restore patch",
    "confirm second patch", "confirm held mean", "confirm random damage mean", "confirm random restore patch",
    "paraphrase damage mean", "domain damage mean", "other damage mean", "firing damage mean", "text damage mean",
    *(f"confirm {c} constant" for c in CONSTANTS),
)  # fmt: skip


@st.composite
def audits(draw):
    """A claim, and evidence in which any measure may be large, small, negative, or missing."""
    claim = f"L4.mlp.n173 {draw(st.sampled_from(PREDICATES))} capital(France)"
    claim += draw(st.sampled_from(["", " [alpha = 0.01]", " [alpha = 0.2]"]))
    changed = {k: draw(SIZES) for k in VARIED if draw(st.booleans())}
    changed |= dict.fromkeys(draw(st.lists(st.sampled_from(VARIED[1:]), max_size=2)))
    shape = {"templates": draw(st.sampled_from([1, 3, 7, 10])), "peers": draw(st.sampled_from([3, 19, 99]))}
    shape |= {"sd": draw(st.sampled_from([0.0, 0.02, 0.4])), "draws": draw(st.sampled_from([1, 2]))}
    return parse(claim), made(changed, **shape)


def prompts(rows: pd.DataFrame) -> pd.Series:
    return rows.groupby("prompt")["effect"].mean()


def interval(rows: pd.DataFrame, alpha: float):
    """By templates: mean, and t bounds where there are six prompts and two templates at least."""
    each = rows.groupby(["template", "prompt"])["effect"].mean()
    means = each.groupby("template").mean()
    n, k = len(each), len(means)
    if n < 6 or k < 2:
        return means.mean(), None, None
    half = scipy.stats.t.ppf(1 - alpha / 2, k - 1) * means.std(ddof=1) / np.sqrt(k)
    return means.mean(), means.mean() - half, means.mean() + half


def of(found: Evidence, group: str, measure: str, edit: str) -> pd.DataFrame:
    r = found.rows
    return r[(r["group"] == group) & (r["measure"] == measure) & (r["edit"] == edit)]


def by_method(found: Evidence) -> dict[str, pd.DataFrame]:
    fit = found.rows[found.rows["group"] == "fit"].groupby("measure")["effect"].mean()
    best = min(sorted(fit.index), key=fit.__getitem__).removeprefix("fit ")
    optimal = of(found, "confirm", "damage", best) if best in METHODS else of(found, "confirm", best, "constant")
    return {**{m: of(found, "confirm", "damage", m) for m in METHODS[:4]}, "optimal": optimal}


@settings(max_examples=8, deadline=None)
@given(audits())
def test_every_sentence_beside_a_verdict_is_true_of_its_measurements(case):
    claim, found = case
    got, alpha = judge(claim, found), claim.thresholds.alpha
    for c in got.criteria:
        CHECKS.get(c.criterion, lambda *_: None)(claim, found, c)
        if c.criterion == "necessary" and c.effect:
            mean, low, high = interval(of(found, "confirm", "damage", "mean"), alpha)
            assert c.effect.value == pytest.approx(mean, abs=1e-9)
            assert (c.effect.low, c.effect.high) == pytest.approx((low, high), abs=1e-9)
            assert c.note.startswith(f"{of(found, 'confirm', 'damage', 'mean')['prompt'].nunique()} prompt")
        if c.status in ("holds", "fails"):
            assert c.missing == 0
    assert got.confidence is None and "onfidence" not in got.why + got.weaker
    says(claim, found, got.weaker)


def robust(claim, found, c):
    limit = claim.thresholds.contributes if claim.predicate == "contributes to" else claim.thresholds.necessary
    each = {m: interval(rows, claim.thresholds.alpha) for m, rows in by_method(found).items()}
    low = all(i[2] is not None and i[2] < limit for i in each.values())
    high = all(i[1] is not None and i[1] > limit for i in each.values())
    assert bool(re.search(r"all say that it (is not necessary|does not contribute)", c.note)) <= low
    assert bool(re.search(r"all say that it (is necessary|contributes)", c.note)) <= high
    assert ("all say" in c.note) == (c.status == "holds")
    if c.note.startswith("from "):
        least, most = re.match(r"from .*? \((\w+)\) to .*? \((\w+)\)", c.note).groups()
        means = [i[0] for i in each.values()]
        assert (each[least][0], each[most][0]) == pytest.approx((min(means), max(means)), abs=1e-9)


def chance(claim, found, c):
    measure, edit = ("restore", "patch") if claim.predicate == "is sufficient for" else ("damage", "mean")
    peers, own = of(found, "confirm", f"random {measure}", edit), of(found, "confirm", measure, edit)
    if not len(peers) or not len(own):
        assert c.effect is None and c.note == "no matched random sites are measured"
        return
    mine = own[own["prompt"].isin(peers["prompt"])]["effect"].mean()
    each = peers.groupby("trial")["effect"].mean()
    strong = sum(x >= mine for x in each)  # ties count
    assert c.note.startswith(f"{strong} of {len(each)} matched random sites reach its ")
    assert c.effect.low is None and c.stands == pytest.approx((1 + strong) / (1 + len(each)))
    assert (c.status == "holds") == ((1 + strong) / (1 + len(each)) <= claim.thresholds.alpha)


def redundant(claim, found, c):
    seconds = of(found, "confirm", "second", "patch")
    if " restore" in c.note:
        each = seconds.groupby("trial")["effect"].mean()
        assert c.note.startswith(f"{sum(each >= 0.5 - 1e-12)} of {len(each)} other set")
    if "self-repair" in c.note:
        _, low, _ = interval(of(found, "confirm", "held", "mean"), claim.thresholds.alpha)
        assert low > claim.thresholds.necessary
        assert interval(of(found, "confirm", "damage", "mean"), claim.thresholds.alpha)[2] < claim.thresholds.necessary


def specific(claim, found, c):
    groups = {"other facts": "other", "the facts that fire it most": "firing", "unrelated text": "text"}
    for words, group in groups.items():
        if c.note.startswith(words) and c.effect:
            own = of(found, group, "damage", "mean")
            size = own.assign(effect=own["effect"].abs())
            assert c.effect.value == pytest.approx(prompts(size).mean(), abs=0.02)
            assert c.note.startswith(f"{words}: {own['prompt'].nunique()} ")


CHECKS = {"robust to method": robust, "better than chance": chance, "not redundant": redundant, "specific": specific}


def says(claim, found, weaker):
    """The sentence with what was seen, of a claim that does not stand."""
    own = of(found, "confirm", "damage", "mean")
    mean, low, high = interval(own, claim.thresholds.alpha)
    each = prompts(own)
    floor = 1e-6
    if "contributes " in weaker or "takes away " in weaker:
        sign = 1 if "contributes " in weaker else -1
        assert sign * mean > floor and (low > 0 or high < 0)
        assert f"on {sum(sign * x > floor for x in each)} of {len(each)} prompts" in weaker
        peers = of(found, "confirm", "random damage", "mean")
        if match := re.search(r"(\d+) of (\d+) matched random sites (do|take away) as much", weaker):
            mine = own[own["prompt"].isin(peers["prompt"])]["effect"].mean()
            theirs = peers.groupby("trial")["effect"].mean()
            assert sign * mine > 0 and (match[3] == "do") == (sign > 0)
            shared = f" on the {peers['prompt'].nunique()} prompts that they share" in weaker
            assert shared == (peers["prompt"].nunique() < len(each))
            assert (int(match[1]), int(match[2])) == (sum(sign * x >= sign * mine for x in theirs), len(theirs))
    elif match := re.search(r"cannot be told from 0; (up to|more than) ([\d.]+)%", weaker):
        assert low <= 0 <= high or abs(mean) <= floor
        bound = max(abs(low), abs(high))
        assert float(match[2]) == pytest.approx(100 * bound, rel=0.06)
        assert (match[1] == "up to") == (bound >= claim.thresholds.contributes)
    elif weaker:
        assert "too few for an interval" in weaker and low is None and f"on {len(each)} prompt" in weaker


def test_ties_count_as_strong(found):
    each = [0.5 if i % 19 < 2 else 0.1 for i in range(6 * 19)]
    tied = {"confirm damage mean": [0.5] * 10, "confirm random damage mean": each}
    c = judge(parse("L4.mlp.n173 stores capital(France)"), found(tied, peers=19))["better than chance"]
    assert c.stands == 3 / 20 and c.note.startswith("2 of 19 ") and c.status != "holds"


def test_that_methods_disagree_is_held_against_all_pairs_of_them(found):
    """Of five knockouts under which nothing differs, one strays by chance five times as often as one alone."""
    t = scipy.stats.t.isf(0.02, 9) * 0.02 * (10 / 9) ** 0.5 / 10**0.5  # two-sided p 0.04 by itself
    straying = {"confirm damage zero": 0.5 - t}
    c = judge(parse("L4.mlp.n173 is necessary for capital(France) by robust to method"), found(straying))
    assert c["robust to method"].status == "undecided" and c["robust to method"].p == pytest.approx(0.2)
