"""Claims from files: plain text, JSON lines, CSV and TOML, told apart by their suffix (see `FORMATS`)."""

from __future__ import annotations

import csv
import io
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, cast

import msgspec

from lashley.claims.grammar import near, parse, shown, thresholds
from lashley.core.claim import Claim, Thresholds
from lashley.core.errors import BadClaim, LashleyError

LARGEST = 64 * 2**20  # bytes of a file
_EXAMPLE = "L4.mlp.n173 stores capital(France)"
_STRING = re.compile(  # of TOML, or a comment
    r'#[^\n]*|"""(?:[^\\]|\\.)*?"""|\'\'\'.*?\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.S
)


class ClaimFile(msgspec.Struct, frozen=True):
    """The different claims of a file, in its order, and how many repeated one before."""

    claims: tuple[Claim, ...]
    duplicates: int


class _Row(msgspec.Struct):
    """A claim as it is written, the options beside it, and those of the whole file."""

    text: str
    options: dict[str, object] = {}
    defaults: Thresholds = Thresholds()


_Rows = Iterator[tuple[int, _Row | LashleyError]]  # of TOML the number of the entry, else of the line; what is there


def read(path: str | Path) -> ClaimFile:
    """Read a file of claims.

    Raises `BadClaim` or `LashleyError` for the first line that is wrong, counting the others, and for a file that
    cannot be read, or holds no claim.
    """
    path = Path(path)
    if not (format := FORMATS.get(path.suffix.lower())):
        raise LashleyError(f"{path}: a file of claims ends in {', '.join(FORMATS)}; save it as one of them")
    rows = format.rows
    text = _text(path)
    claims: list[Claim] = []
    first, bad = None, 0
    for number, row in rows(path, text):
        try:
            if isinstance(row, LashleyError):
                raise row
            claims.append(parse(row.text, row.options, row.defaults))
        except LashleyError as e:
            first, bad = first or (number, e), bad + 1
    if first:
        number, error = first
        place = _place(text, number) if rows is _toml else f"line {number}"
        raise _told(f"{path}, {place}", error, bad - 1)
    if not claims:
        raise LashleyError(f"{path} holds no claim; write one, as {_EXAMPLE}")
    different = dict.fromkeys(claims)
    return ClaimFile(tuple(different), len(claims) - len(different))


def _told(where: str, error: LashleyError, more: int) -> LashleyError:
    """What is wrong in a place of the file, and how many other lines are."""
    if isinstance(error, BadClaim):
        return BadClaim(error.text, error.at, error.why, where, more)
    return LashleyError(f"{where}: {error}" + (f"; and {more} more line{'s' * (more > 1)}" if more else ""))


