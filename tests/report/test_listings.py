"""Lists show names as they are, whatever a console could take them for."""

import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lashley.cli import listings
from lashley.core.fact import Relation, Template
from lashley.facts.importers import save
from lashley.report.console import Console
from lashley.report.progress import Bar

names = st.text(st.sampled_from("ab[]/:\\#="), min_size=1, max_size=8) | st.sampled_from(
    ["[/red]", "[b]c", ":smile:", "[link=x]y", "\\[a]", "a [", "[x](y)", "[@click=f]z[/]"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names, names, names)
def test_facts_are_listed_as_they_are_written(tmp_path, monkeypatch, subject, answer, alias):
    monkeypatch.setenv("LASHLEY_HOME", str(tmp_path))
    save(
        Relation("odd", f"of {alias}", (Template(f"{{}} {answer} is"),), {subject: answer}, aliases={answer: (alias,)})
    )
    console = Console(file=io.StringIO(), width=300)
    listings.facts(console, "odd")
    listings.facts(console, None)
    said = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    for shown in (f"of {alias}", f"{answer}: also {alias}", f"{{}} {answer} is", f"{subject} → {answer}"):
        assert shown in said


@pytest.mark.parametrize("what", ["[/red] a", ":smile:"])
def test_what_is_being_done_is_shown_as_it_is_written(what):
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    with Bar(console) as bar:
        bar(what, 0, 1)
    assert what in console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
