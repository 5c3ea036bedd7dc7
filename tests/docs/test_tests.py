"""The tests themselves: none may depend on how fast the machine is, nor on torch where the room does not."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FILES = [p for p in sorted(TESTS.rglob("*.py")) if ".envs" not in p.parts]
CLOCKS = {"time", "timeit"}  # modules; sleeping is no reading of a clock


def clocks(source: str) -> Iterator[str]:
    """Where a clock is read or imported."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(ast.Name(module), name) if module in CLOCKS and name != "sleep":
                yield f"line {node.lineno}: {module}.{name}"
            case ast.ImportFrom(module=module, names=names) if module in CLOCKS:
                yield from (f"line {node.lineno}: {n.name}" for n in names if n.name != "sleep")
            case ast.Import(names=names):
                yield from (f"line {node.lineno}: as {n.asname}" for n in names if n.name in CLOCKS and n.asname)


@pytest.mark.parametrize(
    "file", [p for p in sorted(TESTS.rglob("*.py")) if ".envs" not in p.parts], ids=lambda p: p.stem
)
def test_no_test_reads_a_clock(file):
    """A bound on seconds fails on a busy machine: count passes, calls, or bytes (the fixture `calls`)."""
    assert not list(clocks(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "source",
    [
        "import time\nassert time.perf_counter() - start < 5",
        "from time import monotonic as now",
        "import time as t",
        "from timeit import timeit",
    ],
)
def test_a_clock_is_seen(source):
    assert list(clocks(source)) and not list(clocks("import time\ntime.sleep(1)"))


TORCHLESS = (
    "core",
    "facts",
    "ledger",
    "stats",
    "claims",
    "report",
    "circuits",
    "test_peers.py",
    "test_spread_search.py",
)
WITHOUT = """
import sys, pytest
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers"):
            raise ModuleNotFoundError(f"no {name} here")
sys.meta_path.insert(0, Absent())
sys.exit(pytest.main(["--collect-only", "-qq", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def test_what_needs_no_torch_is_tested_without_it():
    rooms = [str(TESTS / room) for room in TORCHLESS]
    made = subprocess.run([sys.executable, "-c", WITHOUT, *rooms], capture_output=True, text=True)
    assert made.returncode == 0, made.stdout[-2000:]
