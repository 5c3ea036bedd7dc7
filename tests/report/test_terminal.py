"""In a terminal of any width nothing is cut and no name is broken; what is negative grows to the left."""

import io
import re
from collections import Counter

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from lashley.cli import listings
from lashley.core.claim import Verdict
from lashley.core.figure import Column, Control, Estimate, Finding, Omission, Table, plain
from lashley.report import Page, lines, terminal
from lashley.report.charts import DAMAGE, bars, heat

WIDTHS = [40, 60, 80, 120, 200]
SITES = st.builds(
    lambda layer, kind, at: f"L{layer}.{kind}{at}",
    st.integers(0, 47),
    st.sampled_from(["attn", "mlp", "attn.h13", "mlp.n12345", "resid"]),
    st.sampled_from(["", "@final", "@subject_last", "@12"]),
)
TOKENS = st.sampled_from(
    [
        "<|im_start|>",
        "<start_of_turn>",
        "iffel",
        " France",
        "\n",
        "\n\n",
        "a\tb",
        "東京タワー",
        "__init__",
        "[b]x[/b]",
        "São",
        "   ",
    ]
)
NAMES = st.sampled_from(["France", "Eritrea", "Bosnia and Herzegovina", "El Salvador", "Côte d'Ivoire", "日本", "a_b"])
EFFECTS = st.one_of(st.floats(-1.5, 1.5), st.sampled_from([0.0, -9.99, 9.99, -45.0, 1234.0, 61.0]))
NAMED = "L12.attn.h3"
NUMBER = r"(?<![\w.])−?[\d.,]*\d(?: × 10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?"
BLANK = {
    "title": "t",
    "question": "What?",
    "finding": Finding("Found."),
    "command": "lashley",
    "study": "s",
    "created": "now",
}


def page(**parts) -> Page:
    return Page(**{**BLANK, **parts})


def said(made: Page, width: int) -> str:
    """The page in a terminal, where no line may be longer than it is wide."""
    text = terminal.text(made, width=width)
    assert all(cell_len(line) <= width for line in text.splitlines())
    return text


def frame(rows) -> pd.DataFrame:
    columns = ["y", "x", "effect"]
    made = pd.DataFrame(rows, columns=columns).drop_duplicates(["y", "x"])
    return made.assign(site=made["y"].astype(str), low=made["effect"] - 0.1, high=made["effect"] + 0.1)


@given(st.lists(st.lists(SITES, min_size=1, max_size=9), min_size=1, max_size=4), NAMES, st.sampled_from(WIDTHS))
@settings(max_examples=60, deadline=None)
def test_no_site_of_a_table_is_broken_and_no_head_is_cut(sets, name, width):
    rows = tuple(("+".join(s), Estimate(0.123, -0.05, 0.3, n=5), name, True, None) for s in sets)
    heads = ("attention", "Bosnia and Herzegovina", "what the evidence supports", "known", "n")
    table = Table("A title", tuple(Column(h, "share of the logit difference" * (h == "n")) for h in heads), rows)
    text = said(page(tables=(table,)), width)
    for head in (*heads, "share of the logit difference"):
        assert all(word in text for word in head.split()), head
    for site in {s for one in sets for s in one}:
        assert len(re.findall(rf"(?<![\w.]){re.escape(site)}(?![\w.@])", text)) >= sum(site in s for s in sets)
    assert text.count("0.12 [−0.05, 0.30]") == len(sets)
    assert all(word in text for word in name.split())


@given(st.lists(st.tuples(TOKENS, st.integers(0, 30), EFFECTS), min_size=1, max_size=40), st.sampled_from(WIDTHS))
@settings(max_examples=60, deadline=None)
def test_no_token_of_a_map_is_broken_lost_or_put_on_two_rows(cells, width):
    rows = frame([(f"{i % 7} {plain(token)}", layer, effect) for i, (token, layer, effect) in enumerate(cells)])
    figure = heat(rows, name="m", title="A map", measure=DAMAGE, x="x", y="y", panel=None)
    text = said(page(figures=(figure,)), width)
    for label in set(rows["y"]):
        assert label in text
    for effect in (float(f"{x:.6g}") for x in rows["effect"]):  # figures hold six digits
        shown = f"{round(effect * (100 if rows['effect'].abs().max() < 9.995 else 1)):,}".replace("-", "−")
        assert re.search(rf"(?<![\d,−]){re.escape(shown)}(?![\d,])", text) or abs(effect) <= 0.1


@given(st.lists(st.tuples(NAMES, NAMES, EFFECTS), min_size=1, max_size=30), st.sampled_from(WIDTHS))
@settings(max_examples=40, deadline=None)
def test_heads_of_columns_are_whole_words(cells, width):
    rows = frame(cells)
    text = said(page(figures=(heat(rows, name="m", title="A map", measure=DAMAGE, x="x", y="y", panel=None),)), width)
    assert all(word in text for name in {*rows["x"], *rows["y"]} for word in str(name).split())
    assert ("a_b" in text) == ("a_b" in {*rows["x"], *rows["y"]})


