"""What a page promises: nothing lost, nothing loaded, nothing executed, readable anywhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import demo_page
import msgspec
import numpy as np
import pandas as pd
import pytest
import vl_convert

from lashley.core.errors import BrokenStudy
from lashley.core.figure import Column, Control, Estimate, Figure, Finding, Omission, Table
from lashley.report import Page, from_json, html, terminal, to_json, vega, write
from lashley.report.charts import DAMAGE, bars, curves, heat, ranks, scatter
from lashley.report.charts.theme import colour, scale
from lashley.report.page import SCHEMA

HOSTILE = """</script><script>alert("1")</script><img src=x onerror='alert(1)'>&{{ 7 * 7 }}"""


@pytest.fixture(scope="module")
def page() -> Page:
    return demo_page.page()


@pytest.fixture(scope="module")
def shown(page: Page) -> str:
    return html.render(page)


def test_json_holds_the_whole_page_in_the_same_bytes(page):
    data = to_json(page)
    assert from_json(data) == page
    assert to_json(from_json(data)) == data == to_json(demo_page.page())
    assert b"NaN" not in data


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff", b'{"title": 3}'])
def test_json_that_is_no_page_is_refused_in_one_line(data):
    with pytest.raises(BrokenStudy, match="make the report again"):
        from_json(data)


def test_json_of_a_later_lashley_is_refused(page):
    with pytest.raises(BrokenStudy, match="newer lashley"):
        from_json(to_json(msgspec.structs.replace(page, schema=SCHEMA + 1)))


def test_html_says_everything(page, shown):
    text = re.sub(r"<script.*?</script>", "", shown, flags=re.S)
    said = [page.question, page.finding.sentence, page.finding.basis, page.study, page.created, *page.caveats]
    said += [*page.not_tested, *(x.why for x in page.exclusions), *(c.reading for c in page.controls)]
    said += [*page.environment.values(), *(f.title for f in page.figures), *(f.caption for f in page.figures)]
    said += [t.title for t in page.tables] + [str(c.estimate) for c in page.controls]
    for words in said:
        assert str(html.Markup.escape(words)) in text, words
    assert str(html.Markup.escape(page.command)) in text
    assert "n = 12" in text and "5.31 [4.90, 5.80]" in text


def test_html_loads_nothing(shown):
    own = re.sub(r"<script>.*?</script>", "", shown, flags=re.S)  # the page without the code of Vega
    for found in re.findall(r"""(?:src|href|action|data)\s*=\s*["']?([^"'\s>]+)""", own):
        assert found.startswith("data:image/svg+xml;base64,"), found
    assert not re.search(r"@import|url\(|<link|<iframe|<base|<object", own)
    assert "default-src 'none'" in shown and "connect-src" not in shown
    assert shown.count("window.vegaEmbed=") == 1
    assert len(shown) < 3_000_000


def test_the_policy_names_the_scripts_that_are_there(shown):
    scripts = re.findall(r"<script>(.*?)</script>", shown, flags=re.S)
    allowed = re.findall(r"sha256-[\w+/=]+", shown[:2000])
    assert [f"sha256-{html._digest(text)}" for text in scripts] == allowed and len(scripts) == 2


def _hostile() -> Page:
    frame = pd.DataFrame({"site": [HOSTILE, "L1"], "layer": [0, 1], "role": [HOSTILE, "final"], "kind": HOSTILE})
    frame = frame.assign(effect=[0.5, -0.2], low=[0.4, -0.3], high=[0.6, 0.1], n=3)
    draw = {"title": HOSTILE, "measure": HOSTILE, "about": HOSTILE}
    return Page(
        title=HOSTILE, question=HOSTILE, finding=Finding(HOSTILE, None, HOSTILE), also=(Finding(HOSTILE),),
        figures=(
            heat(frame, name="heat", **draw),
            bars(frame, name="bars", **draw),
            ranks(frame, name="ranks", **draw),
            curves(frame, name="curves", panel="kind", **draw),
            scatter(frame, name="scatter", x="low", by="kind", x_title=HOSTILE, **draw),
        ),
        tables=(Table(HOSTILE, (Column(HOSTILE, HOSTILE),), ((HOSTILE,),), HOSTILE),),
        caveats=(HOSTILE,), not_tested=(HOSTILE,), exclusions=(Omission(HOSTILE, HOSTILE),),
        controls=(Control(HOSTILE, Estimate(1.0, unit=HOSTILE), HOSTILE),), environment={HOSTILE: HOSTILE},
        command=HOSTILE, study=HOSTILE, created=HOSTILE,
    )  # fmt: skip


def test_names_are_words_never_markup(shown):
    nasty = html.render(_hostile())
    assert "alert(" in nasty and "49" not in re.sub(r"<script.*?</script>|base64,[^\"]*", "", nasty, flags=re.S)
    own = nasty.replace(vega.script(), "")
    assert "<script>alert" not in own and "<img src=x" not in own
    assert own.count("</script>") == own.count("<script") == 5 + 2
    for figure in _hostile().figures:
        picture = vega.svg(figure)
        assert "<script" not in picture and "<img" not in picture


def test_terminal_prints_names_as_they_are():
    text = terminal.text(_hostile(), width=200)
    assert HOSTILE in text
    assert "[bold]" in terminal.text(msgspec.structs.replace(_hostile(), question="[bold]x[/bold]"))


@pytest.mark.parametrize("width", [40, 80, 120])
def test_terminal_fits_and_is_plain(page, width):
    text = terminal.text(page, "/studies/x/report.html", width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    flat = " ".join(text.split())
    assert page.finding.sentence in flat
    assert all(words in flat for words in (*page.not_tested, *page.caveats, page.command))
    assert "/studies/x/report.html" in text
    assert "L2.attn.h5" in text and "Residual stream" in text


def test_alternative_texts_have_numbers_that_can_be_read():
    frame = pd.DataFrame({"k": [0.00030000000000000003, 10.0, 36864], "effect": [0.1, 0.2, -0.3]})
    alt = curves(frame, name="x", title="t", measure=DAMAGE, x="k", by=None).alt
    assert alt.endswith("largest 0.20 at 10, smallest −0.30 at 36,864.") and "000000" not in alt


def test_figures_are_vega_lite_without_complaint(page, capfd):
    for figure in page.figures:
        picture = vl_convert.vegalite_to_svg(figure.spec, show_warnings=True)
        assert picture.startswith("<svg") and len(picture) > 3000, figure.name
    assert "warn" not in capfd.readouterr().err.lower()


def test_words_in_pictures_have_no_raised_digits():
    frame = demo_page.locate()
    figure = heat(frame, name="x", title="Below 2.0 × 10⁻⁷", measure=DAMAGE, floor=3.1e-7, about="10 × 10 cells")
    title = vega.standalone(figure)["title"]
    assert title["text"] == ["Below 2.0e−7"] and "10 × 10 cells" in " ".join(title["subtitle"]).lower()
    assert "noise floor 3.1e−7." in " ".join(title["subtitle"]) and "3.1 × 10⁻⁷" in figure.caption


def test_many_units_stay_light_and_the_caption_says_so(page):
    figure = next(f for f in page.figures if f.name == "neurons")
    rows = figure.spec["data"]["values"]
    assert len(rows) < 650 and rows[0]["x"] == 1 and rows[-1]["x"] == 36_864
    assert "601 of 36,864 units drawn" in figure.caption


def test_unclear_effects_are_told_apart():
    frame = pd.DataFrame({"site": list("abcd"), "effect": [0.5, 0.5, 0.001, 0.5]})
    frame["low"], frame["high"] = [0.4, -0.1, 0.0005, np.nan], [0.6, 1.1, 0.0015, np.nan]
    rows = bars(frame, name="x", title="t", measure=DAMAGE, floor=0.01).spec["data"]["values"]
    assert {r["y"]: r["clear"] for r in rows} == {"a": True, "b": False, "c": False, "d": False}
    bare = bars(frame[["site", "effect"]], name="x", title="t", measure=DAMAGE, floor=0.01)
    assert [r["clear"] for r in bare.spec["data"]["values"]] == [True, True, True, False]


@pytest.mark.parametrize("build", [heat, bars, curves, ranks, scatter])
@pytest.mark.parametrize("size", [0, 1])
def test_figures_of_nothing_and_of_one_value_can_be_drawn(build, size):
    frame = demo_page.locate().head(size).assign(low=np.nan, high=np.nan)
    figure = build(frame, name="few", title="Few", measure=DAMAGE)
    assert vega.svg(figure).startswith("<svg") and figure.alt


def test_a_scatter_keeps_the_largest_of_many_points_and_says_so():
    n = 5000
    frame = pd.DataFrame(
        {"site": [f"L0.mlp.n{i}" for i in range(n)], "effect": np.arange(n) / n, "by": list("ab") * 2500}
    )
    frame["estimate"] = np.where(frame.index == n - 1, np.nan, frame["effect"])
    figure = scatter(frame, name="s", title="t", measure=DAMAGE, by="by", draw=300)
    rows = figure.spec["data"]["values"]
    assert 250 < len(rows) <= 300 and f"{len(rows):,} of 5,000 points drawn" in figure.caption
    assert {r["name"] for r in rows} >= {f"L0.mlp.n{i}" for i in range(n - 150, n - 1)}
    assert all(r["x"] == r["effect"] for r in rows) and {r["y"] for r in rows} == {"a", "b"}
    assert vega.svg(figure).startswith("<svg")


def test_colours_are_anchored_at_zero():
    shades = scale(-0.2, 1.0)
    assert shades["range"][shades["domain"].index(0.0)] == colour(0, 1)
    assert shades["range"][0] == colour(-0.2, 1) and shades["range"][-1] == colour(1, 1)
    assert scale(0, 0)["domain"][0] == 0.0


def test_write_leaves_whole_files_and_nothing_else(page, tmp_path):
    small = msgspec.structs.replace(page, figures=page.figures[2:4])
    for _ in range(2):
        paths = write(small, tmp_path / "study")
    found = {str(p.relative_to(tmp_path / "study")) for p in (tmp_path / "study").rglob("*") if p.is_file()}
    pictures = {f"figures/{n}.{e}" for n in ("heads", "all-heads") for e in ("png", "vl.json")}
    assert found == pictures | {"report.html", "report.json"}
    assert from_json(paths.json.read_bytes()) == small
    for path in paths.figures:
        data = path.read_bytes()
        assert len(data) > 5000 and (data[:4] == b"\x89PNG" or path.suffix == ".json")


def test_write_where_nobody_may_write(page, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BrokenStudy, match="choose a folder"):
        write(msgspec.structs.replace(page, figures=()), tmp_path / "file")


def test_figure_names_are_file_names(page):
    for name in ("", "../x", "A b", ".x"):
        with pytest.raises(ValueError, match="no file name"):
            Figure(name, "t", "c", {}, "a")
    with pytest.raises(ValueError, match="two figures"):
        msgspec.structs.replace(page, figures=page.figures[:1] * 2)


def test_a_page_without_pictures_or_exclusions_stands(page):
    bare = Page(title="t", question="q?", finding=Finding("Nothing."), command="c", study="s", created="now")
    assert "Nothing that was asked for was left out" in html.render(bare)
    assert "Nothing." in terminal.text(bare)


def test_the_room_needs_no_torch():
    code = (
        "import sys, lashley.report, lashley.report.charts, lashley.report.terminal;"
        "print([m for m in ('torch', 'transformers', 'altair', 'vl_convert', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_file_is_short():
    room = Path(html.__file__).parent
    assert all(len(f.read_text().splitlines()) < 300 for f in room.rglob("*.*") if f.suffix in (".py", ".j2", ".css"))
