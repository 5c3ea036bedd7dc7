"""The page as one html file: figures interactive, nothing loaded from anywhere."""

from __future__ import annotations

import base64
import functools
import hashlib

import jinja2
import msgspec
from markupsafe import Markup

from lashley.core.figure import Cell, Estimate, Figure, cell, number
from lashley.report import vega
from lashley.report.page import Page, shown

# Draw each figure again, alive, in place of its still picture; if that fails, the still picture stays.
START = """
for (const slot of document.querySelectorAll("[data-figure]")) {
  const spec = JSON.parse(document.getElementById(slot.dataset.figure).textContent);
  const live = document.createElement("div");
  const actions = {export: true, source: false, compiled: false, editor: false};
  const name = slot.dataset.figure;
  vegaEmbed(live, spec, {mode: "vega-lite", renderer: "svg", actions, downloadFileName: name})
    .then(() => {
      live.setAttribute("role", "img");
      live.setAttribute("aria-label", slot.dataset.alt);
      slot.replaceChildren(live);
    }, console.warn);
}
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.onclick = () => navigator.clipboard.writeText(button.previousElementSibling.textContent)
    .then(() => { button.textContent = "Copied"; });
}
"""


def render(page: Page) -> str:
    """The page as html that needs no network, no other file, and for reading no script. Of a figure that cannot be
    drawn it says why."""
    page = shown(page)
    code = Markup(vega.script()) if page.figures else Markup()
    start = Markup(START)
    hashes = " ".join(f"'sha256-{_digest(text)}'" for text in (code, start))
    return _template().render(
        page=page, code=code, start=start, hashes=hashes, cell=cell, number=number,
        figures=[(figure, *_picture(figure), _data(figure)) for figure in page.figures],
        numeric=_numeric, estimate=lambda value: isinstance(value, Estimate),
    )  # fmt: skip


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _picture(figure: Figure) -> tuple[str, str]:
    """An image inside the page: its ids and styles cannot meet those of other figures; and why there is none."""
    try:
        return "data:image/svg+xml;base64," + base64.b64encode(vega.svg(figure).encode()).decode(), ""
    except vega.Undrawn as e:
        return "", str(e)


def _data(figure: Figure) -> Markup:
    """JSON that cannot close the script element that holds it."""
    text = msgspec.json.encode(figure.spec, order="deterministic").decode()
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _numeric(value: Cell) -> bool:
    return isinstance(value, Estimate | int | float) and not isinstance(value, bool)


@functools.cache
def _template() -> jinja2.Template:
    loader = jinja2.PackageLoader("lashley.report")
    room = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return room.get_template("page.html.j2")
