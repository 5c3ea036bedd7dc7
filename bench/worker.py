"""A tool kept alive as a process of its own: one JSON request a line on stdin, one JSON answer a line on stdout."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))


def serve(**doors: Callable[..., dict]) -> None:
    """Answer `{"door": NAME, ...}` until stdin ends. What libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = doors[asked.pop("door")](**asked)
        except Exception as e:  # told to the one who asked
            traceback.print_exc()
            answer = {"error": f"{type(e).__name__}: {e}".splitlines()[0]}
        print(json.dumps(answer), file=answers, flush=True)


def reset_peak() -> None:
    """Forget the peak of resident memory so far (Linux; elsewhere it stays that of the whole process)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> float:
    """Peak resident memory in GiB since `reset_peak`."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 2**20
    except (OSError, IndexError):
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / (2**30 if sys.platform == "darwin" else 2**20)
