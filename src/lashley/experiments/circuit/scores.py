"""How good a circuit is, and whether there is one: pure numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from lashley.stats.inference import compare

if TYPE_CHECKING:
    from lashley.stats.inference import Labels


def area(sizes: ArrayLike, heights: ArrayLike, log: bool = False) -> float:
    """Trapezoids under `heights` over `sizes`, or over their natural logarithms."""
    x, y = np.asarray(sizes, float), np.asarray(heights, float)
    x = np.log(x) if log else x
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())


def cpr(sizes: ArrayLike, faithfulness: ArrayLike, log: bool = False) -> float:
    """Integrated circuit performance ratio: the area under f(k). Source: MIB (Mueller et al. 2504.13151), and
    `evaluate_area_under_curve` of its code, which has the natural logarithm too.

    >>> round(cpr([0.001, 0.5, 1], [0, 1, 1]), 4)
    0.7495
    """
    return area(sizes, faithfulness, log)


def cmd(sizes: ArrayLike, faithfulness: ArrayLike, log: bool = False) -> float:
    """Integrated circuit-model distance: the area under |1 - f(k)|, 0 where every circuit does what the model does.

    >>> round(cmd([0.001, 0.5, 1], [0, 1, 1]), 4)
    0.2495
    """
    return area(sizes, np.abs(1 - np.asarray(faithfulness, float)), log)


class Existence(msgspec.Struct, frozen=True):
    """Whether a circuit may be reported.

    Attributes
    ----------
    there
        Whether all three null hypotheses of `existence` go; None where there are too few prompts.
    p
        The largest of their p values.
    decisive
        Which of them stays: "gap" (the runs are not told apart), "prompts" (the circuit is not told apart from random
        ones prompt by prompt), "draws" (too many random ones do as well); "few" prompts; "" where none stays.
    draws
        How many random circuits it was compared with.
    missing
        How many prompts there are too few.
    """

    there: bool | None
    p: float | None
    decisive: Literal["gap", "prompts", "draws", "few", ""]
    draws: int
    missing: int = 0

    @property
    def why(self) -> str:
        """What was decisive, in words; "" for a circuit that may be reported."""
        if not self.decisive:
            return ""
        if self.decisive == "few":
            are = "s are" if self.missing > 1 else " is"
            return f"{self.missing} more prompt{are} needed to tell a circuit from chance"
        words = {
            "gap": "the clean and the corrupt runs are not told apart",
            "prompts": "it is not told apart from random circuits of its size, prompt by prompt",
            "draws": f"too many of {self.draws} random circuits of its size do as well",
        }[self.decisive]
        return f"{words} (p = {self.p:.3f})"


def existence(
    gaps: np.ndarray, circuit: np.ndarray, chance: np.ndarray, clusters: Labels, alpha: float = 0.05
) -> Existence:
    """Whether a circuit does something: three one-sided tests, all needed (intersection-union, so of level alpha).

    `gaps` [prompts] are the clean less the corrupt readouts, `circuit` [prompts] the readouts under the circuit,
    `chance` [draws, prompts] under random circuits of its size. (1) The gap is above 0; (2) prompt by prompt the
    circuit's readout is above the mean of the random ones; both by t tests on cluster means; (3) its mean readout is
    above theirs: (1 + #{random >= circuit}) / (1 + draws). Readouts, not shares of the gap, so that a gap near 0
    inflates nothing.
    """
    gap = compare(gaps, 0.0, clusters, 1 - alpha)
    better = compare(circuit - chance.mean(0), 0.0, clusters, 1 - alpha)
    draws = len(chance)
    if gap.above is None or better.above is None:
        return Existence(None, None, "few", draws, max(gap.interval.missing, better.interval.missing))
    rank = (1 + int((chance.mean(1) >= circuit.mean()).sum())) / (1 + draws)
    found: dict[Literal["gap", "prompts", "draws"], float] = {"gap": gap.above, "prompts": better.above, "draws": rank}
    decisive, p = max(found.items(), key=lambda item: item[1])
    return Existence(bool(p <= alpha), float(p), "" if p <= alpha else decisive, draws)


def shares(scores: np.ndarray, size: int, clusters: Sequence, draws: int = 400, seed: int = 0) -> np.ndarray:
    """In which share of resamples of the prompts each edge is among the `size` of largest |mean score|; [edges].

    `scores` is [prompts, edges]; whole clusters are drawn with replacement.
    """
    rng = np.random.default_rng(seed)
    _, labels = np.unique(np.asarray(clusters, str), return_inverse=True)
    k = labels.max() + 1
    sums = np.zeros((k, scores.shape[1]))
    np.add.at(sums, labels, scores)
    counts = np.bincount(labels)
    inside = np.zeros(scores.shape[1])
    for _ in range(draws):
        weight = np.bincount(rng.integers(k, size=k), minlength=k)
        mean = np.abs(weight @ sums / (weight @ counts))
        inside[np.argsort(-mean, kind="stable")[:size]] += 1
    return inside / draws
