"""What is being done, told to whoever waits, on standard error: a bar on a terminal, lines elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Self, TextIO

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lashley.core.visible import visible
from lashley.report.console import Console

EVERY = 5.0  # seconds between two lines about the same work


class Silent:
    """Nobody looks."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        pass

    def __call__(self, what: str, done: int, total: int) -> None:
        pass


class Bar(Silent):
    """A bar for each piece of work, with an estimate of what is left."""

    def __init__(self, console: Console):
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=console, transient=True)
        self.tasks: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_) -> None:
        self.bar.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        if what not in self.tasks:
            self.tasks[what] = self.bar.add_task(what, total=total)
        self.bar.update(self.tasks[what], completed=done, total=total)


class Lines(Silent):
    """A line when a piece of work begins, and then now and again how far it is and what is left at that pace."""

    def __init__(self, out: TextIO | None = None, now: Callable[[], float] = time.monotonic):
        self.out, self.now = out or sys.stderr, now
        self.begun: dict[str, tuple[float, int]] = {}  # when, and how much was done then
        self.told = -EVERY

    def __call__(self, what: str, done: int, total: int) -> None:
        at = self.now()
        if what not in self.begun:
            self.begun[what] = at, done
        elif at - self.told < EVERY or done >= total:
            return
        self.told = at
        print(visible(f"{what}{self._far(what, done, total, at)}"), file=self.out, flush=True)

    def _far(self, what: str, done: int, total: int, at: float) -> str:
        begun, first = self.begun[what]
        if total < 2:
            return ""
        left = "" if done == first else f", about {(at - begun) / (done - first) * (total - done):,.0f} s left"
        return f": {done:,} of {total:,}{left}"


def progress_of(quiet: bool, lines: bool = False) -> Silent:
    """A bar where somebody looks; elsewhere `lines` where they are wanted. Nothing where it shall be `quiet`."""
    console = Console(stderr=True)
    if quiet or not (console.is_terminal or lines):
        return Silent()
    return Bar(console) if console.is_terminal else Lines()
