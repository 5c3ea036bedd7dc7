"""Small studies to test the ledger with."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from lashley.core import edit, readout
from lashley.core.run import EmbeddingNoise, Run
from lashley.core.site import Site, Sites
from lashley.core.trial import Chunk, Sweep
from lashley.study.ledger import Spec

FRANCE = Run("The capital of France is", (1, 5, 6, 7, 8, 9), begin=1, subject=(4, 5))
ITALY = Run("The capital of Italy is", (1, 5, 6, 7, 3, 9), 1, (4, 5), EmbeddingNoise(0.1, 7))
TOKENS = ["<bos>", "The", " capital", " of", ' "France"\n,', " is"]
LABELS = {
    "relation": "capital",
    "subject": "France",
    "object": "Paris",
    "tokens": json.dumps(TOKENS),
    "seed": "3",
}

VECTOR = np.arange(4, dtype="<f4").tobytes()
EDITS = (
    edit.Identity(),
    edit.Zero(),
    edit.Mean((FRANCE, ITALY)),
    edit.Noise((FRANCE,), 11),
    edit.Patch(FRANCE),
    edit.Resample(ITALY),
    edit.Constant(VECTOR),
    edit.Add(VECTOR, 2.5),
    edit.ProjectOut(VECTOR),
    edit.Block((0, 2)),
)
READOUTS = (
    readout.LogitDifference((1, 2), (3,)),
    readout.LogProbability((1,)),
    readout.Probability((1,)),
    readout.Rank((1,), (1, 2, 3)),
    readout.KL(),
    readout.Loss(),
)


def spec(**changes: Any) -> Spec:
    fields: dict[str, Any] = {
        "experiment": "locate",
        "params": {"edit": "zero", "windows": (1, 5), "facts": 20},
        "question": {"relation": "capital"},
        "model": {"name": "tiny", "weights": "aa", "tokenizer": "bb", "dtype": "float32", "device": "cpu"},
        "versions": {"lashley": "0.1.0"},
        "command": "lashley locate tiny",
    }
    return Spec(**fields | changes)


def sweep(trials: int = 10, name: str = "France", **changes: Any) -> Sweep:
    fields: dict[str, Any] = {
        "clean": FRANCE,
        "corrupt": ITALY,
        "effect": "damage",
        "edits": (edit.Zero(),),
        "sites": Sites.of([[Site(i // 6, "mlp", None, i % 6)] for i in range(trials)]),
        "readout": READOUTS[0],
        "labels": LABELS | {"subject": name},
    }
    return Sweep(**fields | changes)


def chunk(key: str, start: int, stop: int, **changes: Any) -> Chunk:
    fields: dict[str, Any] = {"clean": 2.0, "corrupt": -1.0, "noise_floor": 1e-6, "path": "packed"}
    return Chunk(key, start, np.arange(start, stop) / 7, **fields | changes)
