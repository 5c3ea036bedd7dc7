"""How often something is found where nothing was learned: in copies of a model, each with random weights of its own.

python tools/untrained_findings.py [--copies 40] [--model embedded]     prints a line a copy; some ten seconds each

Of each copy: the circuit that `lashley circuit` reports, sought on prompts that the trained model answers; the heads
whose operation is recognised; and whether `lashley spread` says anything at all of a fact.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import lashley
from lashley.core.errors import BadFact
from lashley.engine.bench import Bench
from lashley.experiments.circuit import Params
from lashley.experiments.circuit.reading import read
from lashley.facts.base import shipped
from lashley.features.operations import operations
from lashley.stats.inference import clopper_pearson
from lashley.stats.recognised import recognised
from lashley.stats.summary import measured

PROMPTS = (
    {"task": "agreement"},
    {"relation": "capital", "register": "list"},
    {"relation": "currency", "register": "list"},
    {"relation": "language", "register": "list"},
)
FIRST = 1000  # seed of the first copy; those that controls are drawn from are small numbers


def circuit(trained: Bench, seed: int) -> bool | None:
    """Whether a circuit is reported in the copy of this seed, on prompts of the trained model; None: no part of up
    to half of its edges keeps enough to be asked about."""
    bench = Bench(trained.model, trained.path)
    bench.untrained = partial(Bench.untrained, bench, seed)
    with tempfile.TemporaryDirectory() as folder:
        words = PROMPTS[seed % len(PROMPTS)]
        study = lashley.circuit(
            bench, study=Path(folder) / "study", max_facts=12, operations=False, exact=24, rivals=19, seed=seed, **words
        )
        exists = read(measured(study.table), Params.least, {}, "untrained").exists
        study.ledger.close()
    return exists.there if exists else None


def spread(copy: Bench, seed: int) -> bool:
    """Whether anything is said of how a fact is spread over the copy's neurons."""
    relations = sorted(shipped())
    relation = shipped()[relations[seed % len(relations)]]
    subject = sorted(relation.objects)[seed % len(relation.objects)]
    with tempfile.TemporaryDirectory() as folder:
        try:
            words = {"relation": relation.name, "subject": subject, "beside": 0}
            lashley.spread(copy, study=Path(folder) / "study", **words).ledger.close()
        except BadFact:
            return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--copies", type=int, default=40)
    parser.add_argument("--model", default="embedded")
    words = parser.parse_args()
    trained = lashley.open_model(words.model)
    found: dict[str, list[bool | None]] = {"circuit": [], "operation": [], "spread": []}
    for seed in range(FIRST, FIRST + words.copies):
        begun = time.monotonic()
        copy = trained.untrained(seed)
        found["circuit"].append(circuit(trained, seed))
        found["operation"].append(any(x.any() for x in recognised(operations(copy, (), seed)).values()))
        found["spread"].append(spread(copy, seed))
        said = ", ".join(name for name, each in found.items() if each[-1]) or "nothing"
        print(f"copy {seed}: {said}  ({time.monotonic() - begun:.0f} s)", flush=True)
    for name, each in found.items():
        n = sum(map(bool, each))
        low, high = clopper_pearson(n, len(each))
        print(f"{name}: reported of {n} of {len(each)} copies, {n / len(each):.1%} [{low:.1%}, {high:.1%}]")
    asked = sum(x is not None for x in found["circuit"])
    print(f"of {asked} of the copies a part of at most half the edges kept enough to be asked about")


if __name__ == "__main__":
    main()
