"""A study as a reader gets it: the exported table, its heading, and the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow.parquet


class Shown(NamedTuple):
    """One study and what is shown of it."""

    table: pd.DataFrame  # measured rows only
    left_out: pd.DataFrame  # excluded facts
    heading: dict[str, Any]  # question, params, model
    page: dict[str, Any]

    @property
    def params(self) -> dict[str, Any]:
        return self.heading["params"]

    @property
    def layers(self) -> int:
        return int(self.heading["model"]["layers"])


def load(table: str | Path, page: str | Path) -> Shown:
    whole = pyarrow.parquet.read_table(table)
    heading = json.loads((whole.schema.metadata or {})[b"lashley"])
    rows = whole.to_pandas()
    for name in rows.columns[rows.dtypes == "category"]:
        rows[name] = rows[name].astype(object)
    if "asked" not in rows:  # exports of before: the text of the edited run, which is the clean one but for patches
        rows["asked"] = rows["prompt"].where(rows["edit"] != "patch", "")
    out = rows["excluded"].astype(bool)
    return Shown(rows[~out].reset_index(drop=True), rows[out], heading, json.loads(Path(page).read_text()))
