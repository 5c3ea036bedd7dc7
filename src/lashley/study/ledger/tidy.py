"""A study as one tidy table, a row per measurement, and files of it that lose nothing.

Everything here is a column operation: a million trials are a few seconds, and no row is ever a Python object.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from lashley.core import edit, readout, standing
from lashley.core.errors import BrokenStudy, LashleyError
from lashley.core.files import replacing
from lashley.core.graph import Edges
from lashley.core.run import Run
from lashley.core.site import KINDS, ROLES, Site, Sites
from lashley.core.trial import Sweep
from lashley.study.ledger.ledger import Frame, Ledger
from lashley.study.ledger.spec import Spec

_STANDING = ("p_clean", "p_corrupt", "rank_clean", "rank_corrupt", "noise_sd")
_LATER = ("answer", "foil_answer", "asked", *_STANDING)  # exports of before lack them
COLUMNS = (
    *("experiment", "model", "relation", "subject", "object", "foil", "template", "prompt"),
    *("site", "layer", "kind", "unit", "position", "role", "token"),
    *("edit", "corruption", "readout", "value", "effect", "estimate", "clean", "corrupt", "noise_floor"),
    *(
        "seed",
        "excluded",
        "language",
        "register",
        "context",
        "join",
        "split",
        "pair",
        "window",
        "keys",
        "control",
        "population",
    ),
    *("question", "group", "measure", "set", "fires", "most", "copy"),
    *("size", "least"),
    *_LATER,
    *("sweep", "trial", "reason"),
)
SPEC = b"lashley"  # where a parquet file keeps the study's heading
LONGEST = 64  # sites of one trial that the column `site` spells out

_LABELS = (
    *("relation", "subject", "object", "answer", "foil", "foil_answer", "template", "corruption", "seed"),
    *("language", "register", "context", "join", "split", "pair", "window", "keys", "control", "population"),
    *("question", "group", "measure", "set", "fires", "most", "least"),
)
_WORDS = ("experiment", "model", *_LABELS, "prompt", "asked", "edit", "readout", "copy", "reason", "sweep")
_ROLES = ("all", *ROLES)
_NONE = Sites.ALL  # "no such number" in a column of integers, as it is for positions
_TEXT = pa.large_string()

Format = Literal["parquet", "csv", "json"]


def table(ledger: Ledger) -> pd.DataFrame:
    """Every measurement of a study as a row, in the order of planning; then the excluded facts.

    The columns are `COLUMNS`. `value`, `clean`, `corrupt` and `noise_floor` are in the readout's unit, `effect` is as
    `Sweep.normalise` has it, and `estimate` is what a screen expected of it; words are categorical, integers nullable.
    Of a set of sites, layer, kind, unit, position, role and token are given where all its sites share them, and `size`
    counts them; a single edge is named in `site`, and of more their number is. `answer` and `foil_answer` are the names
    that are measured where they are not the objects' own. `prompt` is the text of the run that is edited, `asked` that
    of the clean run. `p_clean` and `p_corrupt` are the probability of the whole object after the unedited runs,
    `rank_...` the rank of its first token in the vocabulary (of studies that measured them); `noise_sd` is that of the
    noise on the subject's embeddings, in units of the residual stream entering layer 0. Trials without an answer have
    no row.
    """
    tokens = _Codes()
    blocks: list[_Block] = []
    fixed: dict[str, str | None] = {
        "experiment": ledger.spec.experiment,
        "model": ledger.spec.model.get("name"),
    }
    known = _standing(ledger)
    for key in ledger.planned():
        if chunks := ledger.chunks(key):
            sweep = ledger.sweep(key)
            trials = np.concatenate([np.arange(c.start, c.start + len(c.values)) for c in chunks])
            values = np.concatenate([c.values for c in chunks])
            estimates = ledger.estimates(key)
            changes = np.full(len(trials), np.nan) if estimates is None else estimates[trials]
            words = {**fixed, "sweep": key}
            blocks.append(_measured(sweep, trials, values, changes, Frame.of(chunks), tokens, words, known))
    for excluded in ledger.exclusions():
        words = {name: word or None for name, word in msgspec.structs.asdict(excluded).items()}
        blocks.append(_Block({**words, **fixed}, **_NOTHING))
    if not blocks:
        return _frame([_Block({}, **_NOTHING)], tokens).iloc[:0]
    return _frame(blocks, tokens)


class _Codes(dict[str, int]):
    """Words, numbered from 0 as they come."""

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number


class _Block(NamedTuple):
    """Rows that share their words: `words`, some numbers, and columns [rows] of the rest."""

    words: dict[str, str | None]
    numbers: dict[str, float]
    value: np.ndarray  # float64
    effect: np.ndarray  # float64
    estimate: np.ndarray  # float64
    site: pa.Array
    layer: np.ndarray  # this and the following int, _NONE where there is no one number
    unit: np.ndarray
    position: np.ndarray
    kind: np.ndarray  # codes of KINDS
    role: np.ndarray  # codes of _ROLES
    token: np.ndarray  # codes of the table's tokens
    trial: np.ndarray
    size: np.ndarray


_NAN, _MISSING = np.array([np.nan]), np.array([_NONE])
_NOTHING: dict[str, Any] = {
    "numbers": {},
    **dict.fromkeys(("value", "effect", "estimate"), _NAN),
    **dict.fromkeys(("layer", "unit", "position", "kind", "role", "token", "trial", "size"), _MISSING),
    "site": pa.nulls(1, _TEXT),
}


def _measured(
    sweep: Sweep,
    trials: np.ndarray,
    values: np.ndarray,
    changes: np.ndarray,
    frame: Frame,
    tokens: _Codes,
    words: dict[str, str | None],
    known: Mapping[bytes, standing.Standing],
) -> _Block:
    """The answered `trials` (int64 [rows], with their values and the estimated changes) of a sweep."""
    run = sweep.run
    unedited = frame.corrupt if run is sweep.corrupt and frame.corrupt is not None else frame.clean
    words |= {name: sweep.labels.get(name) for name in _LABELS}
    words |= {"copy": str(sweep.copy) if sweep.copy else None}
    words |= {"prompt": run.text, "asked": sweep.clean.text, "readout": readout.name(sweep.readout)}
    words |= {"edit": edit.name(sweep.edits[0]) if sweep.edits else None}
    numbers = {"clean": frame.clean, "noise_floor": frame.noise_floor, **_stands(sweep, known)}
    if frame.corrupt is not None:
        numbers["corrupt"] = frame.corrupt
    return _Block(
        words,
        numbers,
        values,
        np.asarray(sweep.normalise(values, frame.clean, frame.corrupt), np.float64),
        np.asarray(sweep.normalise(unedited + changes, frame.clean, frame.corrupt), np.float64),
        **(_along(sweep.edges, trials) if sweep.edges else _at(sweep, trials, tokens)),
        trial=trials,
    )


def _standing(ledger: Ledger) -> dict[bytes, standing.Standing]:
    """What is kept beside the plan of how objects stand; {} in studies of before."""
    if standing.NAME not in ledger.array_names():
        return {}
    try:
        return standing.unpack(ledger.arrays(standing.NAME))
    except (KeyError, ValueError) as e:
        raise BrokenStudy(
            f"{ledger.folder}: arrays/{standing.NAME}.safetensors is damaged ({e}); put back a copy of it"
        ) from e


def _stands(sweep: Sweep, known: Mapping[bytes, standing.Standing]) -> dict[str, float]:
    """The numbers of `_STANDING` that are known of a sweep of the model itself."""
    found: dict[str, float] = {}
    if sweep.corrupt and sweep.corrupt.noise:
        found["noise_sd"] = sweep.corrupt.noise.sd
    if sweep.copy or not isinstance(sweep.readout, readout.LogitDifference):
        return found
    for end, run in (("clean", sweep.clean), ("corrupt", sweep.corrupt)):
        if run and (own := known.get(standing.name(run, sweep.readout.target))):
            found |= {f"p_{end}": own.probability, f"rank_{end}": own.rank}
    return found


def _at(sweep: Sweep, trials: np.ndarray, tokens: _Codes) -> dict[str, Any]:
    """The columns that say where, of a sweep over sites."""
    columns, sizes = _chosen(sweep.sites, trials)
    starts = np.cumsum(sizes) - sizes
    layer, kind, unit, position = (_shared(column, starts) for column in columns)
    role, token = _lookups(sweep.run, sweep.labels.get("tokens"), tokens)
    at = np.where(columns[3] == _NONE, 0, columns[3] + 1)
    return {
        "site": _site_texts(columns, sizes),
        "layer": layer,
        "unit": np.where((unit < 0) | (kind == _NONE), _NONE, unit),
        "position": position,
        "kind": kind,
        "role": _shared(role[at], starts),
        "token": token[np.where(position == _NONE, 0, position + 1)],
        "size": sizes,
    }


def _along(edges: Edges, trials: np.ndarray) -> dict[str, Any]:
    """The same of a sweep over edges: the text of one, and of more their number; they are at all positions."""
    sizes = edges.sizes[trials]
    texts = [edges.graph.name(edges[t][0]) if n == 1 else f"({n} edges)" for t, n in zip(trials, sizes, strict=True)]
    none = np.full(len(trials), _NONE)
    return {
        "site": pa.array(texts, _TEXT),
        **dict.fromkeys(("layer", "unit", "position", "kind", "token"), none),
        "role": np.full(len(trials), _ROLES.index("all")),
        "size": sizes,
    }


def _chosen(sites: Sites, trials: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the chosen trials: layer, kind, unit, position int32 [4, sites]; and the sizes of their sets."""
    bounds, columns = sites.bounds, sites.table[:4]
    sizes = np.diff(bounds)
    if len(trials) < len(sites):
        chosen = np.zeros(len(sites), bool)
        chosen[trials] = True
        columns = columns[:, np.repeat(chosen, sizes)]
    return columns, sizes[trials]


