"""What is inside a model, with no study: what it knows, and activations of a text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lashley.core.case import Known
from lashley.core.errors import BadPrompt, LashleyError
from lashley.core.progress import Progress, silent
from lashley.core.question import Question
from lashley.core.run import Run
from lashley.core.site import Site, parse_sites
from lashley.engine.bench import Bench
from lashley.engine.checkpoints import EMBEDDED
from lashley.engine.stream import Store
from lashley.facts.base import shipped
from lashley.facts.question import resolve
from lashley.models.embedded.check import figures
from lashley.prompts.joining import settled
from lashley.prompts.recall import recall


def known(bench: Bench, relation: str, language: str = "en", progress: Progress = silent) -> list[Known]:
    """Which facts of a relation the model knows: its object ranks first on at least half of the templates."""
    asked = settled(bench, resolve(Question(relation=relation, language=language)))
    found = []
    for number, fact in enumerate(asked.facts):
        progress("asking what the model knows", number, len(asked.facts))
        try:
            answers = recall(bench, asked.relation, [fact], asked.templates)
        except BadPrompt as e:
            found.append(Known(fact, 0, 0, str(e)))
            continue
        wrong = [a.better for a in answers if a.better]
        first = len(answers) - len(wrong)
        found.append(Known(fact, first, len(answers), max(wrong, key=wrong.count) if wrong else ""))
    return found


def check(bench: Bench, progress: Progress = silent) -> dict[str, Any]:
    """What the embedded model knows: shares of prompts, facts and minimal pairs; see `lashley.models.embedded.check`.

    Of any other model: the share of facts known, for each shipped relation.
    """
    if bench.model.name == EMBEDDED:
        progress("asking every fact under every template", 0, 1)
        return figures(bench.model.module, bench.tokens.tokenizer)
    shares = {}
    for name in shipped():
        facts = known(bench, name, progress=lambda w, d, t, name=name: progress(f"{name}: {w}", d, t))
        shares[name] = sum(k.known for k in facts) / len(facts)
    return {"relations": shares}


def read(
    bench: Bench,
    texts: str | Path,
    sites: str | Sequence[str | Site],
    out: str | Path,
    store: Store = "float32",
    progress: Progress = silent,
) -> dict[Site, np.ndarray]:
    """Activations at `sites` (`L3.mlp+L5.attn.h1`) of every line of a text file, into .npy files in the folder
    `out`; see `Bench.stream`. Blank lines are left out; runs are numbered from 0 without them.

    Raises `BadSite`, `BadPrompt` with the line, and `LashleyError`; nothing is left behind then.
    """
    wanted = tuple(bench.anatomy.check(site) for site in parse_sites(site_text(sites), bench.anatomy))
    total = 0
    for run in _lines(bench, texts):  # a slip in the last line is told before anything is computed
        total += 1
        for site in wanted:
            run.resolve(site)
    runs = _lines(bench, texts)
    return bench.stream(runs, wanted, out, store, lambda done: progress("reading", done, total))


def _lines(bench: Bench, texts: str | Path) -> Iterator[Run]:
    """The lines of a text file as runs."""
    number = 0
    try:
        with Path(texts).open(encoding="utf-8") as file:
            for line in file:
                number += 1
                if line.strip():
                    yield bench.tokens.run(line.rstrip("\r\n"))
    except BadPrompt as e:
        raise BadPrompt(f"{texts}, line {number}: {e}") from e
    except (OSError, UnicodeDecodeError) as e:
        why = e.strerror if isinstance(e, OSError) else "it is not UTF-8"
        raise LashleyError(f"{texts} cannot be read ({why}); give a text file, one text a line") from e


def site_text(sites: Any) -> Any:
    """Sites as one text, where they are a list.

    >>> site_text(["L4.mlp.n1", "L5.attn+L6.attn"]), site_text("heads")
    ('L4.mlp.n1 L5.attn+L6.attn', 'heads')
    """
    return " ".join(map(str, sites)) if isinstance(sites, list | tuple) else sites
