"""Files that are whole or not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from lashley.core.errors import BrokenStudy, LashleyError
from lashley.core.trouble import explained


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Write to the temporary path this yields; on leaving, it is on the disk under its own name, or not.

    The file is fsynced, renamed, and its directory fsynced. A link stays, and what it points to is replaced; what is
    no regular file (a device, a pipe) stays too, and is written to at the end. Raises `BrokenStudy`, also for a folder.
    """
    with explained(path):
        if path.is_dir():
            raise BrokenStudy(f"{path} is a folder; name a file in it")
        if _open_ended(path):
            with tempfile.TemporaryDirectory() as folder:
                draft = Path(folder) / "draft"
                yield draft
                with draft.open("rb") as made, path.open("wb") as to:
                    shutil.copyfileobj(made, to)
            return
        path = path.resolve() if path.is_symlink() else path
        draft = path.with_name(f".{path.name[:40]}.{os.getpid()}.tmp")
        try:
            yield draft
            sync(draft)
            draft.replace(path)
            if os.name != "nt":  # Windows cannot open a directory
                sync(path.parent)
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)


def _open_ended(path: Path) -> bool:
    """Whether bytes go somewhere else than into a file of this name: a device, a pipe, a file descriptor (a link below
    /dev or /proc, whatever it points to)."""
    if path.exists() and not path.is_file():
        return True
    return path.is_symlink() and path.absolute().parts[1:2] in (("dev",), ("proc",))


def room(folder: Path) -> Path:
    """The folder, made where it is not there, in which a file can be written: asked before long work, not after it.
    Raises `LashleyError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, ValueError) as e:  # ValueError: a NUL in the name
        why = e.strerror if isinstance(e, OSError) else e
        raise LashleyError(f"nothing can be written in {folder} ({why}); choose another folder with --out") from e


def sync(path: Path) -> None:
    """Force a file's bytes, or a directory's names, to the disk."""
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