@given(st.lists(st.tuples(SITES, EFFECTS), min_size=1, max_size=12, unique_by=lambda r: r[0]), st.sampled_from(WIDTHS))
@settings(max_examples=60, deadline=None)
def test_negative_bars_grow_to_the_left_and_lengths_are_true(cells, width):
    rows = frame([(site, 0, effect) for site, effect in cells])
    text = said(page(figures=(bars(rows, name="b", title="Bars", measure=DAMAGE, label="y"),)), width)
    drawn = [re.split("│", line) for line in text.splitlines() if "│" in line]
    shown = sorted(rows["effect"], reverse=True)
    assert len(drawn) == len(shown)
    assert len({len(left) for left, _ in drawn}) == 1, "one axis"
    lengths = [right.count("█") - left.count("█") for left, right in drawn]
    scale = max(map(abs, lengths)) / (max(map(abs, shown)) or 1)
    for (left, right), length, effect in zip(drawn, lengths, shown, strict=True):
        assert not re.search("[▏▎▍▌▋▊▉█▐]", left if effect >= 0 else right)
        assert abs(length - effect * scale) <= 2
    assert all(site in text for site, _ in cells)


@given(st.lists(SITES, min_size=1, max_size=30), st.sampled_from(WIDTHS))
@settings(max_examples=40, deadline=None)
def test_sentences_break_between_sites_only(sites, width):
    words = f"Knocking out {'+'.join(sites)} costs 0.41 of it."
    made = page(
        finding=Finding(words), also=(Finding(words),), caveats=(words,), not_tested=(words,),
        exclusions=(Omission(words, words),),
        controls=(Control(words, Estimate(0.5), words),), tables=(Table(words, (Column("c"),), (("1",),), words),),
    )  # fmt: skip
    text = said(made, width)
    for site in set(sites):
        assert len(re.findall(rf"(?<![\w.]){re.escape(site)}(?![\w.@])", text)) == 10 * sites.count(site)


@pytest.mark.parametrize("width", [24, *WIDTHS])
def test_what_is_longer_than_a_line_is_broken_but_whole(width):
    word = "x" * 150
    assert "".join(said(page(finding=Finding(word)), width).split()).count(word) == 1
    assert (
        all(cell_len(line) <= 7 for line in lines.fold("東京" * 9, 7))
        and "".join(lines.fold("東京" * 9, 7)) == "東京" * 9
    )


def test_roles_lose_their_underscore_and_nothing_else_does():
    rows = pd.DataFrame({"role": ["subject_last", "final"], "layer": [0, 0], "effect": [0.5, 0.2]})
    text = said(page(figures=(heat(rows, name="m", title="t", measure=DAMAGE, panel=None),)), 80)
    assert "subject last" in text and "subject_last" not in text


def test_verdicts_stand_beside_each_other_where_there_is_room():
    claim = "L12.mlp.n12345+L13.attn.h14 is necessary for capital(France)"
    verdict = Verdict(claim, "refuted", claim)
    for width in WIDTHS:
        console = Console(file=io.StringIO(), width=width, color_system=None)
        terminal.beside(console, [verdict, verdict])
        text = console.file.getvalue()
        assert all(cell_len(line) <= width for line in text.splitlines())
        assert text.count("L12.mlp.n12345+") == text.count("L13.attn.h14") == 4 and text.count("REFUTED") == 2


def test_a_cell_without_an_interval_beside_cells_with_one_shows_its_number_as_unsure():
    rows = [
        {"panel": "", "y": "a", "x": "one", "effect": 0.99, "clear": False},
        {"panel": "", "y": "a", "x": "two", "effect": 0.5, "low": 0.4, "high": 0.6, "clear": True},
        {"panel": "", "y": "a", "x": "three", "effect": 0.1, "low": -0.1, "high": 0.3, "clear": False},
    ]
    draw = lines.picture("heat")
    assert draw
    said = [str(line) for line in draw(rows, {"y": "fact", "x": "of", "measure": DAMAGE}, 80)]
    assert said[-1].split() == ["a", "99?", "50", "·"] and any(line.startswith("? ") for line in said)
    none = [str(line) for line in draw(rows[:1], {"y": "fact", "x": "of", "measure": DAMAGE}, 80)]
    assert none[-1].split() == ["a", "·"] and not any(line.startswith("? ") for line in none)


SIZES = st.floats(-1e-4, 1e-4, exclude_min=True, exclude_max=True) | st.floats(-1e-300, 1e-300) | EFFECTS


@given(st.lists(st.builds(Estimate, SIZES, SIZES, SIZES), min_size=1, max_size=3), st.sampled_from([24, 30, *WIDTHS]))
@settings(max_examples=80, deadline=None)
def test_no_number_is_broken_wherever_it_stands(found, width):
    """Not in a line that its interval does not fit either."""
    words = " ".join(f"{NAMED} costs {e}, which is little" for e in found)
    table = Table("t", (Column("site"), Column("damage"), Column("p")), tuple((NAMED, e, e.value) for e in found))
    controls = tuple(Control(NAMED, e, words) for e in found)
    text = said(page(finding=Finding(words, found[0]), tables=(table,), controls=controls, caveats=(words,)), width)
    console = Console(file=io.StringIO(), width=width, color_system=None)
    verdict = Verdict(NAMED, "refuted", f"refuted: {words}", weaker=words)
    listings.verdicts(console, [verdict], False)  # pyright: ignore[reportArgumentType]
    text += console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    numbers = Counter(n for e in found for n in re.findall(NUMBER, str(e)))
    there = Counter(re.findall(NUMBER, text))
    assert all(there[n] >= (4 + len(found)) * many for n, many in numbers.items())


@pytest.mark.parametrize("width", WIDTHS)
def test_a_number_with_its_power_of_ten_stays_in_one_line(width):
    columns = (Column("criterion"), Column("p, adjusted"), Column("measured"))
    shown = Table("t", columns, (("necessary", 5.1e-10, "damage 6.8% [5.2, 8.5], wanted at least 50% " * 4),))
    assert any("5.1 × 10⁻¹⁰" in str(line) for line in lines.table(shown, width))
