"""The table says what the sweeps and the answers say, a row each, and files of it lose nothing."""

import csv
import json
import math
import resource

import ledger_makers as make
import msgspec
import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest

from lashley.core import edit
from lashley.core.case import Estimated
from lashley.core.errors import BrokenStudy, LashleyError
from lashley.core.graph import Edges, Graph
from lashley.core.site import Site, Sites
from lashley.core.trial import Chunk
from lashley.study.ledger import Exclusion, Ledger
from lashley.study.ledger.tidy import COLUMNS, export, exported, table

SETS = [
    [Site(0, "resid")],
    [Site(3, "attn", None, 0)],
    [Site(12, "mlp", None, 5)],
    [Site(7, "head", 3, 4)],
    [Site(7, "neuron", 173, 2)],
    [Site(1, "neuron", 5, 4), Site(1, "neuron", 9, 4)],
    [Site(1, "head", 5, 1), Site(2, "head", 5, 2)],
    [Site(1, "head", 5), Site(1, "neuron", 5)],
    [Site(la, "mlp", None, 4) for la in range(64)],
    [Site(la, "mlp", None, 4) for la in range(65)],
]


@pytest.fixture
def ledger(tmp_path):
    with Ledger.create(tmp_path / "study", make.spec()) as ledger:
        yield ledger


def test_edges_come_back_and_are_named_in_the_table(ledger):
    graph = Graph(2, 2, neurons=("L0.mlp.n3",))
    sets = [[], [graph.index("L0.mlp.n3->L1.attn.h1.k")], range(len(graph)), [graph.index("embed->logits"), 0], [5]]
    asked = make.sweep(sites=Sites.of([]), edits=(edit.Patch(make.ITALY),), edges=Edges.of(graph, sets))
    guessed = np.arange(5.0)
    ledger.plan([Estimated(asked, guessed), make.sweep(3)])
    ledger.commit([make.chunk(asked.key, 1, 5, path="plain")])
    assert ledger.sweep(asked.key) == asked
    frame = table(ledger)
    assert frame.site.tolist() == ["L0.mlp.n3->L1.attn.h1.k", f"({len(graph)} edges)", "(2 edges)", graph.name(5)]
    assert frame[["layer", "kind", "unit", "position", "token"]].isna().all(axis=None)
    assert set(frame.role) == {"all"} and set(frame.edit) == {"patch"} and frame.trial.tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(frame.effect, (2 - np.arange(1, 5) / 7) / 3)
    np.testing.assert_allclose(frame.estimate, -guessed[1:] / 3)


@pytest.fixture
def full(ledger):
    """Sets of every shape, a sweep half answered, one without a corrupt run, one not begun, exclusions."""
    sets = make.sweep(sites=Sites.of(SETS), effect="restoration")
    bare = make.sweep(corrupt=None, labels={"register": "", "template": "NA"}, edits=(edit.Mean((make.ITALY,)),))
    half = make.sweep(10, labels=make.LABELS | {"object": 'a "b",\r\n\tc é', "pair": "null"})
    ledger.plan([sets, bare, half, make.sweep(4, "Italy")])
    values = np.array([0.1 + 0.2, np.inf, -np.inf, np.nan, -0.0, 5e-324, 1e300, 1 / 3, 2.0, -1.0])
    ledger.commit([Chunk(sets.key, 0, values, 2.0, -1.0, 1e-6, "packed")])
    ledger.commit([make.chunk(bare.key, 0, 10, corrupt=None), make.chunk(half.key, 7, 9), make.chunk(half.key, 0, 2)])
    ledger.exclude([Exclusion("capital", "Chad", "N'Djamena", "", "unknown")])
    ledger.exclude([Exclusion("capital", "Fiji", "Suva", "The capital of {} is", "no foil")])
    return ledger


