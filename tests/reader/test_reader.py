"""The reader itself: it shares no code with what it reads, and it notices."""

import ast
from pathlib import Path

import pytest

from .arithmetic import Value, exact, permutation
from .known import Known
from .printed import numbers


def test_it_shares_no_code_with_what_it_reads():
    """Only what makes the studies imports the package."""
    for path in Path(__file__).parent.glob("*.py"):
        if path.name == "conftest.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not [n for n in names if n.split(".")[0] == "lashley"], path.name


def known() -> Known:
    k = Known(identifiers={"layer": 4})
    k.count("prompt", 16)
    k.add(Value(0.5671, 0.5139, 0.6204, 16), "L0.mlp@final", "L0.mlp@final")
    k.add(Value(0.321, 0.29, 0.35, 16), "L1.mlp@final", "L1.mlp@final")
    k.add(0.048, "p", "p =")
    return k


@pytest.mark.parametrize(
    "text",
    [
        "L0.mlp@final restores 56.7% [51.4, 62.0], over 16 prompts",
        "between layers 1 and 2, L1.mlp@final has 0.32 [0.29, 0.35]; p = 0.048",
        "as Fieller et al. 1957 in “the 7 seas”, 1234.56789",
    ],
)
def test_what_is_right_passes(text):
    assert known().unknown(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "L0.mlp@final restores 56.8% [51.4, 62.0]",
        "L0.mlp@final restores 56.7% [51.4, 62.1]",
        "L1.mlp@final restores 56.7% [51.4, 62.0]",  # another's
        "L0.mlp@final restores 56.7%",  # without its interval
        "over 16 draws",  # not what 16 counts
        "over 17 prompts",
        "between layers 3 and 4",  # there is no layer 4
        "p = 0.049",
        "0.048 of all",  # not said to be p
    ],
)
def test_what_is_wrong_does_not(text):
    assert len(known().unknown(text)) == 1


def test_numbers_are_read_as_they_are_printed():
    got = numbers("−0.040 [−0.05, −0.03] of 36,864 units, 3.1 × 10⁻⁶, 12 of 48 rows")
    assert [n.value for n in got] == [-0.04, 36864, 3.1e-6, 12, 48]
    assert [n.after for n in got[3:]] == ["rows", "rows"] and got[0].within(-0.0496, -0.0302)


def test_arithmetic():
    assert permutation(0.9, [0.1, 0.0, 0.2, 0.3]) == 0.2
    assert exact(0, 10)[1] == pytest.approx(0.3085, abs=1e-4)
