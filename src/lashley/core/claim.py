"""Falsifiable sentences about where a fact lives, and what became of them. Plain data.

A claim is frozen, with its thresholds, before anything is measured; a verdict is a pure function of the ledger.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from lashley.core.figure import Estimate
from lashley.core.site import Site, brief, parse_sites

Predicate = Literal["stores", "contributes to", "is necessary for", "is sufficient for"]
Status = Literal["holds", "fails", "undecided", "not tested"]
Decision = Literal["supported", "refuted", "undecided", "not testable"]

CRITERIA = (  # in the order in which they are shown
    "necessary",
    "sufficient",
    "contributes",
    "specific",
    "better than chance",
    "stable under prompt",
    "stable under domain",
    "robust to method",
    "not redundant",
    "monosemantic",
    "editable",
)
REQUIRED: dict[Predicate, tuple[str, ...]] = {
    "stores": tuple(c for c in CRITERIA if c not in ("contributes", "monosemantic", "editable")),
    "is necessary for": ("necessary", "better than chance", "stable under prompt", "robust to method"),
    "is sufficient for": ("sufficient", "better than chance"),
    "contributes to": ("contributes", "better than chance"),
}


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a criterion begins to hold. Damage and restoration are shares of the logit difference.

    `necessary`: damage at least. `sufficient`: restoration at least. `contributes`: damage at least.
    `others`: mean absolute damage to other facts at most. `loss`: change of the loss on unrelated text, in nats a
    token above the noise floor, at most. `second`: restoration by a disjoint set, below. `fires`: what other facts
    fire the unit with, as a share of this fact's activation, below. `alpha`: level of the tests.
    """

    necessary: float = 0.5
    sufficient: float = 0.5
    contributes: float = 0.05
    others: float = 0.1
    loss: float = 0.05
    second: float = 0.5
    fires: float = 0.5
    alpha: float = 0.05


class About(msgspec.Struct, frozen=True):
    """What is claimed to be somewhere: a fact, a whole relation (no `subject`), or a prompt of one's own.

    `object` "" is that of the fact base. A `prompt` has `{}` for its subject, and comes with subject, object and
    those of its foil; its `relation` is "".
    """

    relation: str = ""
    subject: str = ""
    object: str = ""
    prompt: str = ""
    foil_subject: str = ""
    foil_object: str = ""


class Topic(msgspec.Struct, frozen=True):
    """One thing that claims are about, and the site sets that they name, in order of first appearance."""

    about: About
    sets: tuple[tuple[Site, ...], ...]


class Claim(msgspec.Struct, frozen=True):
    """`SITES PREDICATE ABOUT [and nothing else] [OPTIONS]`.

    `require` names the criteria that were asked for; (): those of the predicate. `open` are the sites as written where
    a model has to say how many they are (`L7.attn.h*`); `sites` is () until it did. `str` is `claims.grammar.write`.
    """

    sites: tuple[Site, ...]
    predicate: Predicate
    about: About
    only: bool = False  # "and nothing else"
    require: tuple[str, ...] = ()
    thresholds: Thresholds = Thresholds()
    open: str = ""

    @property
    def required(self) -> tuple[str, ...]:
        """The criteria that must hold."""
        asked = self.require or REQUIRED[self.predicate]
        return (*asked, "monosemantic") if self.only and "monosemantic" not in asked else asked


def shortened(claim: str) -> str:
    """A canonical claim with ranges for units that follow each other.

    >>> shortened("L3.mlp.n1+L3.mlp.n2+L3.mlp.n3 stores capital(France)")
    'L3.mlp.n1-3 stores capital(France)'
    """
    sites, blank, rest = claim.partition(" ")
    return claim if sites.count("+") < 2 or "*" in sites else brief(parse_sites(sites)) + blank + rest


class Judged(msgspec.Struct, frozen=True):
    """One `criterion` of one claim, and whether it holds (`status`).

    `effect` is compared with `threshold`; `p` is adjusted (Holm) within the claim; `stands` is the one-sided p of
    its not holding, unadjusted. `missing` is how many more prompts would probably decide it. `note` says, in a few
    words, what was measured on what; `evidence` are the keys of the sweeps that it rests on.
    """

    criterion: str
    status: Status
    effect: Estimate | None = None
    threshold: float | None = None
    p: float | None = None
    stands: float | None = None
    missing: int = 0
    note: str = ""
    evidence: tuple[str, ...] = ()


class Verdict(msgspec.Struct, frozen=True):
    """What became of a `claim`: its `outcome`, from its `criteria`. `why` is one sentence, `caveats` say what was not
    tested; `weaker` is the strongest weaker sentence that is supported (of a refuted or undecided claim; "" where there
    is none). `confidence` is read from pages of earlier versions and no longer given: it was 1 - the largest one-sided
    p of the required criteria, as a rule the floor of a permutation test, and no probability of anything."""

    claim: str
    outcome: Decision
    why: str
    criteria: tuple[Judged, ...] = ()
    weaker: str = ""
    confidence: float | None = None
    caveats: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """The claim as sentences quote it: `L3.mlp.n1-20 stores capital(France)`; `claim` spells all sites out."""
        return shortened(self.claim)

    def __getitem__(self, criterion: str) -> Judged:
        return next(c for c in self.criteria if c.criterion == criterion)
