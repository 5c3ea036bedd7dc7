"""What nobody foresaw: one line for the user, and a file with the details for whoever mends it."""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lashley.core.places import cache
from lashley.core.visible import visible

PACKAGES = ("lashley", "torch", "transformers", "numpy", "pandas", "pyarrow", "msgspec", "rich", "vl-convert-python")


def told(error: Exception, argv: Sequence[str]) -> str:
    """Write the details of an error to the first folder that takes them; the line that says so."""
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    where = _kept(_details(error, argv), argv)
    details = f"the details are in {where}; please report it with them" if where else "its details can be kept nowhere"
    return f"an error that was not foreseen ({what[:300]}); what was measured is kept; {details}"


def _kept(details: str, argv: Sequence[str]) -> Path | None:
    name = f"error-{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S}-{os.getpid()}.txt"
    for folder in _folders(argv):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(details, encoding="utf-8", errors="backslashreplace")
            return folder / name
        except OSError:
            continue
    return None


def _folders(argv: Sequence[str]) -> Iterator[Path]:
    """The study that was named, if it is one; the cache; where temporary files go."""
    for word in argv[1:]:
        folder = Path(word.removeprefix("--study="))
        try:
            if (folder / "spec.json").is_file():
                yield folder
        except (OSError, ValueError):
            continue
    yield cache() / "errors"
    yield Path(tempfile.gettempdir())


def _details(error: Exception, argv: Sequence[str]) -> str:
    def installed(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    lines = [f"{package} {installed(package)}" for package in PACKAGES]
    lines += [f"Python {platform.python_version()}, {platform.platform()}", shlex.join(argv), ""]
    return visible("\n".join(lines) + "".join(traceback.format_exception(error)), keep="\n\t")
