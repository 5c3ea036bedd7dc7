"""Are small faults caught? One at a time is put into a copy of the code, and the tests near it are run.

    python tools/mutants.py --each 15 --seed 0 stats claims ledger engine

draws so many faults for each room, and says which of them lived. What was tried is kept in build/mutants.jsonl; asked
again, it goes on where it was. A fault that lives may change nothing that matters: each is to be looked at.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "build/mutants.jsonl"
ROOMS = {"stats": "stats.py", "claims": "claims/*.py", "ledger": "ledger/*.py", "engine": "engine/*.py"}
WALK = ["ops", "written", "replay", "planner", "passes", "capture", "readouts", "attention", "bench", "hooks", "model"]
COMPARED = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
COMPARED |= {ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In}
COUNTED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "mean": "max", "sum": "max", "abs": ""}


def written(node: ast.AST) -> bool:
    """Whether it is text: a path's part, a message."""
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def faults(node: ast.AST) -> Iterator[ast.AST | None]:
    """What could stand in place of a node; None: nothing."""
    match node:
        case ast.Compare(left, [op], right) if type(op) in COMPARED:
            yield ast.Compare(left, [COMPARED[type(op)]()], right)
        case ast.BinOp(left, op, right) if type(op) in COUNTED and not any(map(written, (left, right))):
            yield ast.BinOp(left, COUNTED[type(op)](), right)
        case ast.BoolOp(op, values):
            yield ast.BoolOp(ast.And() if isinstance(op, ast.Or) else ast.Or(), values)
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield operand
        case ast.Constant(bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(int() | float() as value):
            yield ast.Constant(value + 1)
        case ast.Call(ast.Name(name), [first, *_], []) if name in NAMES:
            yield ast.Call(ast.Name(NAMES[name]), node.args, []) if NAMES[name] else first
        case ast.Call(ast.Attribute(value, name), args, keywords) if name in NAMES:
            yield ast.Call(ast.Attribute(value, NAMES[name]), args, keywords) if NAMES[name] else value
        case ast.IfExp(test, body, orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.Expr(ast.Call()) | ast.AugAssign() | ast.Assert():
            yield None


def code(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that do something: no annotations, decorators, messages or imports for types alone."""
    skipped = ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, skipped):
                continue
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.FunctionDef) and child.name == "__repr__":
                continue
            yield child
            yield from code(child)


def mutants(file: Path) -> Iterator[str]:
    """The file's text with one fault each."""
    text = file.read_text(encoding="utf-8")
    lines = text.encode().splitlines(keepends=True)
    starts = [sum(map(len, lines[:i])) for i in range(len(lines))]
    for node in code(ast.parse(text)):
        for new in faults(node):
            if not isinstance(node, ast.expr | ast.stmt):
                continue
            a = starts[node.lineno - 1] + node.col_offset
            b = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
            words = "pass" if new is None else ast.unparse(ast.fix_missing_locations(new))
            words = f"({words})" if isinstance(node, ast.expr) and not isinstance(node, ast.Constant) else words
            yield (text.encode()[:a] + words.encode() + text.encode()[b:]).decode()


def tests(room: str, file: Path) -> list[str]:
    """The tests near a file."""
    if room != "engine":
        return [f"tests/{room}"]
    own = [str(p.relative_to(ROOT)) for p in ROOT.glob(f"tests/engine/test_engine_{file.stem}*.py")]
    return own + (["tests/engine/test_engine_contract.py"] if file.stem in WALK or not own else [])


def diff(file: Path, mutant: str) -> str:
    name = str(file.relative_to(ROOT))
    made = difflib.unified_diff(file.read_text("utf-8").splitlines(), mutant.splitlines(), name, name, "", "", 0, "")
    return "\n".join(list(made)[2:])


def lives(file: Path, mutant: str | None, which: list[str], limit: int) -> bool:
    """Whether the tests pass with the fault in a copy of the code."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "src"
        shutil.copytree(ROOT / "src", copy, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
        for weights in (ROOT / "src").rglob("*.safetensors"):
            (copy / weights.relative_to(ROOT / "src")).symlink_to(weights)
        if mutant is not None:
            (copy / file.relative_to(ROOT / "src")).write_text(mutant, encoding="utf-8")
        env = os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", "-x", "-qq", "-p", "no:cacheprovider", "-n", "0", *which]
        try:
            done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=limit)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rooms", nargs="*", default=list(ROOMS))
    parser.add_argument("--each", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=600, help="seconds for the tests of one fault")
    asked = parser.parse_args()
    KEPT.parent.mkdir(exist_ok=True)
    known = {r["diff"]: r for r in map(json.loads, KEPT.read_text().splitlines())} if KEPT.exists() else {}
    results = []
    for room in asked.rooms:
        files = sorted(p for p in (ROOT / "src/lashley").glob(ROOMS[room]) if p.name != "__init__.py")
        every = [(file, mutant) for file in files for mutant in mutants(file)]
        drawn = random.Random(asked.seed).sample(every, min(asked.each, len(every)))
        print(f"-- {room}: {len(drawn)} of {len(every):,} faults", flush=True)
        for file, mutant in drawn:
            said = diff(file, mutant)
            if said not in known:
                lived = lives(file, mutant, tests(room, file), asked.limit)
                known[said] = {"room": room, "file": str(file.relative_to(ROOT)), "diff": said, "lived": lived}
                with KEPT.open("a") as kept:
                    kept.write(json.dumps(known[said]) + "\n")
            results.append(known[said])
            print(f"{'LIVED ' if known[said]['lived'] else 'killed'} {file.relative_to(ROOT)} {said}", flush=True)
    for room in asked.rooms:
        mine = [r["lived"] for r in results if r["room"] == room]
        print(f"{room}: {mine.count(False)} of {len(mine)} killed")


if __name__ == "__main__":
    main()
