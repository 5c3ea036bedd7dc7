"""One typed page a study: what html, terminal and json are all made from."""

from __future__ import annotations

from typing import Any

import msgspec

from lashley.core.claim import Verdict
from lashley.core.errors import BrokenStudy
from lashley.core.figure import Control, Figure, Finding, Omission, Table
from lashley.core.visible import everywhere

SCHEMA = 1


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked, what was found, and how far it can be trusted.

    `finding` answers `question` in one sentence with its uncertainty; `also` holds what else was found.
    `caveats` say what could make the finding wrong, `not_tested` what it does not speak about, `controls`
    (the identity edit's noise floor among them) what it was compared with; `verdicts` what became of claims, if any
    were made. `result` holds the numbers that all this was told from. `command` makes it again.
    """

    title: str
    question: str
    finding: Finding
    verdicts: tuple[Verdict, ...] = ()
    also: tuple[Finding, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    caveats: tuple[str, ...] = ()
    not_tested: tuple[str, ...] = ()
    exclusions: tuple[Omission, ...] = ()
    controls: tuple[Control, ...] = ()
    environment: dict[str, str] = {}
    result: Any = None  # plain data
    command: str
    study: str
    created: str
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        names = [figure.name for figure in self.figures]
        if twice := next((n for n in names if names.count(n) > 1), None):
            raise ValueError(f"page {self.title!r}: two figures named {twice!r}; their files would collide")


def shown(page: Page) -> Page:
    """The page as html and terminals show it: with everything in it that is seen. JSON has it as it is."""
    return msgspec.convert(everywhere(msgspec.to_builtins(page)), Page)


def to_json(page: Page) -> bytes:
    """The page as JSON, the same bytes for the same page: what `--json` prints and report.json holds."""
    return msgspec.json.encode(page, order="deterministic") + b"\n"


def from_json(data: bytes | str) -> Page:
    """The page that `to_json` wrote. Raises `BrokenStudy`."""
    try:
        page = msgspec.json.decode(data, type=Page)
    except (msgspec.MsgspecError, ValueError) as error:
        raise BrokenStudy(f"report.json is not a page of lashley ({error}); make the report again") from None
    if page.schema > SCHEMA:
        raise BrokenStudy(f"report.json has schema {page.schema}, this lashley reads {SCHEMA}; install a newer lashley")
    return page
