"""Which units look strongest for a fact, on its discovery templates: what is found here is confirmed elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lashley.claims.topics import name, prompts
from lashley.core.claim import About
from lashley.core.edit import Mean
from lashley.core.errors import BadFact, LashleyError
from lashley.core.site import Kind, Site
from lashley.core.trial import Sweep
from lashley.effects import effects
from lashley.engine.attribution import estimates
from lashley.engine.bench import Bench
from lashley.recall import aligned, reference_runs

KIND: dict[str, Kind] = {"neurons": "neuron", "heads": "head"}
SEARCHING = "searching on discovery prompts"
DRAWS = 4  # foils a prompt: what holds against one alone is of the foil
MEASURED = 8  # of the units that gradients rank highest, so many times those asked for are measured


def search(
    bench: Bench,
    about: About,
    count: int,
    units: str,
    seed: int,
    progress: Callable[[str, int, int], None],
    unknown: bool = False,
    chat: bool = False,
) -> list[Site]:
    """The `count` units whose mean knockout costs most of the logit difference, summed over the discovery prompts and
    a few foils of each: gradients rank all, and the first few times as many are measured exactly. `unknown`: whatever
    the model answers. `chat`: prompts are messages in the tokenizer's chat template.

    Raises `BadFact` where the model does not know the fact.
    """
    if count < 1 or units not in KIND:
        raise LashleyError(f"strongest {count} {units}: ask for 1 or more, of {' or '.join(KIND)}")
    (asked,) = prompts(about, seed, True, 0, chat=chat).groups["discovery"]
    cases, gaps, gone = aligned(bench, asked, draws=DRAWS, seed=seed, need="none" if unknown else "half")
    if not cases:
        raise BadFact(f"nothing can be searched about {name(about)}: {gone[0].reason if gone else 'it has no prompts'}")
    mean = Mean(reference_runs(bench, asked, cases, seed))
    every = bench.anatomy.every(KIND[units])
    frame = [(c, Sweep(c.clean, c.corrupt, "damage", (mean,), every, c.readout)) for c in cases]
    guessed = -np.sum(list(estimates(bench, [s for _, s in frame])), axis=0)
    best = np.argsort(-guessed, kind="stable")[: MEASURED * count]
    chosen = [every[i] for i in best]
    exact = effects(bench, cases, chosen, edit=mean, progress=lambda *n: progress(SEARCHING, *n)) @ gaps
    return [chosen[i][0] for i in np.argsort(-exact, kind="stable")[:count]]
