"""From the rows of a tracing to its numbers. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from lashley.core.experiment import Arrays
from lashley.core.figure import Estimate
from lashley.core.site import Kind
from lashley.experiments.locate.planning import Params
from lashley.stats.basis import PROMPT, Basis, basis
from lashley.stats.summary import against, cells, estimate, facts, floor, measured, width, windows

if TYPE_CHECKING:
    import pandas as pd


class Restored(msgspec.Struct, frozen=True):
    """One activation, or a window of them, and what restoring it brings back.

    Attributes
    ----------
    site
        Its address, as "L3.mlp@subject_last", or "L2-4.mlp@subject_last" for a window.
    kind
        "resid", "attn" or "mlp".
    layers
        The first and the last layer, the same where it is a single one.
    role
        Of the position; where several positions have it, each is restored alone, and their mean counts.
    share
        Mean over prompts, a share of the logit difference; n is prompts.
    """

    site: str
    kind: Kind
    layers: tuple[int, int]
    role: str
    share: Estimate


class Carrier(msgspec.Struct, frozen=True):
    """The other token of the subject whose residual stream brings back most entering layer 0.

    Attributes
    ----------
    role
        Its role.
    position, token
        Which token it is; None where prompts are several, and its role is averaged over.
    shares
        What it brings back entering layer 0, 1, ...: shares of the logit difference; n is prompts.
    leaves
        The first layer entering which it no longer brings back half; None where it never does, or always.
    """

    role: str
    position: int | None
    token: str | None
    shares: tuple[Estimate, ...]
    leaves: int | None


class Handover(msgspec.Struct, frozen=True):
    """Where the answer leaves the last subject token for the final one, by the residual stream restored entering each
    layer. A position carries the answer where it brings back half of the logit difference or more.

    Attributes
    ----------
    subject_last
        What the last subject token brings back entering layer 0, 1, ...: shares of the logit difference; n is prompts.
        () where the subject ends at the final token.
    final
        The same of the final token.
    arrives
        The first layer entering which the last subject token carries the answer; None where it never does.
    leaves
        The first layer after that entering which it no longer does; None where it does to the end.
    carrier
        What else of the subject carries it entering layer 0; None where it is a single token.
    """

    subject_last: tuple[Estimate, ...]
    final: tuple[Estimate, ...]
    arrives: int | None
    leaves: int | None
    carrier: Carrier | None


class Result(msgspec.Struct, frozen=True):
    """What restoring single activations of the clean run into the corrupt one brings back: (LD_edited - LD_corrupt) /
    (LD_clean - LD_corrupt), a share of the logit difference.

    Attributes
    ----------
    facts
        What is recalled, in words.
    basis
        Which prompts the means and intervals rest on.
    templates
        How many templates these are of.
    noise_floor
        Largest effect of an edit that changes nothing, a share; smaller ones say nothing.
    window
        How many layers of attention and MLP outputs were restored at once, those at the ends apart; 0 for single ones.
    outputs
        How many attention and MLP outputs (windows of them, by role) were restored; of the residual stream, where that
        alone was.
    strongest
        The one of them that brings back most, chosen on the same prompts.
    opposite
        The one that does more, the other way; None where there is none.
    handover
        Where the answer leaves the subject; None where the residual stream was not restored.
    beginning
        Largest effect, by size, of the residual stream at the beginning of the text, a share: it precedes the subject,
        so that any would be an error. None where it was not restored.
    """

    facts: str
    basis: Basis
    templates: int
    noise_floor: float
    window: int
    outputs: int
    strongest: Restored
    opposite: Restored | None
    handover: Handover | None
    beginning: float | None


def measure(params: Params, table: pd.DataFrame, arrays: Arrays) -> Result:
    """How much the best single output restores, and where the subject's position hands over to the final one."""
    rows = windows(measured(table))
    cell = restored(rows)
    outputs = cell[cell["kind"] != "resid"]
    outputs = outputs if len(outputs) else cell
    best = outputs.sort_values("effect").iloc[-1]
    other = against(outputs, best)
    resid = rows[rows["kind"] == "resid"]
    begin = cell[(cell["role"] == "begin") & (cell["kind"] == "resid")]
    return Result(
        facts=facts(rows),
        basis=basis(rows),
        templates=rows["template"].nunique(),
        noise_floor=floor(rows),
        window=width(rows),
        outputs=len(outputs),
        strongest=_restored(best),
        opposite=None if other is None else _restored(other),
        handover=handover(resid) if len(resid) else None,
        beginning=float(begin["effect"].abs().max()) if len(begin) else None,
    )


def restored(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean restoration of every kind, layer (or window of layers) and role, with its address."""
    cell = cells(rows, ["kind", "layer", "layers", "role"])
    named = zip(cell["layers"], cell["kind"], cell["role"], strict=True)
    return cell.assign(site=[f"{layers}.{kind}@{role}" for layers, kind, role in named])


def _restored(row: pd.Series) -> Restored:
    ends = str(row["layers"])[1:].split("-")
    return Restored(row["site"], row["kind"], (int(ends[0]), int(ends[-1])), row["role"], estimate(row))


def handover(rows: pd.DataFrame) -> Handover:
    """Between which layers the answer leaves the last subject token; from the rows of the residual stream."""
    cell = cells(rows, ["role", "layer"]).sort_values("layer")
    carried, final = (_shares(cell[cell["role"] == role]) for role in ("subject_last", "final"))
    big = [_half(e) for e in carried]
    arrives = big.index(True) if any(big) else None
    leaves = None if arrives is None else next((la for la in range(arrives, len(big)) if not big[la]), None)
    return Handover(carried, final, arrives, leaves, _carrier(rows))


def _carrier(rows: pd.DataFrame) -> Carrier | None:
    own = rows[rows["role"].isin(["subject_first", "subject_middle"])]
    if not len(own):
        return None
    by = ["position", "token"] if single(rows) else ["role"]
    cell = cells(own, [*by, "layer"]).sort_values("layer")
    best = cell[cell["layer"] == cell["layer"].min()].sort_values("effect").iloc[-1]
    carried = _shares(cell[cell[by[0]] == best[by[0]]])
    big = [_half(e) for e in carried]
    leaves = big.index(False) if big[0] and not all(big) else None
    if not single(rows):
        return Carrier(best["role"], None, None, carried, leaves)
    position = int(best["position"])
    return Carrier(own[own["position"] == position]["role"].iloc[0], position, str(best["token"]), carried, leaves)


def _shares(cell: pd.DataFrame) -> tuple[Estimate, ...]:
    return tuple(estimate(row) for _, row in cell.iterrows())


def _half(share: Estimate) -> bool:
    return (share.value or 0.0) >= 0.5


def single(rows: pd.DataFrame) -> bool:
    """Whether a table is of one prompt, however often it was corrupted."""
    return len(rows[PROMPT].drop_duplicates()) == 1
