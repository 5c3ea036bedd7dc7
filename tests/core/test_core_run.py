"""Every position of a run has one role; sites at roles resolve to positions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lashley.core.errors import BadSite
from lashley.core.run import Run
from lashley.core.site import ROLES, Site

RUN = Run("<bos> In the Eiffel Tower park is", tuple(range(9)), begin=1, subject=(3, 7))


@st.composite
def runs(draw) -> Run:
    length = draw(st.integers(1, 12))
    begin = draw(st.integers(0, min(2, length - 1)))
    span = sorted(draw(st.tuples(*[st.integers(begin, length)] * 2)))
    return Run("any", tuple(range(length)), begin, tuple(span) if span[0] < span[1] else (0, 0))


@given(runs())
def test_every_position_is_listed_under_one_role_and_found_there(run):
    for position in range(len(run)):
        assert run.role(position) in ROLES
        assert position in run.positions(run.role(position))


@given(runs())
def test_the_subject_is_its_first_middle_and_last(run):
    parts = [run.positions(f"subject_{part}") for part in ("first", "middle", "last")]
    assert set().union(*parts) | {len(run) - 1} == set(run.positions("subject")) | {len(run) - 1}
    assert [len(p) for p in (parts[0], parts[2])] == [bool(run.positions("subject"))] * 2


@pytest.mark.parametrize(
    "role, positions",
    [
        ("begin", (0,)),
        ("subject_first", (3,)),
        ("subject_middle", (4, 5)),
        ("subject_last", (6,)),
        ("subject", (3, 4, 5, 6)),
        ("relation", (1, 2, 7)),
        ("final", (8,)),
    ],
)
def test_roles_are_positions(role, positions):
    assert RUN.positions(role) == positions
    assert RUN.resolve(Site(2, "mlp", None, role)) == tuple(Site(2, "mlp", None, p) for p in positions)


def test_where_roles_coincide_final_comes_first_then_subject_last():
    run = Run("Rome", (1, 2), begin=1, subject=(1, 2))
    assert run.role(1) == "final"
    assert [run.positions(f"subject_{p}") for p in ("first", "middle", "last")] == [(1,), (), (1,)]
    assert Run("Rome is", (1, 2, 3), 1, (1, 2)).role(1) == "subject_last"


@pytest.mark.parametrize("at, index", [(0, 0), (8, 8), (-1, 8), (-9, 0)])
def test_an_index_counts_from_either_end(at, index):
    assert RUN.resolve(Site(1, "head", 2, at)) == (Site(1, "head", 2, index),)


def test_a_site_at_all_positions_stays_so():
    assert RUN.resolve(Site(1, "resid")) == (Site(1, "resid"),)


@pytest.mark.parametrize("at", [9, -10])
def test_an_index_outside_is_refused(at):
    with pytest.raises(BadSite, match=rf"position {at} is outside .* which has 9 tokens"):
        RUN.resolve(Site(1, "resid", None, at))


def test_without_a_beginning_of_text_token_position_0_is_the_begin_unless_it_is_more():
    assert [Run("The Eiffel Tower is", (1, 5, 6, 7), 0, (1, 3)).role(i) for i in range(2)] == ["begin", "subject_first"]
    assert Run("Rome is", (1, 2), 0, (0, 1)).role(0) == "subject_last"
    assert Run("Rome", (1,)).role(0) == "final"
    assert [Run("", (1, 2, 3), begin).sink for begin in (0, 1, 2)] == [1, 1, 2]


@pytest.mark.parametrize("role", ["subject", "subject_first", "subject_middle", "subject_last", "relation", "nonsense"])
def test_a_role_that_nobody_has_is_refused(role):
    with pytest.raises(BadSite, match=f"no position in the role '{role}'"):
        Run("It is", (5, 6)).resolve(Site(1, "resid", None, role))