def test_a_row_is_what_the_trial_says(full):
    frame = table(full)
    assert tuple(frame.columns) == COLUMNS and len(frame) == 26
    measured = frame[~frame.excluded]
    assert measured.groupby("sweep", observed=True, sort=False).trial.apply(list).tolist() == [
        list(range(10)),
        list(range(10)),
        [0, 1, 7, 8],
    ]
    for row in measured.itertuples():
        sweep = full.sweep(row.sweep)
        trial, run = sweep[row.trial], sweep.run
        single = trial.sites[0]
        value, about = full.values(row.sweep)[row.trial], full.frame(row.sweep)
        with np.errstate(invalid="ignore"):
            effect = sweep.normalise(value, about.clean, about.corrupt)
        np.testing.assert_array_equal([row.value, row.effect], [value, effect])
        np.testing.assert_array_equal([row.clean, row.noise_floor], [about.clean, about.noise_floor])
        assert row.corrupt == about.corrupt or (about.corrupt is None and math.isnan(row.corrupt))
        assert (row.experiment, row.model, row.prompt) == ("locate", "tiny", run.text)
        assert (row.edit, row.readout) == (edit.name(sweep.edits[0]), "logit_difference")
        for label in (
            "relation",
            "subject",
            "object",
            "foil",
            "template",
            "seed",
            "register",
            "pair",
            "window",
        ):
            word = getattr(row, label)
            assert word == sweep.labels.get(label) or (pd.isna(word) and label not in sweep.labels)
        if len(trial.sites) == 1:
            assert (row.site, row.layer, row.kind) == (str(single), single.layer, single.kind)
            assert (None if pd.isna(row.unit) else row.unit) == single.unit
            assert (None if pd.isna(row.position) else row.position) == single.position
            if single.position is None:
                assert row.role == "all" and pd.isna(row.token)
            else:
                assert row.role == run.role(single.position)
                assert row.token == make.TOKENS[single.position] if "tokens" in sweep.labels else pd.isna(row.token)


def test_an_estimate_is_told_as_the_effect_that_it_expects(ledger):
    """The change of the readout, from the run that is edited on; the column is empty where nothing was estimated."""
    changes = np.arange(10) - 4.0
    damage, restoration = make.sweep(), make.sweep(effect="restoration")
    bare, none = make.sweep(corrupt=None, labels={"population": "99"}), make.sweep(2, "Chad")
    ledger.plan([Estimated(damage, changes), Estimated(restoration, changes), Estimated(bare, changes), none])
    for sweep in (damage, restoration, bare, none):
        corrupt = None if sweep is bare else -1.0
        ledger.commit([make.chunk(sweep.key, 0, 2, corrupt=corrupt)])
        if len(sweep) > 2:
            ledger.commit([make.chunk(sweep.key, 5, 10, corrupt=corrupt)])
    rows = table(ledger)
    done = changes[[0, 1, 5, 6, 7, 8, 9]]
    np.testing.assert_allclose(rows["estimate"], [*(-done / 3), *(done / 3), *-done, np.nan, np.nan])
    assert rows["population"].dropna().tolist() == ["99"] * 7


def test_of_a_set_the_table_says_what_its_sites_share(full):
    rows = table(full).iloc[5:10]
    shared = rows[["layer", "kind", "unit", "position", "role", "token"]].astype(object)
    assert shared.where(shared.notna(), None).values.tolist() == [
        [1, "neuron", None, 4, "subject_last", make.TOKENS[4]],
        [None, "head", 5, None, "relation", None],
        [1, None, None, None, "all", None],
        [None, "mlp", None, 4, "subject_last", make.TOKENS[4]],
        [None, "mlp", None, 4, "subject_last", make.TOKENS[4]],
    ]
    joined = ["+".join(map(str, s)) for s in SETS[5:9]]
    assert rows.site.tolist() == [*joined, "L0.mlp@4+…(65 sites)"]


