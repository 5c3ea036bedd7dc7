"""A study does what is missing and nothing twice, and is never taken for another."""

import errno
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

import lashley
from lashley import api
from lashley.core.errors import BadFact, BadSite, BrokenStudy, StudyConflict
from lashley.engine.bench import Bench
from lashley.models.embedded import WEIGHTS
from lashley.report import from_json, to_json
from lashley.study.ledger import Ledger
from lashley.study.study import Study

from .conftest import ASK, OWN

NO_TORCH = """
import sys


class NotInstalled:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("torch", "transformers"):
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, NotInstalled())
from lashley.cli.app import main
main()
"""


class Counting(Bench):
    """A bench that counts the trials it is asked for, and may fail in the midst of one pack."""

    def __init__(self, bench, fail_in_pack: int | None = None):
        self.__dict__ |= bench.__dict__
        self._fail = fail_in_pack
        self.answered: Counter[tuple[str, int]] = Counter()

    def run(self, sweeps, answered=None):
        for number, chunks in enumerate(super().run(sweeps, answered)):
            self.answered.update((c.sweep, c.start + i) for c in chunks for i in range(len(c.values)))
            if number == self._fail:
                raise KeyboardInterrupt
            yield chunks


def same(one: Study, other: Study) -> None:
    """Both hold the same measurements, number for number."""
    pd.testing.assert_frame_equal(one.table, other.table, rtol=0, atol=1e-6)


def but_for_its_time(page):
    environment = {k: v for k, v in page.environment.items() if k != "report made"}
    return msgspec.structs.replace(page, environment=environment)


# -- stopping and going on --------------------------------------------------------------------------------------


def test_a_study_is_measured_once(small, whole):
    packs = len(list(small.run(list(whole.ledger.sweeps()))))
    assert whole.complete and packs > 4, "too few packs for what follows"
    assert not whole.table.duplicated(["sweep", "trial"]).any()
    assert len(whole.table) == sum(whole.ledger.progress()) / 2


@pytest.mark.parametrize("pack", [0, 1, 3])
def test_an_interruption_loses_the_pack_in_flight_and_going_on_does_the_rest(small, whole, folder, pack):
    stopped, again = Counting(small, pack), Counting(small)
    with pytest.raises(KeyboardInterrupt, match="lashley resume"):
        lashley.locate(stopped, **ASK, study=folder)
    kept = Study.open(folder).ledger.progress()[0]
    lashley.locate(again, **ASK, study=folder)
    same(Study.open(folder), whole)
    assert max((stopped.answered + again.answered).values()) <= 2
    twice = [trial for trial, times in (stopped.answered + again.answered).items() if times == 2]
    assert len(twice) == stopped.answered.total() - kept
    assert again.answered.total() == len(whole.table) - kept


def test_an_interruption_between_packs_loses_nothing(small, whole, folder):
    def stop(what: str, done: int, total: int) -> None:
        if what == "measuring" and done > total / 2:
            raise KeyboardInterrupt

    stopped, again = Counting(small), Counting(small)
    with pytest.raises(KeyboardInterrupt):
        lashley.locate(stopped, **ASK, study=folder, progress=stop)
    lashley.locate(again, **ASK, study=folder)
    same(Study.open(folder), whole)
    assert set((stopped.answered + again.answered).values()) == {1}


def test_a_study_left_before_it_was_planned_is_planned_by_the_next(small, whole, folder):
    Ledger.create(folder, whole.ledger.spec).close()
    left = Study.open(folder)
    assert not left.complete and "resume" in left.page().finding.sentence
    same(left.run(small), whole)


SCREEN = {"units": "heads", "screen": 12, "sample": 6}


@pytest.mark.parametrize("pack", [0, 1])
def test_a_screened_study_goes_on_with_what_was_planned(small, folder, tmp_path, pack, monkeypatch):
    whole = lashley.knockout(small, **ASK, **SCREEN, study=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt, match="lashley resume"):
        lashley.knockout(Counting(small, pack), **ASK, **SCREEN, study=folder)
    monkeypatch.setattr("lashley.prompts.pairs.prepare", None)
    same(Study.open(folder).run(small), whole)
    assert whole.table["estimate"].notna().all()