def _text(path: Path) -> str:
    if path.is_dir():
        raise LashleyError(f"{path} is a folder; name one file of claims in it")
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError as e:
        raise LashleyError(f"{path} does not exist; check the path") from e
    except (OSError, ValueError) as e:  # ValueError: a NUL in the path
        raise LashleyError(f"{str(path)!r} cannot be read ({e}); check the path and its permissions") from e
    if len(data) > LARGEST:
        raise LashleyError(f"{path} is larger than {LARGEST // 2**20} MB; split it into several files")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise LashleyError(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8") from e


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if line := line.strip():
            yield number, line


def _txt(path: Path, text: str) -> _Rows:
    return ((number, _Row(line)) for number, line in _lines(text) if not line.startswith("#"))


def _jsonl(path: Path, text: str) -> _Rows:
    for number, line in _lines(text):
        try:
            yield number, _entry(json.loads(line, object_pairs_hook=_once), "claim")
        except json.JSONDecodeError as e:
            what = f"not JSON ({e.msg} at character {e.pos})"
            yield number, LashleyError(f'{what}; write {{"claim": "{_EXAMPLE}"}}')
        except (ValueError, RecursionError) as e:
            yield number, LashleyError(f'not a claim ({e}); write {{"claim": "{_EXAMPLE}"}}')


def _csv(path: Path, text: str) -> _Rows:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    columns: list[str] = []
    line = 1
    try:
        for cells in reader:
            row = [cell.strip() for cell in cells]
            if columns and any(row):
                yield line, _cells(columns, row)
            elif any(row):
                columns = [cell.casefold() for cell in row]
                if wrong := _header(columns):
                    yield line, wrong
                    return
            line = reader.line_num + 1
    except csv.Error as e:
        do = "put a claim with commas in double quotes, and write its own quotes twice"
        yield line, LashleyError(f"not CSV ({e}); {do}")


def _header(columns: list[str]) -> LashleyError | None:
    """What is wrong with the first line of a CSV file."""
    names = Thresholds.__struct_fields__
    if (n := columns.count("claim")) != 1:
        return LashleyError(f"{n} columns are named claim; begin the file with a header, as claim,necessary,alpha")
    if unknown := [c for c in columns if c not in ("claim", *names)]:
        return LashleyError(f"no option {shown(unknown[0])}{near(unknown[0], names)}; options are {', '.join(names)}")
    if twice := [c for c in names if columns.count(c) > 1]:
        return LashleyError(f"two columns are named {twice[0]}; delete one")
    return None


def _cells(columns: list[str], row: list[str]) -> _Row | LashleyError:
    if len(row) > len(columns):
        what = f"{len(row)} cells in a row under {len(columns)} names"
        return LashleyError(f"{what}; put a claim with commas in double quotes, and write its own quotes twice")
    cells: dict[str, object] = {name: cell for name, cell in zip(columns, row, strict=False) if cell}
    return _Row(str(cells.pop("claim", "")), cells)


def _toml(path: Path, text: str) -> _Rows:
    try:
        held = tomllib.loads(text)
    except (ValueError, RecursionError) as e:
        raise LashleyError(f"{path} is not TOML ({e}); write claims = ['{_EXAMPLE}']") from e
    claims, tables, options = held.pop("claims", []), held.pop("claim", []), held.pop("thresholds", {})
    if held or not (isinstance(claims, list) and isinstance(tables, list) and isinstance(options, dict)):
        what = f"has the key {shown(next(iter(held)))}" if held else "has another shape"
        raise LashleyError(f"{path} {what}; write claims = ['{_EXAMPLE}'], [[claim]] with text, and [thresholds]")
    try:
        defaults = thresholds(cast("dict[str, object]", options))
    except LashleyError as e:
        raise LashleyError(f"{path}, [thresholds]: {e}") from e
    for number, entry in enumerate(cast("list[object]", claims + tables), 1):
        row = _entry(entry, "text")
        if isinstance(row, _Row):
            row.defaults = defaults
        yield number, row


def _place(text: str, number: int) -> str:
    """Where the entry of that number begins in a TOML file: the line, if it has a text."""
    held = tomllib.loads(text)
    entries = [_entry(entry, "text") for entry in held.get("claims", []) + held.get("claim", [])]
    texts = [row.text if isinstance(row, _Row) else None for row in entries[:number]]
    claim, left = texts[-1], texts.count(texts[-1])
    for token in _STRING.finditer(text):
        if claim and ("\\" in token[0] or claim in token[0]):
            with suppress(tomllib.TOMLDecodeError):  # a comment
                left -= tomllib.loads(f"x = {token[0]}")["x"] == claim
        if not left:
            line = text.count("\n", 0, token.start()) + 1
            return f"line {line}"
    return f"claim {number}"


def _entry(value: object, key: str) -> _Row | LashleyError:
    """A claim alone, or with options beside it."""
    options = dict(cast("dict[str, object]", value)) if isinstance(value, dict) else {key: value}
    text = options.pop(key, None)
    if not isinstance(text, str):
        return LashleyError(f"there is no text of a claim; write {key} = {_EXAMPLE!r}")
    return _Row(text, options)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    held = dict(pairs)
    if len(held) < len(pairs):
        raise ValueError("a key is there twice")
    return held


class Format(NamedTuple):
    """How files of one suffix are read, what they look like, and one of them."""

    rows: Callable[[Path, str], _Rows]
    what: str
    example: str


_LINES = Format(
    _jsonl, "a line each: a claim in quotes, or an object", '{"claim": "L4.mlp stores capital", "alpha": 0.01}'
)
FORMATS: dict[str, Format] = {
    ".txt": Format(_txt, "a claim a line; blank lines, and lines that begin with #, are skipped", _EXAMPLE),
    ".jsonl": _LINES,
    ".ndjson": _LINES,
    ".csv": Format(
        _csv, "a header with claim and, perhaps, options; an empty cell says nothing", f"claim,alpha\n{_EXAMPLE},0.01"
    ),
    ".toml": Format(
        _toml,
        "claims, [[claim]] with text and options, and [thresholds]: the options of all",
        f'claims = ["{_EXAMPLE}"]\n\n[[claim]]\ntext = "L4.mlp stores capital"\nalpha = 0.01\n\n'
        "[thresholds]\nnecessary = 0.4",
    ),
}
