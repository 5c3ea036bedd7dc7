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
    from lashley.study import Study

__all__ = ["Study", "ask", "attention", "audit", "circuit", "knockout", "locate", "open_model", "spread", "stability"]


def __getattr__(name: str):
    if name in __all__:
        return getattr(import_module("lashley.study" if name == "Study" else "lashley.api"), name)
    raise AttributeError(f"module 'lashley' has no attribute {name!r}")
