"""Figures drawn without a browser and without a network: the one place that knows vl-convert."""

from __future__ import annotations

import functools
import textwrap

from lashley.core.figure import Figure

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"


def standalone(figure: Figure) -> dict:
    """The spec with the title and the caption inside, for a file that travels alone."""
    words = {
        "text": textwrap.wrap(figure.title, 78),
        "subtitle": textwrap.wrap(figure.caption, 104),
        "anchor": "start",
        "fontSize": 16,
        "subtitleFontSize": 12,
        "subtitleColor": "#5c636b",
        "subtitlePadding": 6,
        "subtitleLineHeight": 16,
        "offset": 16,
    }
    return {"$schema": SCHEMA, "description": figure.alt} | figure.spec | {"title": words}


def svg(figure: Figure) -> str:
    """The picture alone; its title and caption are the page's."""
    import vl_convert

    return vl_convert.vegalite_to_svg(figure.spec, allowed_base_urls=[])


def png(figure: Figure, scale: float = 2.0) -> bytes:
    """The picture with title and caption, at twice the size of the screen."""
    import vl_convert

    return vl_convert.vegalite_to_png(standalone(figure), scale=scale, allowed_base_urls=[])


@functools.cache
def script() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that defines `vegaEmbed` (about 0.9 MB)."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script")
