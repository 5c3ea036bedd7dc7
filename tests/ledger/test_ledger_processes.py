"""Processes that are killed, and processes at once."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import ledger_makers as make
import numpy as np

from lashley.study.ledger import Ledger

TRIALS, STEP = 20_000, 7
A, B = make.sweep(TRIALS), make.sweep(TRIALS, "Italy")
BEGIN = """
import sys
import ledger_makers as make
from lashley.study.ledger import Ledger
a, b = make.sweep({trials}), make.sweep({trials}, "Italy")
"""
COMMIT_FOREVER = """
with Ledger.open_or_create(sys.argv[1], make.spec()) as ledger:
    ledger.plan([a, b])
    done = ledger.answered()[a.key]
    print("ready", flush=True)
    for start in range(done[-1][1] if done else 0, len(a), {step}):
        stop = min(start + {step}, len(a))
        ledger.commit([make.chunk(a.key, start, stop), make.chunk(b.key, start, stop)])
        print(stop, flush=True)
"""
CREATE_FOREVER = """
from itertools import count
import numpy as np
print("ready", flush=True)
for i in count():
    with Ledger.open_or_create(f"{sys.argv[1]}/{i}", make.spec()) as ledger:
        ledger.plan([a, b])
        ledger.put_arrays("means", {"a": np.arange(1000)})
    print(i, flush=True)
"""
COMMIT_A_SHARE = """
first, every = int(sys.argv[2]), int(sys.argv[3])
for start in range(first, 60, every):
    with Ledger.open_or_create(sys.argv[1], make.spec()) as ledger:
        ledger.plan([a, b])
        ledger.commit([make.chunk(a.key, start, start + 1), make.chunk(b.key, start, start + 1)])
        ledger.note("last", start)
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    code = BEGIN.replace("{trials}", str(TRIALS)) + script.replace("{step}", str(STEP))
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill(process: subprocess.Popen[str], seconds: float) -> int:
    """Let it get ready, wait, kill -9; the last number that it printed, or 0."""
    assert process.stdout and process.stdout.readline() == "ready\n"
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    said, error = process.communicate()
    assert process.returncode == -signal.SIGKILL, error
    return max(map(int, said.split("\n")[:-1]), default=0)


def test_a_study_killed_at_any_moment_opens_and_has_every_answer_it_was_promised(tmp_path):
    chance = random.Random(1929)
    promised = 0
    for _ in range(4):
        said = kill(start(COMMIT_FOREVER, tmp_path / "study"), chance.uniform(0, 0.2))
        promised = max(promised, said)
        with Ledger.open(tmp_path / "study") as ledger:
            done = ledger.answered()
            assert done[A.key] == done[B.key], "half of a commit"
            ((first, stop),) = done[A.key] or [(0, 0)]
            assert first == 0 and promised <= stop
            assert np.array_equal(ledger.values(A.key)[:stop], np.arange(stop) / 7)
            assert ledger._db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert stop > 0


def test_a_creation_killed_at_any_moment_is_finished_by_the_next(tmp_path):
    chance = random.Random(1950)
    for round in range(3):
        root = tmp_path / str(round)
        promised = kill(start(CREATE_FOREVER, root), chance.uniform(0, 0.1))
        for folder in (root / str(i) for i in range(promised + 2)):
            with Ledger.open_or_create(folder, make.spec()) as ledger:
                ledger.plan([A, B])
                assert list(ledger.sweeps()) == [A, B]
                for name in ledger.array_names():
                    assert np.array_equal(ledger.arrays(name)["a"], np.arange(1000))


def test_processes_that_begin_and_fill_one_study_together_lose_nothing(tmp_path):
    together = [start(COMMIT_A_SHARE, tmp_path / "study", i, 3) for i in range(3)]
    for process in together:
        _, error = process.communicate(timeout=60)
        assert process.returncode == 0, error
    with Ledger.open(tmp_path / "study") as ledger:
        assert ledger.answered() == {A.key: [(0, 60)], B.key: [(0, 60)]}
        assert np.array_equal(ledger.values(B.key)[:60], np.arange(60) / 7)
        assert list(ledger.sweeps()) == [A, B]