def _shared(column: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """For each set (one begins at each of `starts`) the number that all its sites have, else `_NONE`."""
    if len(column) == len(starts):
        return column
    low = np.minimum.reduceat(column, starts)
    return np.where(low == np.maximum.reduceat(column, starts), low, _NONE)


def _lookups(run: Run, labelled: str | None, tokens: _Codes) -> tuple[np.ndarray, np.ndarray]:
    """Codes of role and token, int32 [1 + positions]: first that of all positions, then each one's."""
    strings = msgspec.json.decode(labelled, type=list[str]) if labelled else []
    if len(strings) != len(run):
        strings = [None] * len(run)
    role = [_ROLES.index("all"), *(_ROLES.index(run.role(i)) for i in range(len(run)))]
    token = [_NONE, *(_NONE if s is None else tokens[s] for s in strings)]
    return np.array(role, np.int32), np.array(token, np.int32)


def _site_texts(columns: np.ndarray, sizes: np.ndarray) -> pa.Array:
    """The text of each set: its sites as `str(Site)` has them, joined with `+`; of large sets the first."""
    large = sizes > LONGEST
    if large.any():
        first = np.zeros(columns.shape[1], bool)
        first[np.cumsum(sizes) - sizes] = True
        columns = columns[:, first | np.repeat(~large, sizes)]
    layer, kind, unit, position = columns
    stems = pa.array([str(Site(0, k)).removeprefix("L0") for k in KINDS], _TEXT)
    parts = [_text("L"), pa.array(layer).cast(_TEXT), stems.take(pa.array(kind)), _number(unit, unit < 0)]
    parts += [_number(position, position == _NONE, "@"), _text("")]
    texts = pc.call_function("binary_join_element_wise", parts)
    offsets = np.concatenate([[0], np.cumsum(np.where(large, 1, sizes))])
    joined = pc.call_function("binary_join", [pa.LargeListArray.from_arrays(pa.array(offsets), texts), _text("+")])
    if large.any():
        counted = [joined, _text("+…("), pa.array(sizes).cast(_TEXT), _text(" sites)"), _text("")]
        long = pc.call_function("binary_join_element_wise", counted)
        joined = pc.call_function("if_else", [pa.array(large), long, joined])
    return joined


def _text(word: str) -> pa.Scalar:
    return pa.scalar(word, _TEXT)


def _number(numbers: np.ndarray, absent: np.ndarray, before: str = "") -> pa.Array:
    """`before` and the number, or nothing where it is absent."""
    digits = pc.call_function("binary_join_element_wise", [_text(before), pa.array(numbers).cast(_TEXT), _text("")])
    return pc.call_function("if_else", [pa.array(absent), _text(""), digits])


def _frame(blocks: list[_Block], tokens: _Codes) -> pd.DataFrame:
    rows = np.array([len(b.value) for b in blocks])

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(b, name) for b in blocks])

    def repeated(name: str) -> np.ndarray:
        return np.repeat(np.array([b.numbers.get(name, np.nan) for b in blocks], np.float64), rows)

    data: dict[str, Any] = {"excluded": np.repeat([not b.words.get("sweep") for b in blocks], rows)}
    for name in _WORDS:
        codes = _Codes()
        column = [_NONE if (word := b.words.get(name)) is None else codes[word] for b in blocks]
        data[name] = _words(np.repeat(np.array(column), rows), codes)
    for name, words in (("kind", KINDS), ("role", _ROLES), ("token", tokens)):
        data[name] = _words(joined(name), words)
    for name, width in (
        ("layer", np.int16),
        ("unit", np.int32),
        ("position", np.int32),
        ("trial", np.int64),
        ("size", np.int32),
    ):
        column = joined(name)
        none = column == _NONE
        data[name] = pd.arrays.IntegerArray(np.where(none, 0, column).astype(width), none)
    data |= {name: joined(name) for name in ("value", "effect", "estimate")}
    data |= {name: repeated(name) for name in ("clean", "corrupt", "noise_floor", *_STANDING)}
    data["site"] = pd.arrays.ArrowStringArray(pa.chunked_array([b.site for b in blocks]).combine_chunks())
    return pd.DataFrame({name: data[name] for name in COLUMNS})


