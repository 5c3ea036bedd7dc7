"""Progress without a terminal: a line when something begins, few after that, with what is left."""

import io

from lashley.report.progress import EVERY, Lines


def said(*steps: tuple[float, str, int, int]) -> list[str]:
    """The lines after steps of (seconds, what, done, total)."""
    out, times = io.StringIO(), iter([at for at, *_ in steps])
    lines = Lines(out, lambda: next(times))
    for _, what, done, total in steps:
        lines(what, done, total)
    return out.getvalue().splitlines()


def test_what_begins_is_said_at_once_and_what_is_left_follows():
    a_second = [(float(at), "measuring", 10 * at, 1000) for at in range(101)]
    found = said(*a_second)
    assert found[0] == "measuring: 0 of 1,000" and found[1] == "measuring: 50 of 1,000, about 95 s left"
    assert len(found) == 100 // EVERY


def test_what_was_done_before_is_no_pace():
    assert said((0, "measuring", 600, 1000), (10, "measuring", 700, 1000))[1] == (
        "measuring: 700 of 1,000, about 30 s left"
    )


def test_two_pieces_of_work_are_told_apart_and_one_step_has_no_count():
    assert said((0, "opening", 0, 1), (0.1, "asking", 0, 9), (0.2, "asking", 1, 9)) == ["opening", "asking: 0 of 9"]