def test_an_excluded_fact_is_a_row_without_numbers(full):
    rows = table(full).iloc[-2:]
    assert rows.excluded.all() and rows[["relation", "subject", "object"]].values.tolist() == [
        ["capital", "Chad", "N'Djamena"],
        ["capital", "Fiji", "Suva"],
    ]
    assert rows.template.isna().tolist() == [True, False] and (rows.model == "tiny").all()
    numbers = [
        "value",
        "effect",
        "clean",
        "corrupt",
        "noise_floor",
        "layer",
        "unit",
        "position",
        "trial",
        "site",
    ]
    assert rows[[*numbers, "sweep", "kind", "role", "edit"]].isna().all(axis=None)


def test_a_table_of_nothing_has_the_same_columns(ledger, full):
    with Ledger.create(ledger.folder.parent / "empty", make.spec()) as nothing:
        empty = table(nothing)
        assert len(empty) == 0 and tuple(empty.columns) == COLUMNS
        empty_types = {name: str(kind) for name, kind in empty.dtypes.items()}
        for form in ("parquet", "csv", "json"):
            export(nothing, nothing.folder / form, form)
        assert json.loads((nothing.folder / "json").read_text()) == []
    assert {name: str(kind) for name, kind in table(full).dtypes.items()} == empty_types


def test_files_in_every_format_are_the_table(full, tmp_path):
    frame = table(full)
    floats = [name for name in COLUMNS if frame[name].dtype == float]
    words = [name for name in COLUMNS if name not in floats]
    for form in ("parquet", "csv", "json"):
        export(full, tmp_path / f"out.{form}", form)
    parquet = pd.read_parquet(tmp_path / "out.parquet")
    pd.testing.assert_frame_equal(parquet, frame, check_exact=True, check_dtype=False, check_categorical=False)
    some = frame.columns[frame.notna().any()]
    assert [d.name for d in parquet[some].dtypes] == [d.name for d in frame[some].dtypes]
    records = json.loads((tmp_path / "out.json").read_text())
    assert [tuple(record) for record in records] == [COLUMNS] * len(frame)
    objects = frame.astype(object).where(frame.notna(), None)
    assert [[r[name] for name in words] for r in records] == objects[words].values.tolist()
    back = np.array([[np.nan if r[name] is None else r[name] for name in floats] for r in records], float)
    assert same_bits(back, frame[floats].to_numpy())
    read = pd.read_csv(tmp_path / "out.csv", dtype=str, keep_default_na=False)
    assert tuple(read.columns) == COLUMNS
    for name in words:
        said = ["" if v is None else str(v).lower() if isinstance(v, bool) else str(v) for v in objects[name]]
        assert read[name].tolist() == said
    assert same_bits(read[floats].replace("", "nan").to_numpy().astype(float), frame[floats].to_numpy())
    assert {p.name for p in tmp_path.iterdir()} == {"study", "out.parquet", "out.csv", "out.json"}


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b, equal_nan=True) and np.array_equal(np.signbit(a), np.signbit(b))


def test_in_csv_a_missing_word_is_not_an_empty_one(full, tmp_path):
    export(full, tmp_path / "out.csv", "csv")
    bare = [line for line in (tmp_path / "out.csv").read_text("utf-8").split("\n") if '"NA"' in line]
    assert len(bare) == 10 and all('"locate","tiny",,,,,"NA",' in line and ',"",' in line for line in bare)


def test_an_export_that_fails_leaves_what_was_there(full, tmp_path, monkeypatch):
    (tmp_path / "out.csv").write_text("precious")
    with pytest.raises(LashleyError, match="parquet, csv, json"):
        export(full, tmp_path / "out.csv", "xlsx")  # pyright: ignore[reportArgumentType]
    with pytest.raises(BrokenStudy, match="missing"):
        export(full, tmp_path / "nowhere" / "out.csv", "csv")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(BrokenStudy, match="disk is full"):
        export(full, tmp_path / "out.csv", "csv")
    assert (tmp_path / "out.csv").read_text() == "precious"


