"""Pages of audits: every verdict, sentence, table and picture beside the claims as they are judged again."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pandas as pd

from . import arithmetic as a
from . import common
from .arithmetic import Value
from .audit import METHODS, ORDER, Criterion, Evidence, judged, outcomes
from .claims import Claim, own, parse, topic
from .known import Known, close
from .page import given
from .study import Shown

GROUPS = {"confirm": "confirming prompts", "paraphrase": "paraphrases", "other": "other facts",
          "firing": "facts that fire it most"}  # fmt: skip
PEERS = "matched random sites"
BREAKS = 0.5  # nats a token


def read(shown: Shown) -> tuple[Known, list[str]]:
    rows, page = shown.table, shown.page
    claims = [parse(c) for c in shown.params["claims"]]
    k, out = Known(), []
    k.identifiers = {"layer": shown.layers}
    k.count("claim", len(claims))
    _constants(k, claims)
    every: list[tuple[Evidence, dict[str, Criterion]] | None] = []
    for claim in claims:
        evidence = Evidence(claim, own(claims, claim, rows), topic(claims, claim, rows)) if len(rows) else None
        asked = evidence is not None and len(evidence.of("confirm")) > 0
        every.append((evidence, evidence.criteria()) if asked else None)
    statuses = [judged(c, e[1]) if e else None for c, e in zip(claims, every, strict=True)]
    came = outcomes(claims, statuses)
    k.count("claim", len([e for e in every if e]))
    for name in (*ORDER, "editable"):
        k.count("claim", sum(s is not None and s.get(name, ("not tested",))[0] == "not tested" for s in statuses))
    for claim, found, status in zip(claims, every, statuses, strict=True):
        if found:
            _facts(k, claim, found[0], found[1], status)
    for name in ("supported", "refuted", "undecided", "not testable"):
        k.add(sum(v["outcome"] == name for v in page["verdicts"]), f"{name} claims", name, "claims")
    if len(rows):
        kept = rows[rows["corrupt"].notna()]
        k.add(a.floor(kept), "noise floor", ("noise floor", "identity edit"))
        _controls(k, rows, len(claims))
        for _, asked in rows[rows["group"] == "confirm"].groupby("question"):
            common.basics(k, asked)
        _spread(k, claims, every)
    k.checks.append(
        lambda page: [
            words
            for each in zip(page["verdicts"], claims, every, statuses, came, strict=True)
            for words in _verdict(*each)
        ]
    )
    shown_ = [(c, f) for c, f in zip(claims, every, strict=True) if f]
    return k, [*out, *_pictures(k, page, claims, every, shown_[:3])]


def _constants(k: Known, claims: list[Claim]) -> None:
    for claim in claims:
        for x in claim.limits.values():
            k.add(x, "a threshold", ("wanted", claim.text))
        for alpha in {claim.limits["alpha"], 0.05}:
            k.add(alpha, "alpha", ("at 5%", "at 5", "criterion", "equivalence", "alpha", "tested at"))
            k.add(1 - alpha, "level", ("interval", "intervals", "range"))
    k.add(0.95, "level", ("interval", "intervals", "range"))
    k.add(1, "cap", ("capped", "±1", "100%", "lost once", "either way"))
    k.add(BREAKS, "what breaks a model, nats a token", ("breaks", "break"))


def _facts(k: Known, claim: Claim, e: Evidence, found: dict[str, Criterion], status: dict) -> None:
    """All that may be said of one claim."""
    text = claim.text
    for name, c in found.items():
        if c.value is None:
            continue
        k.add(c.value, f"{name} of {text}", (text, claim.sites), name)
        k.add(c.limit, f"threshold of {name}", "wanted", name)
        k.add(status[name][1], f"p of {name}", text, (name, "p ="))
        for part, v in c.parts.items():
            k.add(v, f"{name}, {part}", text, name)
            k.add(v.value, f"{name}, {part}", text, name, part)
        k.add(c.needed, f"more for {name}", text, "more", name)
        k.cells[f"{text} {name}"] = c.value
    damage = e.of("confirm")
    v = a.value(damage, claim.cluster, level=e.level)
    logits = a.value(damage, claim.cluster, "value")
    common.edited(k, claim.sites, logits, claim.sites)
    flipped = Value(-v.value, None if v.high is None else -v.high, None if v.low is None else -v.low, v.n)
    for x in (v, flipped):
        k.add(x, f"damage of {claim.sites}", claim.sites)
    each = a.by_prompt(damage)
    sign, floor = math.copysign(1, v.value), e.floor()
    k.count("prompt", len(each))
    k.add(
        sum(sign * x > floor for x in each), "prompts on which it does so", claim.sites, ("contributes", "takes away")
    )
    if (bound := e.bound()) is not None:
        k.add(float(f"{bound:.2g}"), "equivalence bound", claim.sites, ("equivalence", "excluded"))
    for group in ("confirm", "paraphrase", "domain", "confirm paraphrase", "other", "firing"):
        some = e.of(group, "restore", "patch") if group == "confirm paraphrase" else e.of(group)
        if len(some):
            k.count("prompt", a.prompts(some))
            k.count("draw foil", *a.draws(some))
            k.add(len(some) / a.prompts(some), "draws a prompt", "draws each")
            k.count("context", some["context"].nunique())
            k.count("template", some["template"].nunique())
            k.count("fact subject", some["who"].nunique(), some["subject"].nunique())
    texts = e.of("text")
    k.count("text", texts["prompt"].nunique())
    if (lost := e.loss()) is not None:
        k.add(lost, "loss on unrelated text", claim.sites, "unrelated text")
        k.add(abs(lost), "loss on unrelated text", claim.sites, "unrelated text")
    if beside := e.beside():
        mine, peers, prompts = beside
        strong = [sum(p >= mine for p in peers), sum(p <= mine for p in peers)]
        k.count("site peer", len(peers), *strong)
        k.count("", len(peers), *strong)
        k.count("prompt", prompts)
        k.add(mine, "its own mean beside its peers", text, "better than chance")
        damage, _, shared = e.beside(damage=True) or beside
        k.add(abs(damage), "its own damage beside its peers", "as much as its")
        k.count("prompt", shared)
        k.add((1 + strong[0]) / (1 + len(peers)), "p of chance", text, "p =")
        k.add(1 / (1 + len(peers)), "smallest p of chance", text, "never below")
    seconds = e.of("confirm paraphrase", "second", "patch")
    if len(seconds):
        limit = claim.limits["second"]
        values = [a.value(r, claim.cluster).value for _, r in seconds.groupby("trial")]
        k.count("set", len(values))
        k.add(sum(x >= limit for x in values), "sets that suffice", text, ("suffice", "restore", "restores"))
        k.add(limit, "what suffices", text, ("suffice", "restore", "restores"))
    firing = e.of("firing")
    if len(firing) and pd.notna(firing["population"].iloc[0]):
        k.count("fact", int(str(firing["population"].iloc[0])))
    k.add(sum(s == "holds" for s, _ in status.values()), "criteria that hold", text, "criteria")
    k.count("criterion", len(claim.required))


def _verdict(verdict: dict[str, Any], claim: Claim, found, status, outcome: str) -> list[str]:
    """A verdict with each of its criteria: effect, interval, threshold, p and status, and the words beside them."""
    out, where = [], f"verdict on {claim.text}"
    if found is None:
        bad = verdict["outcome"] not in ("not testable", "undecided") or verdict["criteria"]
        return [f"{where}: nothing was measured, and it is {verdict['outcome']}"] if bad else []
    if verdict["outcome"] != outcome:
        out.append(f"{where}: {verdict['outcome']}, judged again {outcome}")
    evidence, criteria = found
    for c in verdict["criteria"]:
        name = c["criterion"]
        if name not in criteria:
            continue
        mine, (wanted, p) = criteria[name], status[name]
        if c["status"] != wanted:
            out.append(f"{where}: {name} {c['status']}, judged again {wanted}")
        if not close(c.get("p"), p, 1e-6):
            out.append(f"{where}: p of {name} is {c.get('p')}, computed again {p}")
        if mine.value and c.get("effect") and not close(c["effect"]["value"], mine.value.value):
            out.append(f"{where}: {name} is {c['effect']['value']:.4g}, computed again {mine.value.value:.4g}")
        if mine.limit is not None and not close(c.get("threshold"), mine.limit):
            out.append(f"{where}: threshold of {name} is {c.get('threshold')}, it is {mine.limit}")
        if not close(c.get("stands"), mine.unlike, 1e-6):
            out.append(f"{where}: one-sided p of {name} is {c.get('stands')}, computed again {mine.unlike}")
        if c.get("missing", 0) != (mine.needed if wanted == "undecided" else 0):
            out.append(f"{where}: {name} lacks {c['missing']}, computed again {mine.needed}")
        out += _interval(where, c, mine)
        out += _note(where, c, mine, claim)
    if beside := evidence.beside():
        strong = sum(p >= beside[0] for p in beside[1])
        notes = [verdict["why"], *(c["note"] for c in verdict["criteria"] if c["criterion"] == "better than chance")]
        for m in re.finditer(r"([\d,]+) of [\d,]+ matched random sites (?:reach|do as much or)", " ".join(notes)):
            if int(m[1].replace(",", "")) != strong:
                out.append(f"{where}: {m[0]}, counted again {strong}")
    return out + _as_much(where, verdict.get("weaker") or "", evidence)


def _interval(where: str, c: dict[str, Any], mine: Criterion) -> list[str]:
    """The interval beside a test is that test's: it leaves the threshold out just when the test decides."""
    effect = given(c["effect"]) if c.get("effect") else None
    if (
        effect is None
        or effect.low is None
        or mine.limit is None
        or c["criterion"] in ("robust to method", "not redundant")
    ):
        return []
    above, below = effect.low > mine.limit, effect.high < mine.limit
    past = below if mine.most else above
    if c["status"] == "holds" and not past:
        return [f"{where}: {c['criterion']} holds, and its interval {effect[1:3]} does not lie past {mine.limit:g}"]
    short = above if mine.most else below
    if c["status"] == "fails" and not short:
        return [f"{where}: {c['criterion']} fails, and its interval {effect[1:3]} does not lie short of {mine.limit:g}"]
    return []


