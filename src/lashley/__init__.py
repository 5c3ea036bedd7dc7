"""Where does a fact live in a language model, how spread out is it, and does the claim hold?

    bench = lashley.open_model("embedded")
    study = lashley.locate(bench, relation="capital", subject="France")
    study.table, study.figures, study.write()

Every experiment is a function of its name; `help(lashley.locate)` has its parameters. Nothing heavy is imported before
it is needed.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lashley.api import open_model
    from lashley.api.doors import ask, attention, audit, circuit, knockout, locate, spread, stability
    from lashley.core.claim import Claim
    from lashley.core.edit import Add, Block, Constant, Identity, Mean, Noise, Patch, ProjectOut, Resample, Zero
    from lashley.core.errors import LashleyError
    from lashley.core.fact import Fact
    from lashley.core.figure import Estimate
    from lashley.core.site import Site
    from lashley.core.trial import Sweep
    from lashley.engine.bench import Bench
    from lashley.study.comparison import compare
    from lashley.study.study import Study

    __version__: str

__all__ = [
    "Add",
    "Bench",
    "Block",
    "Claim",
    "Constant",
    "Estimate",
    "Fact",
    "Identity",
    "LashleyError",
    "Mean",
    "Noise",
    "Patch",
    "ProjectOut",
    "Resample",
    "Site",
    "Study",
    "Sweep",
    "Zero",
    "__version__",
    "ask",
    "attention",
    "audit",
    "circuit",
    "compare",
    "knockout",
    "locate",
    "open_model",
    "spread",
    "stability",
]

_EDITS = ("Add", "Block", "Constant", "Identity", "Mean", "Noise", "Patch", "ProjectOut", "Resample", "Zero")
_HOMES = {
    **dict.fromkeys(_EDITS, "core.edit"),
    **dict.fromkeys(("ask", "open_model"), "api"),
    "Bench": "engine.bench",
    "Claim": "core.claim",
    "Estimate": "core.figure",
    "Fact": "core.fact",
    "LashleyError": "core.errors",
    "Site": "core.site",
    "Study": "study.study",
    "Sweep": "core.trial",
    "compare": "study.comparison",
}


if not TYPE_CHECKING:  # type checkers see those above, and no other

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            return version("lashley")
        if name in _HOMES:
            return getattr(import_module(f"lashley.{_HOMES[name]}"), name)
        room = name.startswith("_") or find_spec(f"lashley.{name}")
        if not room and name in import_module("lashley.experiments").names():
            return getattr(import_module("lashley.api"), name)
        raise AttributeError(f"module 'lashley' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *set(import_module("lashley.experiments").names()) - set(__all__)]
