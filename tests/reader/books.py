"""Which reader reads which experiment."""

from __future__ import annotations

from . import attention, circuit, knockout, locate, spread, stability, verdicts
from .known import Known
from .page import complaints
from .study import Shown

READERS = {
    "locate": locate,
    "knockout": knockout,
    "attention": attention,
    "stability": stability,
    "audit": verdicts,
    "spread": spread,
    "circuit": circuit,
}


def read(shown: Shown) -> tuple[Known, list[str]]:
    """What is known of a study, and everything that its page gets wrong."""
    known, found = READERS[shown.heading["experiment"]].read(shown)
    known.reasons = set(shown.left_out["reason"].dropna())
    return known, [*found, *complaints(shown.page, known)]
