"""Whatever a study's text holds: the page is written, every character of it is seen, and nothing steers a terminal."""

from __future__ import annotations

import io
import re
import signal
from xml.etree import ElementTree

import demo_page
import msgspec
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from lashley.core.figure import Column, Control, Estimate, Figure, Finding, Omission, Table
from lashley.core.visible import visible
from lashley.report import Page, from_json, terminal, vega, write
from lashley.report.charts import bars, heat
from lashley.report.console import Console

SPECIAL = "\u2028\u2029\u202e\u2066\ufeff\ufffe\uffff\ufdd0\U0001fffe\U0010ffff"
EVERY = "".join(map(chr, range(256))) + SPECIAL
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def page(text: str) -> Page:
    """A page that has `text` in every place."""
    frame = pd.DataFrame({"site": [text, "L1"], "layer": [0, 1], "role": [text, "final"], "kind": text})
    frame = frame.assign(effect=[0.5, -0.2], low=[0.4, -0.3], high=[0.6, 0.1], n=3)
    draw = {"title": text, "measure": text, "about": text}
    return Page(
        title=text, question=text, finding=Finding(text, None, text), also=(Finding(text),),
        figures=(heat(frame, name="heat", **draw), bars(frame, name="bars", **draw)),
        tables=(Table(text, (Column(text, text),), ((text,),), text),),
        caveats=(text,), not_tested=(text,), exclusions=(Omission(text, text),),
        controls=(Control(text, Estimate(1.0, unit=text), text),), environment={text: text},
        command=text, study=text, created=text,
    )  # fmt: skip


def test_a_page_with_every_control_character_is_written_and_shows_them(tmp_path):
    hostile = page(EVERY)
    paths = write(hostile, tmp_path)
    assert from_json(paths.json.read_bytes()) == hostile, "JSON has it as it is"
    shown = paths.html.read_text()
    own = shown.replace(vega.script(), "")
    assert not RAW.search(own) and own.count("<img") == len(hostile.figures)
    assert all(spelt in own for spelt in (r"\x00", r"\x07", r"\x1b", r"\x9b", r"\u202e", r"\ufffe"))
    assert len(paths.figures) == 2 * len(hostile.figures)
    for path in paths.figures:
        assert path.stat().st_size > 500 and (path.suffix == ".png" or not RAW.search(path.read_text()))
    assert not RAW.search(terminal.text(hostile, width=80))


@settings(max_examples=12, deadline=None)
@given(st.text(st.characters(), max_size=40))
@example("x" * 45 + "\U000111d0" * 20)  # which the renderer cuts in the midst of a character
@example(r"\x00 \0 \u0000 \ud800 \ ${x} \'" + EVERY)  # which Vega reads once more
def test_any_text_can_be_drawn(text):
    figure = page(text).figures[1]
    ElementTree.fromstring(vega.svg(figure))
    assert vega.png(figure, 1.0)[:4] == b"\x89PNG"


@given(st.text(st.characters()))
def test_what_is_visible_is_so_and_stays(text):
    seen = visible(text)
    assert not RAW.search(seen) and "\n" not in seen and visible(seen) == seen
    assert seen == text or any(not c.isprintable() for c in text)
    seen.encode()


@given(st.text(st.characters(), max_size=40))
def test_no_console_lets_a_control_character_through(text):
    out = io.StringIO()
    console = Console(file=out, color_system=None, width=30)
    grid = Grid(title=text)
    grid.add_column(text)
    grid.add_row(Text(text))
    for each in (grid, text, Text(text), Padding(text, 1)):
        console.print(each, markup=False)
    console.print(Text("[bold]x", "bold"), text)
    assert not RAW.search(out.getvalue())


@pytest.fixture
def dying(monkeypatch):
    """A renderer that dies at figures named so, as it does at characters that nobody has found yet."""
    alive = vega._Renderer._answer

    def answer(self, asked):
        found = alive(self, asked)
        if b"deadly" in asked:
            self.process.send_signal(signal.SIGABRT)
            return found[:10]
        return found

    monkeypatch.setattr(vega._Renderer, "_answer", answer)


def test_a_renderer_that_dies_leaves_the_page_with_its_tables(tmp_path, dying):
    frame = pd.DataFrame({"site": ["L0", "L1"], "effect": [0.5, -0.2], "low": 0.1, "high": 0.6, "n": 3})
    deadly = bars(frame, name="deadly", title="deadly", measure="deadly")
    other = bars(frame, name="other", title="Another", measure="damage")
    both = msgspec.structs.replace(demo_page.page(), figures=(deadly, other))
    with pytest.warns(UserWarning, match="'deadly' could not be drawn"):
        paths = write(both, tmp_path)
    shown = paths.html.read_text().replace(vega.script(), "")
    assert "the figure &#39;deadly&#39; could not be drawn: the renderer ended (signal 6)" in shown
    assert shown.count("<img") == 1 and both.tables[0].title in shown
    assert sorted(p.name for p in paths.figures) == ["deadly.vl.json", "other.png", "other.vl.json"]


def test_a_figure_that_is_none_is_said(tmp_path):
    figure = Figure("none", "t", "c", {"mark": 7}, "a")
    with pytest.raises(vega.Undrawn, match="could not be drawn"):
        vega.svg(figure)


def test_the_renderer_itself_aborts_at_what_is_not_cleaned(monkeypatch):
    """Else the two tests above are of nothing."""
    monkeypatch.setattr(vega, "clean", lambda figure: figure)
    with pytest.raises(vega.Undrawn, match="signal 6"):
        vega.svg(page("a\x07").figures[1])
