"""Where does recall pass through? Causal tracing over layers, positions and sub-layers.

One activation of the clean run is restored into the corrupted run, and the logit difference read
(Meng et al. 2022, section 2; symmetric token replacement as in Zhang & Nanda 2309.16042).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from lashley.charts import RESTORATION, curves, heat, table_of
from lashley.core.anatomy import Anatomy
from lashley.core.case import Case, Material
from lashley.core.edit import Patch
from lashley.core.errors import LashleyError
from lashley.core.figure import Column, Control, Estimate, Finding
from lashley.core.outcome import Drawing, Outcome
from lashley.core.site import KINDS, Kind, Sites
from lashley.core.trial import Sweep
from lashley.experiments import at_least
from lashley.summary import cells, estimate, facts, floor, measured, percent, prompts, share
from lashley.summary import windows as centred

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


def magnitudes(params: Params, anatomy: Anatomy) -> Sequence[tuple[int, Kind]]:
    """No control is matched by activation here."""
    return ()


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


def judge(params: Params, table: pd.DataFrame) -> Outcome:
    """Where the subject's position hands over to the final one, and how much the best single output restores."""
    rows = centred(measured(table))
    cell = cells(rows, ["kind", "layer", "role"])
    least, what = floor(rows), facts(rows)
    outputs = cell[cell["kind"] != "resid"]
    best = (outputs if len(outputs) else cell).sort_values("effect").iloc[-1]
    found = estimate(best)
    few = "" if found.low is not None else " No interval: six prompts or more are needed for one."
    basis = f"Over {prompts(rows)}; 95% t interval on cluster means.{few}"
    strongest = Finding(
        f"In recalling {what}, the strongest single {_named(params, best)} restores {percent(found)}.",
        found,
        f"{basis} It is the largest of {len(outputs) or len(cell)} cells, chosen on the same prompts.",
    )
    moves = _handover(cell[cell["kind"] == "resid"], what, basis)
    begin = cell[(cell["role"] == "begin") & (cell["kind"] == "resid")]
    controls = [Control("identity edit", Estimate(least), "the numerical noise floor; no smaller effect is reported")]
    if len(begin):
        worst = float(begin["effect"].abs().max())
        controls.append(
            Control(
                "beginning-of-text position",
                Estimate(worst),
                "it precedes the subject: any effect would be an error",
            )
        )
    caveats = [
        "Restoration shows that an activation suffices to carry the answer from there on, not that the fact is "
        "stored there, nor that it is needed: backups may exist.",
        "A position's role is averaged over the positions that have it, each restored alone.",
    ]
    if params.window > 1:
        caveats.append(f"Windows of {params.window} layers were restored together; windows alone can make a peak.")
    if rows["template"].nunique() == 1:
        caveats.append("One template only: the map may be that of the wording.")
    not_tested = (
        "Necessity (see knockout), other contexts and languages, editing, and single heads or neurons.",
        "An untrained copy of the model and label-shuffled facts: these controls come with claims.",
    )
    return Outcome((*moves, strongest), tuple(controls), tuple(caveats), not_tested)


def draw(params: Params, table: pd.DataFrame) -> Drawing:
    """The layer x role map, curves by layer, and, for a single prompt, the layer x token map."""
    rows = centred(measured(table))
    least, about = floor(rows), f"{facts(rows)}, {prompts(rows)}"
    cell = cells(rows, ["kind", "layer", "role"])
    cell["site"] = [f"L{la}.{k}@{r}" for la, k, r in zip(cell["layer"], cell["kind"], cell["role"], strict=True)]
    common = {"measure": RESTORATION, "floor": least, "about": about}
    figures = []
    one = rows["prompt"].nunique() == 1
    if one:
        single = rows.assign(where=[f"{p} {t}" for p, t in zip(rows["position"], rows["token"], strict=True)])
        figures.append(
            heat(
                single,
                name="tokens",
                title=f"What each layer and token restores of {facts(rows)}",
                y="where",
                **common,
            )
        )
    else:
        figures.append(heat(cell, name="map", title=f"What each layer and role restores of {facts(rows)}", **common))
    lines = cell[cell["role"].isin(["subject_first", "subject_last", "relation", "final"])]
    figures.append(
        curves(
            lines,
            name="curves",
            title=f"What each layer restores of {facts(rows)}, by position",
            panel="kind",
            **common,
        )
    )
    top = cell.sort_values("effect", ascending=False, key=abs)
    top = top[top["kind"] != "resid"] if len(params.kinds) > 1 else top
    columns = {
        "site": "site",
        "effect": Column("restored", "share of the logit difference"),
        "n": Column("n", "prompts"),
    }
    title = "The attention and MLP outputs that restore most" if len(params.kinds) > 1 else "What restores most"
    return Drawing(tuple(figures), (table_of(top, title, columns, limit=12),))


def _handover(resid: pd.DataFrame, what: str, basis: str) -> tuple[Finding, ...]:
    """Between which layers the answer leaves the last subject token; nothing where that is not to be seen."""
    cell = {(r["role"], r["layer"]): estimate(r) for _, r in resid.iterrows()}
    last = max((layer for role, layer in cell if role == "subject_last"), default=0)
    carried = [cell["subject_last", la].value or 0.0 for la in range(last + 1) if ("subject_last", la) in cell]
    leaves = next((la for la, value in enumerate(carried) if value < 0.5), None)
    if not leaves or ("final", leaves) not in cell:
        return ()
    before, after = cell["subject_last", leaves - 1], cell["subject_last", leaves]
    sentence = (
        f"In recalling {what}, the answer leaves the last subject token between layers {leaves - 1} and {leaves}: "
        f"the residual stream restored there brings back {percent(before)} entering layer {leaves - 1} and "
        f"{share(after)} entering layer {leaves}; at the final token, {share(cell['final', leaves - 1])} and "
        f"{share(cell['final', leaves])}."
    )
    return (Finding(sentence, before, basis),)


def _named(params: Params, row: pd.Series) -> str:
    window = f" (windows of {params.window} layers)" if params.window > 1 and row["kind"] != "resid" else ""
    role = str(row["role"])
    role = {"subject_last": "last subject", "subject_first": "first subject"}.get(role, role)
    at = "positions" if role in ("relation", "subject_middle") else "token"
    return f"{NAMES[str(row['kind'])]}{window}, that of layer {row['layer']} at the {role.replace('_', ' ')} {at},"