def _note(where: str, c: dict[str, Any], mine: Criterion, claim: Claim) -> list[str]:
    """What a note says has to be so: all that it says of all."""
    note = c.get("note", "")
    out = []
    m = re.search(r"([\d,]+) prompts?, ([\d,]+) (?:template|subject|fact|context)s?", note)
    if m and [int(x.replace(",", "")) for x in m.groups()] != [mine.value.n, mine.clusters]:
        out.append(f"{where}: “{note}” of {c['criterion']}, it is {mine.value.n} prompts and {mine.clusters} clusters")
    if "all say" not in note:
        return out
    no = "not necessary" in note or "does not contribute" in note
    ends = [v.high if no else v.low for v in mine.parts.values()]
    agree = [e is not None and (e < claim.recall if no else e > claim.recall) for e in ends]
    if all(agree) and len(agree) == len(METHODS):
        return []
    return [f"{where}: “{note}”, and {agree.count(False)} of {len(METHODS)} knockouts do not say so: "
            + ", ".join(f"{m} {v.value:.3f}" for m, v in mine.parts.items())]  # fmt: skip


def _as_much(where: str, text: str, e: Evidence) -> list[str]:
    """Peers that do as much: as a site that does something, in its direction."""
    m = re.search(r"([\d,]+) of ([\d,]+) matched random sites (do as much|take away as much)", text)
    beside = e.beside(damage=True)
    if not m or not beside:
        return []
    mine, peers, prompts = beside
    fewer = prompts < a.prompts(e.of("confirm"))
    if fewer != (f"{m[0]} as its" in text and f"on the {prompts} prompt" in text):
        return [f"{where}: “{text}”, and peers were measured on {prompts} prompts"]
    less = m[3].startswith("take")
    wanted = sum(p <= mine if less else p >= mine for p in peers)
    if (mine > 0) == less:
        return [f"{where}: counts {m[1]} peers that “{m[3]}” as a site whose effect is {mine:.3f}"]
    return [] if int(m[1].replace(",", "")) == wanted else [f"{where}: {wanted} peers do as much, not {m[1]}"]