def _words(codes: np.ndarray, words: Any) -> pd.Categorical:
    return pd.Categorical.from_codes(np.maximum(codes, -1), categories=pd.Index(list(words), dtype="str"))


def export(ledger: Ledger, path: str | Path, format: Format = "parquet") -> None:
    """Write `table(ledger)` to `path`, whole or not at all; floats come back bit for bit.

    CSV and JSON (an array of records) leave empty or null what is missing; words of CSV that begin like a formula have
    an apostrophe before them; JSON has infinity as 1e999, which readers take for it.

    Raises `BrokenStudy`, and `LashleyError` for an unknown format.
    """
    if format not in _FORMATS:
        raise LashleyError(f"format {format!r} is unknown; write {', '.join(_FORMATS)}")
    frame = table(ledger)
    with replacing(Path(path)) as draft:
        _FORMATS[format](frame, draft)
        if format == "parquet":
            _head(draft, ledger.spec)


def _head(path: Path, spec: Spec) -> None:
    """Put the study's frozen heading into a parquet file, so that it can be judged alone."""
    whole = pyarrow.parquet.read_table(path)
    head = {**(whole.schema.metadata or {}), SPEC: msgspec.json.encode(spec)}
    pyarrow.parquet.write_table(whole.replace_schema_metadata(head), path)


