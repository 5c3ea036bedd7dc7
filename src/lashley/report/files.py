"""A page on disk: report.html, report.json, and each figure as picture and as data."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import msgspec

from lashley.core.errors import BrokenStudy
from lashley.core.files import replacing
from lashley.report import html, vega
from lashley.report.page import Page, to_json


class Paths(msgspec.Struct, frozen=True):
    """What `write` wrote."""

    html: Path
    json: Path
    figures: tuple[Path, ...]


def write(page: Page, folder: str | os.PathLike[str]) -> Paths:
    """Write the page into `folder`: report.html, report.json, figures/NAME.png, figures/NAME.vl.json.

    Each file appears whole or not at all, the page after its figures; a figure that cannot be drawn is left out, with a
    warning. Raises `BrokenStudy`.
    """
    root = Path(folder)
    pictures = root / "figures"
    try:
        pictures.mkdir(parents=True, exist_ok=True)
        drawn = []
        for figure in page.figures:
            spec = msgspec.json.encode(vega.standalone(figure), order="deterministic")
            drawn.append(_put(pictures / f"{figure.name}.vl.json", spec + b"\n"))
            try:
                drawn.append(_put(pictures / f"{figure.name}.png", vega.png(figure)))
            except vega.Undrawn as error:
                warnings.warn(f"{error}; the report has its tables", stacklevel=2)
        json = _put(root / "report.json", to_json(page))
        return Paths(_put(root / "report.html", html.render(page).encode()), json, tuple(drawn))
    except OSError as error:
        raise BrokenStudy(
            f"the report cannot be written to {root} ({error.strerror or error}); "
            "free some space or choose a folder that you may write to"
        ) from error


def _put(path: Path, data: bytes) -> Path:
    with replacing(path) as draft:
        draft.write_bytes(data)
    return path
