"""Where does recall pass through? Causal tracing over layers, positions and sub-layers.

One activation of the clean run is restored into the corrupted run, and the logit difference read
(Meng et al. 2022, section 2; symmetric token replacement as in Zhang & Nanda 2309.16042).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from lashley.core.case import Case, Material
from lashley.core.edit import Patch
from lashley.core.errors import LashleyError
from lashley.core.experiment import Arrays, Experiment
from lashley.core.figure import Column, Control, Estimate, Finding, plain
from lashley.core.outcome import Drawing, Outcome
from lashley.core.site import KINDS, Kind, Sites
from lashley.core.trial import Sweep
from lashley.experiments import at_least, pairs, unsplit
from lashley.report.charts import RESTORATION, curves, heat, table_of
from lashley.stats.summary import (
    PROMPT,
    against,
    cells,
    estimate,
    facts,
    floor,
    measured,
    percent,
    readings,
    resting,
    share,
    width,
    windows,
)

if TYPE_CHECKING:
    import pandas as pd

QUESTION = "Through which layers and positions does the recall of {facts} pass in {model}?"
NAMES = {"resid": "residual stream", "attn": "attention output", "mlp": "MLP output"}


@dataclass(frozen=True)
class Params:
    """What is traced, and how the corrupted run is made.

    Parameters
    ----------
    kinds
        Which activations are restored.
    window
        Restore this many layers of attention or MLP outputs at once; 1 is a single layer. Windows make peaks.
    corruption
        How recall is destroyed: "replace" the subject by another, or "noise" on its embeddings (ROME).
    draws
        Corruptions of each prompt: other foils, or other noise.
    """

    kinds: tuple[Literal["resid", "attn", "mlp"], ...] = ("resid", "attn", "mlp")
    window: int = 1
    corruption: Literal["replace", "noise"] = "replace"
    draws: int = 1

    def __post_init__(self) -> None:
        at_least(1, window=self.window, draws=self.draws)
        if not self.kinds:
            raise LashleyError("kinds is empty; name one or more of resid, attn and mlp")


def plan(params: Params, material: Material) -> Iterable[Sweep]:
    """One sweep a case and kind: every layer at every position."""
    for case in material.cases:
        for kind in params.kinds:
            window = 1 if kind == "resid" else min(params.window, material.anatomy.layers)
            yield Sweep(
                clean=case.clean,
                corrupt=case.corrupt,
                effect="restoration",
                edits=(Patch(case.clean),),
                sites=_grid(material.anatomy.layers, case, kind, window),
                readout=case.readout,
                labels=case.labels(window=str(window)),
            )


def _grid(layers: int, case: Case, kind: Kind, window: int) -> Sites:
    """Layers x positions; `window` layers about each one, fewer at the ends."""
    layer, position = (x.ravel() for x in np.meshgrid(range(layers), range(len(case.clean)), indexing="ij"))
    first = np.maximum(layer - (window - 1) // 2, 0)
    sizes = np.minimum(layer - (window - 1) // 2 + window, layers) - first
    step = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return Sites.pack(
        np.repeat(first, sizes) + step, KINDS.index(kind), position=np.repeat(position, sizes), sizes=sizes
    )


def judge(params: Params, table: pd.DataFrame, arrays: Arrays) -> Outcome:
    """Where the subject's position hands over to the final one, and how much the best single output restores."""
    rows = windows(measured(table))
    cell = _cells(rows)
    least, what, basis = floor(rows), facts(rows), f"Over {resting(rows)}"
    outputs = cell[cell["kind"] != "resid"]
    outputs = outputs if len(outputs) else cell
    best = outputs.sort_values("effect").iloc[-1]
    found = estimate(best)
    sentence = f"In recalling {what}, {_the_strongest(rows, best)} restores {percent(found)}"
    if (other := against(outputs, best)) is not None:
        sentence += f"; {other['site']} does more, the other way: it restores {share(estimate(other))}"
    chosen = f"{basis} It is the largest of {len(outputs)} cells, chosen on the same prompts."
    resid = rows[rows["kind"] == "resid"]
    moves = _handover(resid, what, basis) if len(resid) else ()
    begin = cell[(cell["role"] == "begin") & (cell["kind"] == "resid")]
    controls = [Control("identity edit", Estimate(least), "the numerical noise floor; smaller effects say nothing")]
    if len(begin):
        worst = float(begin["effect"].abs().max())
        reading = "restored share; it precedes the subject: any effect would be an error"
        controls.append(Control("beginning of the text", Estimate(worst), reading))
    caveats = [
        "Restoration shows that an activation suffices to carry the answer from there on, not that the fact is "
        "stored there, nor that it is needed: backups may exist.",
        "A position's role is averaged over the positions that have it, each restored alone.",
    ]
    if wide := width(rows):
        caveats.append(
            f"Windows of {wide} layers were restored together; windows alone can make a peak. Those that the first or "
            "the last layer cuts off have fewer layers, and are cells of their own."
        )
    if rows["template"].nunique() == 1:
        caveats.append("One template only: the map may be that of the wording.")
    not_tested = (
        "Necessity (see knockout), other contexts and languages, editing, and single heads or neurons.",
        "An untrained copy of the model and label-shuffled facts: these controls come with claims.",
    )
    findings = (*moves, Finding(f"{sentence}.", found, chosen))
    findings = tuple(sorted(findings, key=lambda finding: finding.estimate is None))
    return Outcome(findings, tuple(controls), tuple(caveats), not_tested)


