"""How far a piece of work is, told to whoever waits."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]  # what is being done, how much is done, how much there is
Count = Callable[[int, int], None]  # the same where whoever waits knows what is done


def silent(*told: str | int) -> None:
    """Nobody waits: a `Progress` and a `Count` that tell nothing."""
