"""Every page is right about its ledger: an independent reader recomputes what it prints and draws."""

import pytest

from . import altered, books
from .page import complaints
from .studies import STUDIES

WRONG: dict[str, str] = {}  # studies whose page is known to be wrong, and how

ALIKE = ("spread of a relation", "spread over sub-layers")  # 1, 2, 4 and 8 count several things there


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.xfail(strict=True, reason=WRONG[n])) if n in WRONG else n for n in STUDIES],
)
def test_the_page_is_right_about_its_ledger(name, shown):
    study = shown(name)
    known, found = books.read(study)
    assert not found, "\n".join([f"{len(found)} complaints", *found[:40]])
    changed = altered.some(study.page, 40)
    missed = [path for path in changed if not complaints(altered.one(study.page, path), known)]
    assert len(missed) <= len(changed) // (4 if name in ALIKE else 8), (
        f"{len(missed)} of {len(changed)} changed numbers are not noticed: {missed}"
    )
