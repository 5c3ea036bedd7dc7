"""Every page is right about its ledger: an independent reader recomputes what it prints and draws."""

import pytest

from . import altered, books
from .page import complaints
from .studies import STUDIES

WRONG: dict[str, str] = {
    "locate one prompt": "cells told apart from 0 with no interval",
    "locate one prompt, ten noise draws": "the token map draws every draw on top of the last",
    "locate four facts in windows": "windows cut off at the ends are called by a layer",
    "locate windows wider than the model": "windows cut off at the ends are called by a layer",
    "locate three foils": "cells told apart from 0 with no interval",
    "knockout heads, noise draws": "cells told apart from 0 with no interval",
    "knockout a set short of peers": "matched random sets drawn behind single sites",
    "knockout sites with places": "sites are called by --at where they have a place of their own",
    "knockout a neuron": "matched random sets drawn behind single sites",
    "knockout all neurons": "cells told apart from 0 with no interval",
    "attention windows": "windows cut off at the ends are called by a layer",
    "attention one prompt, noise draws": "cells told apart from 0 with no interval",
    "attention from the subject": "windows cut off at the ends are called by a layer",
}  # studies whose page is known to be wrong, and how


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.xfail(strict=True, reason=WRONG[n])) if n in WRONG else n for n in STUDIES],
)
def test_the_page_is_right_about_its_ledger(name, shown):
    study = shown(name)
    known, found = books.read(study)
    assert not found, "\n".join([f"{len(found)} complaints", *found[:40]])
    changed = altered.some(study.page, 60)
    missed = [path for path in changed if not complaints(altered.one(study.page, path), known)]
    assert len(missed) <= len(changed) // 20, (
        f"{len(missed)} of {len(changed)} changed numbers are not noticed: {missed}"
    )
