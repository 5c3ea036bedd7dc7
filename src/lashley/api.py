"""The laboratory from Python.

    import lashley
    bench = lashley.open_model("embedded")
    study = lashley.locate(bench, relation="capital", subject="France")
    study.table                      # a tidy data frame
    study.figures[0]                 # shows itself in a notebook
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from lashley import experiments
from lashley.core.errors import LashleyError
from lashley.engine.bench import Bench
from lashley.engine.checkpoints import EMBEDDED, load
from lashley.engine.selftest import checked
from lashley.facts.question import Question
from lashley.study import Progress, Study, _silent, begin


def open_model(
    name: str = EMBEDDED, *, device: str = "cpu", dtype: str = "float32", memory: str | int = "512MiB"
) -> Bench:
    """A model on the bench, self-tested: by name, folder, GGUF file or hub id. `memory` bounds activations in
    flight. Raises `BadModel` or `UnknownFamily`."""
    return checked(load(name, device, dtype, size(memory)))


def ask(
    experiment: str,
    bench: Bench | str = EMBEDDED,
    *,
    study: str | Path | None = None,
    progress: Progress = _silent,
    command: str = "",
    **words,
) -> Study:
    """Run one experiment. `words` are the fields of `Question` (relation, subject, prompt, ...) and of the
    experiment's own `Params`. Asked again, it takes up the same study where it stands."""
    module = experiments.find(experiment)
    own = {f.name for f in fields(module.Params)}
    asking = set(Question.__struct_fields__)
    if unknown := set(words) - own - asking:
        raise LashleyError(f"{experiment} has no {', '.join(sorted(unknown))}; it takes {', '.join(sorted(own | asking))}")
    question = Question(**{k: v for k, v in words.items() if k in asking})
    params = module.Params(**{k: v for k, v in words.items() if k in own})
    bench = open_model(bench) if isinstance(bench, str) else bench
    return begin(experiment, params, question, bench, study, command).run(bench, progress)


def locate(bench: Bench | str = EMBEDDED, **words) -> Study:
    """Causal tracing; see `lashley.experiments.locate.Params` and `Question` for the words."""
    return ask("locate", bench, **words)


def knockout(bench: Bench | str = EMBEDDED, **words) -> Study:
    """Knockouts; see `lashley.experiments.knockout.Params` and `Question` for the words."""
    return ask("knockout", bench, **words)


def size(text: str | int) -> int:
    """Bytes from `512MiB`, `2G` or a number. Raises `LashleyError`.

    >>> size("2GiB"), size("512M"), size(4096)
    (2147483648, 536870912, 4096)
    """
    if isinstance(text, int):
        return text
    number = text.strip().lower().removesuffix("ib").removesuffix("b")
    powers = {"k": 10, "m": 20, "g": 30, "t": 40}
    try:
        found = float(number.rstrip("kmgt")) * 2 ** powers.get(number[-1:], 0)
    except ValueError:
        found = 0
    if found < 1 << 20:
        raise LashleyError(f"memory {text!r} is not a size of at least 1MiB; write it as 512MiB or 2GiB")
    return int(found)
