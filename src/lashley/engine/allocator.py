"""Memory that is freed stays with the process, so that each pack computes in the buffers of the last one.

By default glibc gives large buffers back to the system when they are freed, and every new one costs page faults. A
card's memory is kept by torch itself.
"""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # mallopt(3)


def keep_freed(most: int) -> bool:
    """Let the process keep up to `most` bytes that it freed; whether this C library can. Of the whole process."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # not glibc
        return False
    most = min(most, 2**31 - 1)
    return bool(mallopt(MMAP_THRESHOLD, most) and mallopt(TRIM_THRESHOLD, most))