def draw(params: Params, table: pd.DataFrame, arrays: Arrays) -> Drawing:
    """The layer x role map, curves by layer, and, for a single prompt, the layer x token map."""
    rows = windows(measured(table))
    cell, what = _cells(rows), facts(rows)
    wide = width(rows)
    about = f"recall of {what}; over {resting(rows)}"
    layer = "layer"
    if wide:
        about += f" Attention and MLP outputs in windows of {wide} layers, fewer at the ends"
        layer = "layer, or a window's middle one"
    common = {"of": "prompts", "measure": RESTORATION, "floor": floor(rows), "about": about, "x_title": layer}
    if single(rows):
        title = f"What each layer and token restores of {what}"
        figures = [heat(_tokens(rows), name="tokens", title=title, y="token", **common)]
    else:
        figures = [heat(cell, name="map", title=f"What each layer and role restores of {what}", **common)]
    lines = cell[cell["role"].isin(["subject_first", "subject_last", "relation", "final"])]
    title = f"What each layer restores of {what}, by position"
    figures.append(curves(lines, name="curves", title=title, panel="kind", **common))
    top = cell.sort_values("effect", ascending=False, key=abs)
    top = top[top["kind"] != "resid"] if len(params.kinds) > 1 else top
    columns = {
        "site": "site",
        "effect": Column("restored", "share of the logit difference"),
        "n": Column("n", "prompts"),
    }
    title = "The attention and MLP outputs that restore most" if len(params.kinds) > 1 else "What restores most"
    own = [column for column in ("kind", "layers", "role") if len(top)]
    edited = rows.merge(top.sort_values("effect").iloc[[-1]][own], on=own) if len(top) else None
    site = top.sort_values("effect")["site"].iloc[-1] if len(top) else ""
    beside = readings(rows, edited, f"{site} of the clean run restored into the corrupt run")
    return Drawing(tuple(figures), (table_of(top, title, columns, limit=12), *beside))


