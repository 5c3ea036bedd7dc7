"""What is claimed, and how much evidence is gathered: an audit's parameters, frozen before anything is measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from lashley.claims.grammar import check, closed, parse, write
from lashley.claims.topics import topics
from lashley.core.anatomy import Anatomy
from lashley.core.claim import Claim, Topic, shortened
from lashley.core.errors import LashleyError
from lashley.core.figure import number
from lashley.experiments import at_least

if TYPE_CHECKING:
    import pandas as pd

MOST = 2_000  # claims in one audit


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
