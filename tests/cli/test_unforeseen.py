"""Whatever happens: one line that no terminal minds, an exit code that says what it was, and nothing lost."""

import io
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lashley.report import Paths
from lashley.study.study import Study

from .conftest import COMMAND, Said
from .test_bad_input import PROMPT, made, refused  # noqa: F401

STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def process(*argv: object, **how) -> subprocess.CompletedProcess:
    env = os.environ | {"COLUMNS": "80"} | how.pop("env", {})
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | how
    return subprocess.run([*COMMAND, *map(str, argv)], env=env, **how)


@pytest.fixture
def study(here, made) -> Path:  # noqa: F811
    shutil.copytree(made, here / "study")
    return here / "study"


# -- errors that nobody foresaw -------------------------------------------------------------------------------------


def broken(*_, **__):
    raise ZeroDivisionError("a mistake\nof ours \x1b[2J")


def unforeseen(said: Said) -> Path:
    """The file that the one line names."""
    assert said.code == 70, said
    assert said.err.startswith("lashley: ") and said.err.count("\n") == 1 and "ZeroDivisionError" in said.err
    assert not STEERING.search(said.err) and "Traceback" not in said.err
    (name,) = re.findall(r"\S+error-\S+\.txt", said.err)
    return Path(name)


def test_an_error_that_nobody_foresaw_is_a_line_and_a_file_in_the_study(lashley, study, monkeypatch):
    monkeypatch.setattr(Study, "page", broken)
    path = unforeseen(lashley("report", "study"))
    told = path.read_text()
    assert path.parent.resolve() == study
    assert "Traceback" in told and "of ours" in told and "lashley report study" in told and "torch " in told
    monkeypatch.undo()
    assert lashley("check", study).code == 0


@pytest.mark.parametrize("moved", [True, False])
def test_where_no_study_is_the_file_is_in_the_cache(lashley, here, monkeypatch, moved):
    """`LASHLEY_HOME` moves it, as all that is kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / ("else" if moved else "cache")))
    if moved:
        monkeypatch.setenv("LASHLEY_HOME", str(here))
    else:
        monkeypatch.delenv("LASHLEY_HOME")
    monkeypatch.setattr("lashley.facts.question.relations", broken)
    monkeypatch.setattr("lashley.cli.listings.relations", broken)
    path = unforeseen(lashley("facts", "list"))
    assert path.is_relative_to(here / "cache") and "ZeroDivisionError" in path.read_text()


def test_where_nothing_can_be_written_the_line_is_all(lashley, here, monkeypatch):
    monkeypatch.setattr("lashley.cli.unforeseen._folders", lambda _: [Path("/dev/null/nowhere")])
    monkeypatch.setattr("lashley.cli.listings.relations", broken)
    said = lashley("facts", "list")
    assert said.code == 70 and said.err.count("\n") == 1


# -- outputs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("facts", "list"), ("report", "study", "--json"), ("check", "study")])
def test_output_to_a_full_disk(study, words):
    with Path("/dev/full").open("wb") as full:
        done = process(*words, stdout=full, text=True)
    refused(Said(done.returncode, "", done.stderr), "output cannot be written", "No space left")


def test_output_that_nobody_reads_any_longer(here):
    read, write = os.pipe()
    os.close(read)
    done = process("facts", "list", "capital", stdout=write, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("coding", ["ascii", "latin-1"])
def test_a_terminal_that_lacks_characters(lashley, study, coding, monkeypatch):
    monkeypatch.setattr("lashley.report.write", lambda *_: Paths(study / "report.html", study, ()))
    for words, code in ((("report", "study"), 0), (("facts", "list", "capital"), 0), (("report", "Größe“█"), 2)):
        with monkeypatch.context() as patch:
            out, err = (io.TextIOWrapper(io.BytesIO(), encoding=coding) for _ in range(2))
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            assert lashley(*words).code == code
            out.flush(), err.flush()
            said = (out if not code else err).buffer.getvalue().decode(coding)
        assert len(said) > 50 and not STEERING.search(said)
    assert '"#' in said


def test_a_report_that_cannot_be_written_is_shown_all_the_same(lashley, study, here):
    shutil.rmtree(study / "figures", ignore_errors=True)
    (study / "figures").write_text("in the way")
    said = lashley("report", "study")
    assert said.code == 0 and "recall" in said.out
    assert said.err.startswith("warning: ") and said.err.count("\n") == 1 and "--out" in said.err
    said = lashley("report", "study", "--out", "elsewhere")
    assert said.code == 0 and not said.err and (here / "elsewhere" / "report.html").is_file()
    refused(lashley("report", "study", "--out", "study/figures"), "study/figures")


# -- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [(*PROMPT, "--study"), ("report",), ("resume",), ("export", "study", "--out")])
def test_a_name_that_is_too_long(lashley, study, argv):
    refused(lashley(*argv, "x" * 300), "too long")


def test_names_that_steer_terminals_or_are_not_utf8(lashley, here):
    for name in ("\x1b[2Jabsent", "ab\x9bsent", "ab\nsent", "\udcff"):
        refused(lashley("report", name), "is not a study")
        assert not STEERING.search(lashley("report", name).err)
    refused(lashley("locate", "A \udcff {} is", *PROMPT[2:]))


def test_a_calibration_where_a_file_is(lashley, here):
    (here / "file").write_text("mine")
    refused(lashley("calibrate", "--quick", "--out", "file"), "file")
    assert (here / "file").read_text() == "mine"


# -- --out ----------------------------------------------------------------------------------------------------------


def test_a_device_stays_one(lashley, study):
    before = os.lstat("/dev/null")
    for format in ("csv", "parquet", "json"):
        said = lashley("export", "study", "--format", format, "--out", "/dev/null")
        assert said.code == 0 and not said.out
    assert os.lstat("/dev/null").st_ino == before.st_ino and stat.S_ISCHR(os.lstat("/dev/null").st_mode)


def test_a_pipe_gets_the_whole_table(lashley, study, here):
    assert lashley("export", "study", "--format", "csv").code == 0
    os.mkfifo(here / "pipe")
    with subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE) as reading:
        assert lashley("export", "study", "--format", "csv", "--out", "pipe").code == 0
        assert reading.communicate()[0] == (study / "measurements.csv").read_bytes()
    assert stat.S_ISFIFO(os.lstat("pipe").st_mode)
    done = process("export", "study", "--format", "csv", "--out", "/dev/stdout")
    assert done.stdout == (study / "measurements.csv").read_bytes()


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="of Linux")
def test_a_file_in_memory_is_whole_or_not_there(lashley, study):
    """What lies below /dev without being a link is a file like others."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        table = Path(memory) / "table.csv"
        assert lashley("export", "study", "--format", "csv", "--out", str(table)).code == 0
        before, kept = table.stat().st_ino, table.read_bytes()
        with table.open("rb") as opened:
            assert lashley("export", "study", "--format", "json", "--out", str(table)).code == 0
            assert opened.read() == kept and table.stat().st_ino != before


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_what_it_points_to_is_replaced(lashley, study, here, there):
    (here / "deep").mkdir()
    if there:
        (here / "deep" / "table.csv").write_text("old")
    (here / "link.csv").symlink_to("deep/table.csv")
    assert lashley("export", "study", "--format", "csv", "--out", "link.csv").code == 0
    assert (here / "link.csv").is_symlink() and (here / "deep" / "table.csv").stat().st_size > 1000
    assert [p.name for p in (here / "deep").iterdir()] == ["table.csv"]


def test_a_folder_is_refused(lashley, study):
    refused(lashley("export", "study", "--out", "study"), "study is a folder")
