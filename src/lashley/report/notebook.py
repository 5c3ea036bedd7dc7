"""Figures as notebooks show them."""

from __future__ import annotations

import base64

from lashley.core.figure import Figure
from lashley.report import vega


class Picture(Figure, frozen=True):
    """A figure that shows itself: by the front end where that draws this version of Vega-Lite, else as PNG."""

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        """Vega-Lite, PNG in base64 (drawn only now, and left out where that fails) and text."""
        bundle = super()._repr_mimebundle_(include, exclude)
        try:
            return bundle | {"image/png": base64.b64encode(vega.png(self, scale=1.0)).decode()}
        except vega.Undrawn:
            return bundle


def pictures(figures: tuple[Figure, ...]) -> tuple[Picture, ...]:
    return tuple(Picture(f.name, f.title, f.caption, f.spec, f.alt) for f in figures)