def _cells(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean restoration of every kind, layer (or window of layers) and role, with its address."""
    cell = cells(rows, ["kind", "layer", "layers", "role"])
    named = zip(cell["layers"], cell["kind"], cell["role"], strict=True)
    return cell.assign(site=[f"{layers}.{kind}@{role}" for layers, kind, role in named])


def _tokens(rows: pd.DataFrame) -> pd.DataFrame:
    """The same of a single prompt for every position, with its token."""
    cell = cells(rows, ["kind", "layer", "layers", "position", "token"]).sort_values("position", kind="stable")
    named = zip(cell["layers"], cell["kind"], cell["position"], strict=True)
    token = [f"{p} {plain(str(t))}" for p, t in zip(cell["position"], cell["token"], strict=True)]
    return cell.assign(site=[f"{layers}.{kind}@{at}" for layers, kind, at in named], token=token)


def _handover(rows: pd.DataFrame, what: str, basis: str) -> tuple[Finding, ...]:
    """Between which layers the answer leaves the last subject token, or why that is not to be seen; from the rows of
    the residual stream. () while too little is measured."""
    cell = cells(rows, ["role", "layer"])
    at = {(r["role"], int(r["layer"])): estimate(r) for _, r in cell.iterrows()}
    carried = [e for _, e in sorted((la, e) for (role, la), e in at.items() if role == "subject_last")]
    begin = f"In recalling {what}, "
    if not carried:
        sentence = f"{begin}the subject ends at the final token: no handover between two tokens is to be seen."
        return (Finding(sentence),) if "final" in set(rows["role"]) else ()
    big = [(e.value or 0.0) >= 0.5 for e in carried]
    last = len(carried) - 1
    if not any(big):
        peak = max(range(last + 1), key=lambda la: carried[la].value or 0.0)
        sentence = (
            f"{begin}no layer's residual stream at the last subject token brings back half of the logit difference: at "
            f"most {share(carried[peak])}, entering layer {peak}. {_carrier(rows)}"
        )
        return (Finding(sentence, carried[peak], basis),)
    first = big.index(True)
    leaves = next((la for la in range(first, last + 1) if not big[la]), None)
    late = ""
    if first:
        late = (
            f"the answer reaches the last subject token by layer {first} ({share(carried[first])}; entering layer "
            f"{first - 1}, {share(carried[first - 1])}), and "
        )
    end = f" {_carrier(rows)}" if first else ""
    if leaves is None:
        sentence = (
            f"{begin}{late}the residual stream restored at the last subject token still brings back "
            f"{percent(carried[last])} entering layer {last}, the last: the answer does not leave it before.{end}"
        )
        return (Finding(sentence, carried[last], basis),)
    before, after = carried[leaves - 1], carried[leaves]
    sentence = (
        f"{begin}{late or 'the answer '}leaves {'it' if first else 'the last subject token'} between layers "
        f"{leaves - 1} and {leaves}: the residual stream restored there brings back {percent(before)} entering layer "
        f"{leaves - 1} and {share(after)} entering layer {leaves}"
    )
    if ("final", leaves) in at:
        sentence += f"; at the final token, {share(at['final', leaves - 1])} and {share(at['final', leaves])}"
    return (Finding(f"{sentence}.{end}", before, basis),)


def _carrier(rows: pd.DataFrame) -> str:
    """What else of the subject brings back most entering layer 0, and where it no longer does, in words; rows of the
    residual stream."""
    own = rows[rows["role"].isin(["subject_first", "subject_middle"])]
    if not len(own):
        return "It is the only token of the subject."
    by = ["position", "token"] if single(rows) else ["role"]
    cell = cells(own, [*by, "layer"]).sort_values("layer")
    best = cell[cell["layer"] == 0].sort_values("effect").iloc[-1]
    name = f"token {best['position']} “{plain(str(best['token']))}”" if single(rows) else f"the {_role(best['role'])}"
    words = f"Of the subject's other tokens {name} brings back most entering layer 0, {share(estimate(best))}"
    carried = [estimate(row) for _, row in cell[cell[by[0]] == best[by[0]]].iterrows()]
    big = [(e.value or 0.0) >= 0.5 for e in carried]
    if not big[0] or all(big):
        return f"{words}."
    leaves = big.index(False)
    before, after = share(carried[leaves - 1]), share(carried[leaves])
    return f"{words}; the answer leaves it between layers {leaves - 1} ({before}) and {leaves} ({after})."


def single(rows: pd.DataFrame) -> bool:
    """Whether a table is of one prompt, however often it was corrupted."""
    return len(rows[PROMPT].drop_duplicates()) == 1


def _the_strongest(rows: pd.DataFrame, row: pd.Series) -> str:
    kind = NAMES[str(row["kind"])]
    if width(rows) and row["kind"] != "resid":
        return f"the strongest window of {kind}s, {_place(row)},"
    return f"the strongest single {kind}, that of {_place(row)},"


def _place(row: pd.Series) -> str:
    first, *last = str(row["layers"])[1:].split("-")
    layers = f"layers {first} to {last[0]}" if last else f"layer {first}"
    return f"{layers} at the {_role(row['role'])}"


def _role(role: str) -> str:
    role = {"subject_last": "last subject", "subject_first": "first subject", "begin": "first"}.get(role, role)
    return f"{role.replace('_', ' ')} {'positions' if role in ('relation', 'subject_middle') else 'token'}"


EXPERIMENT = Experiment(
    name="locate",
    about=__doc__,
    question=QUESTION,
    Params=Params,
    gather=pairs,
    plan=plan,
    **unsplit(judge, draw),
    topic=lambda params, rows: facts(rows),
)
