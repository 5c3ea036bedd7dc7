"""kill -9 and Ctrl-C at random moments of a sweep, in processes of their own."""

import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from lashley.core.errors import BrokenStudy
from lashley.study.study import Study

SWEEP = (  # many packs: every neuron of the embedded model under two prompts
    *("knockout", "--relation", "capital", "--subject", "France", "--register", "list"),
    *("--units", "neurons", "--at", "final", "--memory", "1MiB", "--study"),
)
RESUME = ("resume", "--memory", "1MiB")
KILLS = 10


PAUSE = 0.03  # seconds after each commit, so that no machine is too fast to be interrupted


def command(argv: list[str]) -> None:
    """The command line at a walking pace, without its output."""
    from lashley.cli.app import main
    from lashley.study.ledger import Ledger

    commit = Ledger.commit

    def paced(*args) -> None:
        commit(*args)
        time.sleep(PAUSE)

    Ledger.commit = paced
    sys.argv = ["lashley", *argv]
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        main()


@pytest.fixture(scope="module")
def begin():
    """`begin("resume", folder)`: a process that runs a command, with torch imported before it was born."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # other processes may want the cores
        processes = multiprocessing.get_context("forkserver")
        processes.set_forkserver_preload(["lashley.api"])

        def started(*argv: object):
            process = processes.Process(target=command, args=([str(a) for a in argv],))
            process.start()
            return process

        yield started


@pytest.fixture(scope="module")
def finish(begin):
    def finished(*argv: object) -> None:
        process = begin(*argv)
        process.join(120)
        assert process.exitcode == 0

    return finished


@pytest.fixture(scope="module")
def undisturbed(finish, tmp_path_factory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("undisturbed") / "study"
    finish(*SWEEP, folder)
    return Study.open(folder).table


def answered(folder: Path) -> tuple[int, int]:
    """Trials answered and planned so far; (0, 0) before there is a study."""
    try:
        study = Study.open(folder)
    except BrokenStudy:
        return 0, 0
    done = study.ledger.progress()
    study.ledger.close()
    return done


def until(folder: Path, share: float, alive: Callable[[], bool]) -> int:
    """Wait until a share of the trials is answered, and a moment longer; how many there were. pytest's own timeout ends
    it where a study does not come on."""
    while True:
        done, planned = answered(folder)
        if planned and done >= share * planned:
            time.sleep(random.uniform(0, 0.03))  # any moment between two commits
            return done
        assert alive()
        time.sleep(0.005)


def equal(folder: Path, undisturbed: pd.DataFrame) -> None:
    table = Study.open(folder).table
    assert not table.duplicated(["sweep", "trial"]).any()
    pd.testing.assert_frame_equal(table, undisturbed, check_exact=True)


def test_killed_at_ten_random_moments_then_resumed_equals_undisturbed(tmp_path, begin, finish, undisturbed):
    folder = tmp_path / "study"
    chance = random.Random(1929)
    committed = 0
    for number, share in enumerate(sorted([0.0, *(chance.uniform(0, 0.9) for _ in range(KILLS - 1))])):
        process = begin(*RESUME, folder) if number else begin(*SWEEP, folder)
        seen = until(folder, share, process.is_alive)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "it had ended before"
        kept, planned = answered(folder)
        assert committed <= seen <= kept < planned, "something committed was lost, or there was nothing left to kill"
        committed = kept
    finish(*RESUME, folder)
    equal(folder, undisturbed)


def test_ctrl_c_says_how_to_go_on_and_keeps_what_is_measured(tmp_path, finish, undisturbed):
    folder = tmp_path / "study"
    process = subprocess.Popen(
        [sys.executable, __file__, *SWEEP, str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    seen = until(folder, 0.2, lambda: process.poll() is None)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error == f"lashley: stopped; what is measured is kept, and `lashley resume {folder}` goes on\n"
    kept, planned = answered(folder)
    assert seen <= kept < planned
    finish(*RESUME, folder)
    equal(folder, undisturbed)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored
    command(sys.argv[1:])
