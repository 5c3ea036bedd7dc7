"""The house: its rooms, its floors, which of them know torch, and that a new tenant is one file."""

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "lashley"
LINTER = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
FLOORS = next(c["layers"] for c in LINTER["contracts"] if c["type"] == "layers")
ROOMS = {room.strip() for floor in FLOORS for room in floor.split("|")}
TORCH = {"engine", "prompts", "features", "models", "validation", "api"}  # rooms that may import it
HEAVY = {"torch", "transformers", "accelerate"}
EXAMPLE = ROOT / "tests" / "data" / "experiments" / "skip.py"

NEWCOMER = """
import contextlib, inspect, io, json, sys
from lashley import experiments
experiments.__path__.append(sys.argv[1])
import lashley
from lashley.cli.app import main

asked = ["--relation", "capital", "--subject", "France", "--register", "list", "--model", "embedded-gpt2"]
said = {"signature": str(inspect.signature(lashley.skip)), "doc": lashley.skip.__doc__}
for name, words in {
    "help": ["skip", "--help"],
    "plan": ["plan", "skip", *asked],
    "page": ["skip", *asked, "--study", sys.argv[2], "--json"],
    "report": ["report", sys.argv[2]],
}.items():
    sys.argv[1:] = words
    with contextlib.redirect_stdout(out := io.TextIOWrapper(io.BytesIO(), "utf-8")), contextlib.suppress(SystemExit):
        main()
    out.flush()
    said[name] = out.buffer.getvalue().decode()
print(json.dumps(said))
"""


def imported(tree: ast.AST) -> Iterator[str]:
    """The packages that a file imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def test_the_top_level_is_small():
    there = [p for p in SOURCE.iterdir() if p.name != "__pycache__"]
    assert len(there) <= 16
    assert {p.stem for p in there} - {"__init__", "py"} == ROOMS  # py.typed is the other


def test_every_room_is_on_a_floor_and_type_checking_imports_count():
    assert len(FLOORS) <= 10 and LINTER["exclude_type_checking_imports"] is False
    assert all("ignore_imports" not in contract for contract in LINTER["contracts"])


def test_only_some_rooms_know_torch():
    files = {p: p.relative_to(SOURCE).parts[0].removesuffix(".py") for p in SOURCE.rglob("*.py")}
    knowing = {room for p, room in files.items() if HEAVY & set(imported(ast.parse(p.read_text("utf-8"))))}
    assert knowing <= TORCH, f"{knowing - TORCH}: ask through core.experiment.Door, or through a bench"


def test_a_new_experiment_is_one_file(tmp_path):
    assert len([line for line in EXAMPLE.read_text("utf-8").splitlines() if line]) <= 60
    words = [sys.executable, "-c", NEWCOMER, str(EXAMPLE.parent), str(tmp_path / "study")]
    said = json.loads(subprocess.run(words, capture_output=True, check=True, text=True).stdout)
    assert "corruption: str = 'replace'" in said["signature"] and "subject: str | None" in said["signature"]
    assert "Corruptions of each prompt." in said["doc"] and "One subject of it" in said["doc"]
    assert "--corruption" in said["help"] and "embeddings" in said["help"]
    assert "operations" in said["plan"] and "trials" in said["plan"]
    page = json.loads(said["page"])
    assert page["result"]["layer"] in page["finding"]["sentence"] and page["figures"] and page["tables"]
    assert "Without" in said["report"]


@pytest.mark.parametrize("room", ["engine/families", "models/planted/kinds"])
def test_families_and_plants_are_found_by_their_folder(room):
    """What stands in one of these files is known nowhere else."""
    names = {p.stem for p in (SOURCE / room).glob("*.py")} - {"__init__"}
    for path in SOURCE.rglob("*.py"):
        if path.parent != SOURCE / room:
            told = {f"{room.replace('/', '.')}.{name}" for name in names}
            modules = {n.module for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.ImportFrom)}
            assert not {f"lashley.{name}" for name in told} & modules, path