def _controls(k: Known, rows: pd.DataFrame, claims: int) -> None:
    damage = (rows["group"] == "confirm") & (rows["measure"] == "damage") & (rows["edit"] == "mean")
    true = float((rows["clean"] - rows["value"])[damage].abs().mean())
    k.add(true, "logits by which the readout moves", ("true labels", "own"))
    for measure, words in (("untrained", "untrained"), ("shuffled", "label-shuffled")):
        some = rows[rows["measure"] == measure]
        if len(some):
            size = float(some["effect"].abs().mean())
            k.add(Value(size), f"{measure}, logits", words)
            k.add(size / true, f"{measure} beside the fact's own", words)
            k.count("knockout", len(some))
            k.add(len(some), "knockouts", words, ("knockouts", "knockout"))
    peers = rows[rows["measure"] == "random damage"]
    if len(peers):
        capped = peers.assign(effect=peers["effect"].clip(-1, 1))
        each = capped.groupby(["question", "set", "trial"], observed=True)["effect"].mean()
        k.add(a.middle(each.tolist()), PEERS, PEERS)
        k.count("site", len(each))


def _spread(k: Known, claims: list[Claim], every: list) -> None:
    """Sites for one thing: the strongest, all together, and over how many the damage is spread, without those that
    break the model for any text."""
    for about in dict.fromkeys(c.about for c in claims):
        mine = {c.sites: e[0] for c, e in zip(claims, every, strict=True) if e and c.about == about}
        if not mine:
            continue
        losses = {sites: e.loss() for sites, e in mine.items()}
        broken = [sites for sites, x in losses.items() if x is not None and x >= BREAKS]
        k.add(len(broken), "sites that break the model", ("breaks", "break"))
        each = {sites: a.value(e.of("confirm"), e.claim.cluster).value for sites, e in mine.items()}
        for some in (each, {sites: x for sites, x in each.items() if sites not in broken}):
            k.add(a.participation(list(some.values())), "participation ratio", "participation ratio")
        first = next(iter(mine.values()))
        joint = first.topic[first.topic["measure"] == "together"]
        if len(joint):
            k.add(a.value(joint, first.claim.cluster), f"all together, {about}", "together")
        k.count("site", len(mine))
        k.count("", len(mine))
        k.add(len(mine), "sites together", "together")