def test_an_export_of_an_older_release_is_refused_in_one_line(full, tmp_path):
    export(full, tmp_path / "out.parquet", "parquet")
    head, frame = exported(tmp_path / "out.parquet")
    assert head == full.spec and tuple(frame.columns) == COLUMNS
    whole = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    pyarrow.parquet.write_table(whole.drop_columns(["most"]), tmp_path / "old.parquet")
    with pytest.raises(BrokenStudy, match=r"no column most.*export the study again"):
        exported(tmp_path / "old.parquet")


def test_resumed_and_uninterrupted_studies_make_the_same_table(tmp_path):
    def run(name: str, *parts: tuple[int, int]) -> pd.DataFrame:
        with Ledger.create(tmp_path / name, make.spec()) as ledger:
            ledger.plan([make.sweep(30)])
            for part in parts:
                ledger.commit([make.chunk(make.sweep(30).key, *part)])
            return table(ledger)

    pd.testing.assert_frame_equal(run("a", (0, 30)), run("b", (20, 30), (0, 7), (7, 20)), check_exact=True)


def test_two_hundred_thousand_trials_are_cheap(ledger, calls):
    """A call for a few trials, since all is done by the column; here 100 MB to tabulate."""
    n = 200_000
    index = np.arange(n)
    big = make.sweep(sites=Sites.pack(index // 10_000, 4, index % 10_000, index % 6))
    key, frames = big.key, []
    room = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def work() -> None:
        ledger.plan([big])
        for start in range(0, n, 20_000):
            ledger.commit([make.chunk(key, at, at + 500) for at in range(start, start + 20_000, 500)])
        frames.append(table(ledger))

    assert calls(work) < n / 5
    (frame,) = frames
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - room < 500_000, "kB"
    assert len(frame) == n and frame.memory_usage(deep=True).sum() < 200 * n
    assert (ledger.folder / "ledger.sqlite").stat().st_size < 40 * n
    assert frame.site.iloc[-1] == str(big.sites[n - 1][0])


def test_the_work_of_many_small_sweeps_grows_as_their_number(tmp_path, calls):
    def asked(sweeps: int) -> int:
        many = [msgspec.structs.replace(make.sweep(6), labels=make.LABELS | {"split": str(i)}) for i in range(sweeps)]
        with Ledger.create(tmp_path / str(sweeps), make.spec()) as ledger:
            ledger.plan(many)
            ledger.commit([make.chunk(s.key, 0, 6) for s in many])
            return calls(lambda: table(ledger))

    assert asked(800) < 9 * asked(100)


@pytest.mark.parametrize("word", ["=1+1", "@SUM(A1)", "+1", "-1", "\t=1", "\r=1", " =1", "＝1", "=", "-"])
def test_no_word_of_a_csv_is_a_formula_and_numbers_stay(tmp_path, word):
    sweep = make.sweep(3, word, labels=make.LABELS | {"subject": word, "template": f"{word} {{}} is", "object": "a=b"})
    with Ledger.create(tmp_path / "study", make.spec()) as ledger:
        ledger.plan([sweep])
        ledger.commit([msgspec.structs.replace(make.chunk(sweep.key, 0, 3), values=np.array([-1.5, 0.0, 2.0]))])
        ledger.exclude([Exclusion("capital", word, "x", "", word)])
        export(ledger, tmp_path / "table.csv", "csv")
        export(ledger, tmp_path / "table.parquet")
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(r["value"]) for r in rows[:3]] == [-1.5, 0.0, 2.0] and rows[0]["object"] == "a=b"
    assert {r["subject"] for r in rows} == {f"'{word}"} and rows[3]["reason"] == f"'{word}"
    numbers = {"value", "effect", "clean", "corrupt", "noise_floor", "position"}
    assert not any(v[:1] in "=@+-\t\r" for r in rows for k, v in r.items() if v and k not in numbers)
    assert pd.read_parquet(tmp_path / "table.parquet")["subject"][0] == word, "other formats have it as it is"
