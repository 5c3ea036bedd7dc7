"""Options that several commands take, and what they do in the end: open a model, show a study."""

from __future__ import annotations

import dataclasses
import shlex
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from lashley.core import parameters
from lashley.core.errors import BrokenStudy
from lashley.report.console import say_json

Flag = Annotated[bool, Parameter(negative=())]  # which is not taken back


def options(name: str, taken: Iterable[parameters.Parameter], told: str | None = None) -> Any:
    """A dataclass of which the command line makes an option for each parameter."""
    made = dataclasses.make_dataclass(
        name,
        [(p.name, Annotated[p.kind, Parameter(help=p.meaning)], p.usual) for p in taken],
        frozen=True,
        kw_only=True,
        namespace={"__doc__": told, "__module__": __name__},  # cyclopts takes no class of `types` apart
    )
    return Annotated[made | None, Parameter(name="*")]


@Parameter(name="*")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Running:
    """On what, and where it is kept.

    Parameters
    ----------
    model
        embedded, gemma3-270m, a folder, a .gguf file or a hub id.
    device
        As torch names it: cpu, cuda, mps; auto spreads the layers over all cards.
    dtype
        Arithmetic: float32, bfloat16, float16, float64.
    memory
        Bound on activations in flight.
    study
        Folder of the study; by default one under ./studies/.
    json
        Print the page object as JSON, and nothing else.
    """

    model: str = "embedded"
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16", "float16", "float64"] = "float32"
    memory: str = "512MiB"
    study: Path | None = None
    json: Flag = False


def opened(running: Running):
    from lashley import api

    return api.open_model(running.model, device=running.device, dtype=running.dtype, memory=running.memory)


def show(study, json: bool, out: Path | None = None) -> None:
    """Write the report and show it; where it cannot be written beside its study, it is shown all the same."""
    from lashley.report import terminal, to_json, write

    page, path = study.page(), None
    try:
        path = write(page, out or study.folder).html
    except BrokenStudy as e:
        if out:
            raise
        warnings.warn(
            f"{e}; `lashley report {shlex.quote(str(study.folder))} --out FOLDER` writes it elsewhere", stacklevel=1
        )
    if json:
        say_json(to_json(page))
    else:
        terminal.show(page, path)
