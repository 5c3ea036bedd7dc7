"""Models whose truth is known because it was put there: facts planted in single neurons of real checkpoints.

A rank-one write as in ROME (Meng et al. 2022): the key is the whitened input of an MLP at the subject's last token, the
value moves the logit through the model's own upper layers. Each plant is one file in `kinds/`, found by its name.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import msgspec
import torch

from lashley.core.errors import BadPlant
from lashley.engine.bench import Bench
from lashley.engine.checkpoints import _quiet
from lashley.models.planted import kinds
from lashley.models.planted.planting import draw
from lashley.models.planted.truth import STANDARD, Truth

__all__ = ["STANDARD", "Truth", "draw", "find", "free", "names", "read", "undoing", "write"]


def names() -> list[str]:
    """Every plant there is."""
    return sorted(m.name for m in pkgutil.iter_modules(kinds.__path__))


def find(name: str) -> ModuleType:
    """The module of one plant. Raises `BadPlant` with near names."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise BadPlant(f"no plant {name!r}; {hint}there are {', '.join(names())}")
    return importlib.import_module(f"{kinds.__name__}.{name}")


@contextmanager
def undoing(bench: Bench) -> Iterator[None]:
    """Put every weight back as it was."""
    kept = {name: p.detach().clone() for name, p in bench.model.module.named_parameters()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, p in bench.model.module.named_parameters():
                p.copy_(kept[name])
        bench.changed()


def free(folder: str | Path) -> Path:
    """A folder that is not there yet, or empty. Raises `BadPlant`."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise BadPlant(f"{folder} is a file; choose another folder")
    if folder.exists() and any(folder.iterdir()):
        raise BadPlant(f"{folder} is not empty; choose another folder")
    return folder


def write(bench: Bench, truth: Truth, folder: str | Path) -> Path:
    """An ordinary Hugging Face checkpoint with `truth.json` beside it. Raises `BadPlant` for a folder with something
    in it, or that cannot be written."""
    folder = free(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _quiet():
            bench.model.module.save_pretrained(folder)
            bench.tokens.tokenizer.save_pretrained(folder)
        (folder / "truth.json").write_bytes(msgspec.json.format(msgspec.json.encode(truth), indent=1) + b"\n")
    except OSError as e:
        raise BadPlant(f"{folder} cannot be written ({e.strerror or e}); choose another folder") from e
    return folder


def read(folder: str | Path) -> Truth:
    """The truth of a planted checkpoint. Raises `BadPlant`."""
    try:
        return msgspec.json.decode((Path(folder) / "truth.json").read_bytes(), type=Truth)
    except (OSError, msgspec.MsgspecError) as e:
        raise BadPlant(f"{folder} holds no planted model (truth.json); make one with `lashley plant`") from e