def exported(path: str | Path) -> tuple[Spec, pd.DataFrame]:
    """The heading and the table of an exported parquet file. Raises `BrokenStudy`."""
    try:
        whole = pyarrow.parquet.read_table(path)
        head = msgspec.json.decode((whole.schema.metadata or {})[SPEC], type=Spec)
    except (OSError, KeyError, pa.ArrowException, msgspec.MsgspecError) as e:
        raise BrokenStudy(f"{path} is no exported study; write one with `lashley export STUDY --format parquet`") from e
    if lacking := [c for c in COLUMNS if c not in (*whole.column_names, *_LATER)]:
        raise BrokenStudy(
            f"{path} has no column {', '.join(lacking)}: an older lashley wrote it; export the study again"
        )
    return head, whole.to_pandas().reindex(columns=list(COLUMNS))


def _parquet(frame: pd.DataFrame, path: Path) -> None:
    frame.to_parquet(path, engine="pyarrow", index=False)


def _csv(frame: pd.DataFrame, path: Path) -> None:
    """Words in quotes, so that an empty one, or one like NA, is not taken for a missing one; and those that a
    spreadsheet would take for a formula behind an apostrophe. Numbers are as they are."""
    flat = pa.Table.from_pandas(frame, preserve_index=False)
    columns = [c.cast(_TEXT) if pa.types.is_dictionary(c.type) else c for c in flat.columns]
    columns = [_guarded(c) if pa.types.is_large_string(c.type) or pa.types.is_string(c.type) else c for c in columns]
    pyarrow.csv.write_csv(pa.table(columns, names=list(COLUMNS)), str(path))


def _guarded(words: pa.ChunkedArray) -> pa.ChunkedArray:
    formula = pc.call_function("match_substring_regex", [words], pc.MatchSubstringOptions(r"^\s*[=+\-@\t\r\n＝＋－＠]"))
    quoted = pc.call_function("binary_join_element_wise", [_text("'"), words.cast(_TEXT), _text("")])
    return pc.call_function("if_else", [formula, quoted, words.cast(_TEXT)])


def _json(frame: pd.DataFrame, path: Path, rows: int = 50_000) -> None:
    encode = msgspec.json.Encoder().encode
    with path.open("wb") as out:
        for start in range(0, len(frame), rows):
            part = frame.iloc[start : start + rows]
            columns = [_plain(part[name]) for name in COLUMNS]
            records = (encode(dict(zip(COLUMNS, row, strict=True))) for row in zip(*columns, strict=True))
            out.write((b",\n" if start else b"[\n") + b",\n".join(records))
        out.write(b"\n]\n" if len(frame) else b"[]\n")


def _plain(column: pd.Series) -> list[Any]:
    """A column as JSON values: missing is None, infinity a number too large for a float."""
    values = column.astype(object).where(column.notna(), None).tolist()
    if pd.api.types.is_float_dtype(column) and np.isinf(column).any():
        endless = {math.inf: msgspec.Raw(b"1e999"), -math.inf: msgspec.Raw(b"-1e999")}
        return [endless.get(v, v) for v in values]
    return values


_FORMATS: dict[str, Callable[[pd.DataFrame, Path], None]] = {"parquet": _parquet, "csv": _csv, "json": _json}
