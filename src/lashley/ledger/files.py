"""Files that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lashley.ledger.trouble import explained


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write to the temporary path this yields; on leaving, it is on the disk under its own name, or not.

    The file is fsynced, renamed, and its directory fsynced. Raises `BrokenStudy`.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with explained(path):
        try:
            yield draft
            sync(draft)
            draft.replace(path)
            if os.name != "nt":  # Windows cannot open a directory
                sync(path.parent)
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Force a file's bytes, or a directory's names, to the disk."""
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
