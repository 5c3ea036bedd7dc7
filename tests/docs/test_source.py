"""The source itself: no module is asked what it can do; what it must have is a type, or is declared in one place."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "lashley"
INSTEAD = "say it by a type (isinstance, a Protocol), a family's field, or engine/configs.py, linear.py, in one place"
ALLOWED = {  # the file's name and what stands there: why
    ("configs.py", "getattr(config, name, None)"): "the one place where a configuration may lack a field",
    ("attention.py", "getattr(module, 'num_key_value_groups', 1)"): "transformers' own attentions are asked so",
    ("database.py", "getattr(error, 'sqlite_errorcode', 0)"): "an error that Python itself raised has no code",
    ("trouble.py", "getattr(error, 'sqlite_errorcode', sqlite3.SQLITE_ERROR)"): "the same",
}


def asked(source: str) -> Iterator[str]:
    """Where an object is asked what it has. `getattr` without a default is not: it reads a declared field by name."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(ast.Name("hasattr")) | ast.Call(ast.Name("getattr"), [_, _, _]):
                yield ast.unparse(node)


FOUND = {(path.name, what) for path in SOURCE.rglob("*.py") for what in asked(path.read_text(encoding="utf-8"))}


def test_no_module_is_asked_what_it_has():
    new = [f"{file}: {what}: {INSTEAD}" for file, what in sorted(FOUND - ALLOWED.keys())]
    assert not new, "\n".join(new)


def test_what_is_allowed_is_still_there():
    assert ALLOWED.keys() - FOUND == set()


@pytest.mark.parametrize("source", ["hasattr(x, 'y')", "f(getattr(x, name, 0))"])
def test_a_question_is_seen(source):
    assert list(asked(source)) and not list(asked("getattr(params, field.name)"))
