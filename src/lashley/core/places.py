"""Where what outlives a command is kept, studies apart: in LASHLEY_HOME, or where the system keeps such things."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache() -> Path:
    """The folder of what can be made again: `cache` in LASHLEY_HOME, or the user's cache."""
    return home / "cache" if (home := _home()) else platformdirs.user_cache_path("lashley")


def data() -> Path:
    """The folder of what the user gave: LASHLEY_HOME itself, or the user's data folder."""
    return _home() or platformdirs.user_data_path("lashley")


def _home() -> Path | None:
    home = os.environ.get("LASHLEY_HOME", "")
    return Path(os.path.expanduser(home)) if home else None  # noqa: PTH111  (a user who is not there is no error)
