"""What an experiment makes of its measurements, before it is put on a page."""

from __future__ import annotations

import msgspec

from lashley.core.claim import Verdict
from lashley.core.figure import Control, Figure, Finding, Table


class Outcome(msgspec.Struct, frozen=True):
    """Findings (the first answers the question), what they were compared with, and what they do not say."""

    findings: tuple[Finding, ...]
    controls: tuple[Control, ...] = ()
    caveats: tuple[str, ...] = ()
    not_tested: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = ()


class Drawing(msgspec.Struct, frozen=True):
    """Pictures and tables."""

    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
