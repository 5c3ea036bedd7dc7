"""The page about claims: whatever it shows is read, and whatever is read it shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings

from lashley.claims import files, grammar, manual
from lashley.claims.grammar import parse
from lashley.core import address
from lashley.core.claim import CRITERIA, REQUIRED, About, Claim, Predicate, Thresholds
from lashley.core.site import KINDS, ROLES, parse_sites

from .test_grammar import claims

PAGE = " ".join(manual.page().split())


def rows(title: str) -> list[str]:
    """The first column of one part of the page."""
    (part,) = (p for p in manual.page().split("\n\n") if p.startswith(title))
    return [line[2:].split("  ")[0] for line in part.split("\n")[1:] if line[2:3] != " "]


@pytest.mark.parametrize("site", [*rows("SITES"), *rows("Lists"), *rows("TransformerLens")])
@pytest.mark.parametrize("at", ["", *rows("@ROLE")])
def test_every_site_shown_is_read_at_every_position_shown(site: str, at: str) -> None:
    for position in at.split(", "):
        claim = parse(f"{site}{position} stores capital")
        assert claim.sites or "*" in claim.open


@pytest.mark.parametrize("predicate", rows("PREDICATE"))
@pytest.mark.parametrize("about", rows("ABOUT"))
def test_every_predicate_shown_is_read_with_everything_shown_that_it_may_be_about(predicate: str, about: str) -> None:
    claim = parse(f"L4.mlp {predicate} {about}")
    assert (claim.predicate, grammar.topic(claim.about)) == (predicate, about)


@pytest.mark.parametrize("criterion", rows("CRITERIA"))
def test_every_criterion_shown_may_be_asked_for(criterion: str) -> None:
    assert parse(f"L4.mlp stores capital by {criterion}").require == (criterion,)


@pytest.mark.parametrize("option", rows("OPTIONS"))
def test_every_option_shown_is_read_with_its_default(option: str) -> None:
    every = ", ".join(CRITERIA)
    default = re.search(rf" {option} (?:(?! \().)*: ([0-9.]+) \(", PAGE)
    assert default, option
    assert parse(f"L4.mlp stores capital by {every} [{option} = {default[1]}]").thresholds == Thresholds()
    assert parse(f"L4.mlp stores capital by {every} [{option} = 0.4]").thresholds != Thresholds()


@pytest.mark.parametrize("text", manual.EXAMPLES)
def test_every_example_is_read(text: str) -> None:
    assert parse(text) and text in PAGE


@pytest.mark.parametrize("suffix", sorted(files.FORMATS))
def test_every_file_shown_is_read(suffix: str, tmp_path: Path) -> None:
    example = files.FORMATS[suffix].example
    path = tmp_path / f"claims{suffix}"
    path.write_text(example, encoding="utf-8")
    assert files.read(path).claims
    assert suffix in PAGE and " ".join(example.split()) in PAGE


def test_nothing_is_read_that_is_not_shown() -> None:
    assert set(rows("PREDICATE")) == set(get_args(Predicate)) == set(REQUIRED)
    assert set(rows("CRITERIA")) == set(CRITERIA) == {*grammar.HELD, *(c for c in CRITERIA if c not in grammar.HELD)}
    assert set(rows("OPTIONS")) == set(Thresholds.__struct_fields__)
    assert {parse_sites(example)[0].kind for example in rows("SITES")} == set(KINDS)
    assert {f"@{role}" for role in (*ROLES, "subject")} < set(rows("@ROLE"))
    assert len(rows("TransformerLens")) == 1 + len(address.HOOKS)
    assert set(rows("Words")) == {"by", "against", "and nothing else"}


def kind_of(about: About) -> tuple[bool, ...]:
    return tuple(map(bool, (about.relation, about.subject, about.object, about.prompt)))


@settings(max_examples=100, deadline=None)
@given(claims())
def test_a_claim_is_about_nothing_that_is_not_shown(claim: Claim) -> None:
    assert kind_of(claim.about) in {kind_of(parse(f"L4.mlp stores {about}").about) for about in rows("ABOUT")}


def test_the_page_fits_a_terminal() -> None:
    assert max(map(len, manual.page().splitlines())) <= 80
