"""How often `lashley spread` counts planted units exactly: r redundant neurons, and one value split over r.

python tools/spread_on_plants.py [--seeds 1] [--most 8]     prints a table; minutes a plant
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import lashley
from lashley.core.errors import BadPlant
from lashley.models import planted
from lashley.stats.inference import clopper_pearson

TRIES = 6  # facts that are tried for one plant
RELATIONS = ("landmark", "capital", "language")


def counted(bench, kind: str, r: int, seed: int) -> tuple[int | None, int | None, int] | None:
    """k_n(0.5), k_s(0.5) and the number of disjoint sufficient sets; None where no fact could be planted."""
    for attempt in range(TRIES):
        fact = planted.draw(bench, RELATIONS[seed % len(RELATIONS)], 1000 * seed + 10 * r + attempt)
        with planted.undoing(bench):
            try:
                planted.find(kind).plant(bench, fact, seed=seed, r=r)
            except BadPlant:
                continue
            with tempfile.TemporaryDirectory() as folder:
                study = lashley.spread(
                    bench, study=Path(folder) / "study", relation=fact.relation, subject=fact.subject,
                    object=fact.object, screen=96, sample=0, beside=0, budget=100,
                )  # fmt: skip
                found = study.result
                study.ledger.close()
                k_n, k_s = (sets["0.5"].units if "0.5" in sets else None for sets in (found.k_n, found.k_s))
                return k_n, k_s, len(found.disjoint)
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--most", type=int, default=8)
    parser.add_argument("--model", default="embedded")
    words = parser.parse_args()
    bench = lashley.open_model(words.model)
    right: list[bool] = []
    print("plant        r  seed   k_n  k_s  disjoint  exact")
    for seed in range(words.seeds):
        for kind in ("redundant", "split"):
            for r in range(1 if kind == "redundant" else 2, words.most + 1):
                begun = time.monotonic()
                got = counted(bench, kind, r, seed)
                if got is None:
                    print(f"{kind:10} {r:3} {seed:5}   no fact of {TRIES} could be planted", flush=True)
                    continue
                truth = (r, 1, r) if kind == "redundant" else (1, r, 1)
                right.append(got == truth)
                cells = " ".join(f"{x if x is not None else '-':>5}" for x in got)
                seconds = time.monotonic() - begun
                print(f"{kind:10} {r:3} {seed:5} {cells}      {got == truth}  ({seconds:.0f} s)", flush=True)
    low, high = clopper_pearson(sum(right), len(right))
    print(f"exact in {sum(right)} of {len(right)}: {sum(right) / max(len(right), 1):.0%} [{low:.0%}, {high:.0%}]")


if __name__ == "__main__":
    main()