def test_a_planning_that_broke_off_is_done_again_or_not_at_all(small, folder, tmp_path, monkeypatch):
    """The sweeps come last: where there are some, everything is planned."""
    whole = lashley.knockout(small, **ASK, **SCREEN, study=tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Ledger, "plan", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        lashley.knockout(small, **ASK, **SCREEN, study=folder)
    same(lashley.knockout(small, **ASK, **SCREEN, study=folder), whole)
    assert Study.open(folder).ledger.planned() == whole.ledger.planned()


def test_asked_again_nothing_is_computed(small, whole):
    again = Counting(small)
    study = lashley.locate(again, **ASK, study=whole.folder)
    assert not again.answered
    same(study, whole)


def test_a_complete_study_is_resumed_without_a_model(whole, monkeypatch):
    monkeypatch.setattr(api, "open_model", None)
    assert api.resume(whole.folder).complete


def test_memory_changes_no_number(bench, whole, folder):
    other = lashley.locate(bench, **ASK, study=folder).table
    pd.testing.assert_series_equal(other["value"], whole.table["value"], rtol=0, atol=1e-4)


def test_progress_counts_up_to_the_whole(small, whole, folder):
    said: list[tuple[str, int, int]] = []
    lashley.locate(small, **ASK, study=folder, progress=lambda *words: said.append(words))
    for what in ("asking what the model knows", "measuring"):
        counts = [(done, total) for name, done, total in said if name == what]
        assert counts == sorted(counts) and counts[-1][0] == counts[-1][1] > 0


# -- whose study it is --------------------------------------------------------------------------------------------

OTHERS = {
    "other parameters": ({"window": 3}, "params.window = 1, now 3"),
    "another question": ({"subject": "Japan"}, "question.subject = 'France', now 'Japan'"),
    "another seed": ({"seed": 1}, "question.seed = 0, now 1"),
}


@pytest.mark.parametrize(("words", "match"), OTHERS.values(), ids=OTHERS.keys())
def test_another_question_is_refused(small, whole, words, match):
    with pytest.raises(StudyConflict, match=match):
        lashley.locate(small, **ASK | words, study=whole.folder)


def test_another_experiment_is_refused(small, whole):
    with pytest.raises(StudyConflict, match="experiment = 'locate', now 'knockout'"):
        lashley.knockout(small, **ASK, study=whole.folder)


@pytest.fixture
def changed(tmp_path) -> Path:
    """A copy of the embedded model, one weight of it a little different."""
    folder = tmp_path / "model"
    shutil.copytree(WEIGHTS, folder)
    weights = load_file(folder / "model.safetensors")
    weights[min(weights)].view(-1)[0] += 1e-3
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_another_model_is_refused(small, whole, changed, folder):
    other = lashley.open_model(str(changed))
    with pytest.raises(StudyConflict, match="weights"):
        lashley.locate(other, **ASK, study=whole.folder)
    stopped = Counting(other, fail_in_pack=0)
    with pytest.raises(KeyboardInterrupt):
        lashley.locate(stopped, **ASK, study=folder)
    shutil.rmtree(changed)
    shutil.copytree(WEIGHTS, changed)
    with pytest.raises(StudyConflict, match="other weights"):
        api.resume(folder)


def test_the_same_model_at_another_place_is_the_same(whole, tmp_path):
    shutil.copytree(WEIGHTS, tmp_path / "elsewhere")
    moved = Counting(lashley.open_model(str(tmp_path / "elsewhere")))
    same(lashley.locate(moved, **ASK, study=whole.folder), whole)
    assert not moved.answered


REFUSED = {
    "unknown fact": ("locate", {"object": "Tokyo", "foil_object": "Paris"}, BadFact),
    "a place that is not there": ("knockout", {"units": "L0.mlp@99"}, BadSite),
    "a role that is not there": ("knockout", {"units": "heads", "at": "subject_middle"}, BadSite),
    "a layer that is not there": ("knockout", {"units": "L77.mlp"}, BadSite),
}


@pytest.mark.parametrize(("experiment", "words", "error"), REFUSED.values(), ids=REFUSED.keys())
def test_a_question_that_cannot_be_asked_leaves_no_study(bench, folder, experiment, words, error):
    with pytest.raises(error):
        lashley.ask(experiment, bench, **OWN | words, study=folder)
    assert not folder.exists()


# -- without the model --------------------------------------------------------------------------------------------


def test_report_and_export_need_no_torch(whole, tmp_path):
    copy = tmp_path / "study"
    shutil.copytree(whole.folder, copy)

    def run(*argv: str) -> str:
        command = [sys.executable, "-W", "error", "-c", NO_TORCH, *argv]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    page = msgspec.structs.replace(from_json(run("report", "study", "--json")), study=str(whole.folder))
    assert to_json(but_for_its_time(page)) == to_json(but_for_its_time(whole.page()))
    assert run("export", "study").strip() == "study/measurements.parquet"
    pd.testing.assert_series_equal(pd.read_parquet(copy / "measurements.parquet")["value"], whole.table["value"])


def test_the_report_is_made_from_the_ledger_alone(whole):
    assert but_for_its_time(Study.open(whole.folder).page()) == but_for_its_time(whole.page())


def test_a_partial_study_says_so(small, folder):
    with pytest.raises(KeyboardInterrupt):
        lashley.locate(Counting(small, 3), **ASK, study=folder)
    page = Study.open(folder).page()
    (incomplete,) = [c for c in page.caveats if "Incomplete" in c]
    answered, planned = Study.open(folder).ledger.progress()
    assert f"{answered:,} of {planned:,}" in incomplete and f"lashley resume {folder}" in incomplete
    assert page.finding.sentence


def test_a_whole_study_does_not_say_so(whole):
    assert not any("Incomplete" in c for c in whole.page().caveats)


def test_exclusions_stand_on_the_page_and_in_the_table(bench, tmp_path):
    """Prompts under which the object does not come first are recorded, never dropped in silence."""
    study = lashley.knockout(
        bench, relation="capital", max_facts=8, register="dialogue", language="es", study=tmp_path / "s"
    )
    gone = study.table[study.table["excluded"]]
    assert len(gone) == len(study.page().exclusions) == len(study.ledger.exclusions())
    assert gone["value"].isna().all()
    asked = study.table.drop_duplicates(["subject", "template"])
    assert len(asked) >= 8


# -- disks --------------------------------------------------------------------------------------------------------

FAULTS = {errno.ENOSPC: "full|free some space", errno.EROFS: "cannot be written|may write to"}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_disk_that_fails_is_one_line_and_the_study_goes_on_afterwards(small, whole, folder, monkeypatch, fault):
    """As root no permission stops us: the lowest call that would fail plays the disk."""

    def fail(*_, **__):
        raise OSError(fault, os.strerror(fault))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(BrokenStudy, match=FAULTS[fault]) as caught:
            lashley.locate(small, **ASK, study=folder)
        assert "\n" not in str(caught.value)
    study = lashley.locate(small, **ASK, study=folder)
    same(study, whole)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(BrokenStudy, match=FAULTS[fault]):
            study.write()
    assert not (folder / "report.html").exists()
    assert study.write().is_file()


def test_a_disk_that_fills_up_in_the_midst_keeps_what_was_committed(small, whole, folder, monkeypatch):
    commit, packs = Ledger.commit, []

    def full(self, chunks):
        packs.append(chunks)
        if len(packs) == 3:
            self._db.execute(f"PRAGMA max_page_count = {self._db.execute('PRAGMA page_count').fetchone()[0]}")
            self.note("filling", "x" * 10**5)
        commit(self, chunks)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "commit", full)
        with pytest.raises(BrokenStudy, match="full"):
            lashley.locate(small, **ASK, study=folder)
    kept = Study.open(folder).ledger.progress()[0]
    assert kept == sum(len(c.values) for chunks in packs[:2] for c in chunks) > 0
    same(lashley.locate(small, **ASK, study=folder), whole)
