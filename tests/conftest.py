"""What every test may ask for."""

import sys
from collections.abc import Callable

import pytest


@pytest.fixture
def calls() -> Callable[[Callable[[], object]], int]:
    """`calls(work)`: how many functions are called while `work()` runs, Python's and C's; no clock, so that a busy
    machine changes nothing."""

    def count(work: Callable[[], object]) -> int:
        found = 0

        def seen(frame, event: str, arg) -> None:
            nonlocal found
            found += event in ("call", "c_call")

        before = sys.getprofile()
        sys.setprofile(seen)
        try:
            work()
        finally:
            sys.setprofile(before)
        return found

    return count
