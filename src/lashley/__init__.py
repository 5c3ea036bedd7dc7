"""Where does a fact live in a language model, how spread out is it, and does the claim hold?

    bench = lashley.open_model("embedded")
    study = lashley.locate(bench, relation="capital", subject="France")
    study.table, study.figures, study.write()

Nothing heavy is imported before it is needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lashley.api import ask, attention, audit, circuit, knockout, locate, open_model, spread, stability
    from lashley.study.comparison import compare
    from lashley.study.study import Study

__all__ = [
    "Study",
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


_ROOMS = {"Study": "study.study", "compare": "study.comparison"}  # of what does not stand in api


def __getattr__(name: str):
    if name in __all__:
        return getattr(import_module(f"lashley.{_ROOMS.get(name, 'api')}"), name)
    raise AttributeError(f"module 'lashley' has no attribute {name!r}")