def _pictures(k: Known, page: dict, claims: list[Claim], every, first) -> list[str]:
    out = []
    necessary = {c.text: (f[1]["necessary"].value if f else None) for c, f in zip(claims, every, strict=True)}
    for figure in page["figures"]:
        name, rows = figure["name"], figure["spec"]["data"]["values"]
        kind, _, number = name.partition("-")
        if name == "claims":
            k.of_row[name] = lambda row: next(
                (v for t, v in necessary.items() if t.startswith(row["y"].rstrip("…"))), None
            )
            for t, v in necessary.items():
                k.add(v and v.value, f"damage of {t}", t[:67])
        elif kind == "criteria":
            claim, (_, found) = first[int(number)]
            own_ = {n: c.value for n, c in found.items()}
            k.of_row[name] = lambda row, own_=own_: own_.get(row["y"].partition(":")[0].partition(" (")[0])
            for n, c in found.items():
                k.add(c.value and c.value.value, n, claim.text, n)
                k.add(c.limit, n, claim.text, n)
        elif kind == "prompts":
            out += _points(k, name, rows, first[int(number)][1][0])
        else:
            out.append(f"figure {name}: no reader reads it")
    return out


def _points(k: Known, name: str, rows: list[dict], e: Evidence) -> list[str]:
    """A point a prompt, and one a matched random site; how many, in brackets."""
    wanted = {words: a.by_prompt(e.of(group)) for group, words in GROUPS.items() if len(e.of(group))}
    domain = e.of("domain")
    for kind, part in domain.groupby(domain["context"].astype(str)):
        wanted[f"{'in' if 'language' in kind else 'after'} {kind}"] = a.by_prompt(part)
    peers = e.of("confirm", "random damage")
    if len(peers):
        wanted[PEERS] = e.different(peers)
    drawn: dict[str, list[float]] = {}
    out = []
    for r in rows:
        drawn.setdefault(r["y"], []).append(r["effect"])
    for label, points in drawn.items():
        words, _, n = label.rpartition(" (")
        points_ = wanted.get(words)
        if points_ is None:
            out.append(f"figure {name}: nobody measured {words!r}")
            continue
        k.add(float(np.mean(points_)), f"mean of {words}", words)
        k.add(len(points_), f"number of {words}", words)
        if int(n.rstrip(")").replace(",", "")) != len(points_) or len(points) != len(points_):
            out.append(f"figure {name}: {len(points)} points of {words}, “({n}”; they are {len(points_)}")
        elif any(abs(x - y) > 6e-5 * max(1, abs(x)) for x, y in zip(sorted(points_), sorted(points), strict=True)):
            out.append(f"figure {name}: the points of {words} are not its prompts' means")
    k.of_row[name] = lambda row: _nearest(row, wanted)
    return out


def _nearest(row: dict, wanted: dict[str, list[float]]) -> Value | None:
    points = wanted.get(row["y"].rpartition(" (")[0], [])
    best = min(points, key=lambda x: abs(x - row["effect"]), default=None)
    return None if best is None else Value(best)
