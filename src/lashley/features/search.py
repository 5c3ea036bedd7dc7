"""Which units look strongest for a fact, on its discovery templates: what is found here is confirmed elsewhere.

A unit without which the model is broken for any text costs every fact its recall, and none of them is in it: such units
are left out, and named. Those that carry the attention sink are of that kind (massive activations at the first
position: Sun et al. 2024, 2402.17762; Xiao et al. 2023, 2309.17453).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from lashley.claims.spread import BREAKS, signed
from lashley.claims.topics import name, prompts
from lashley.core.claim import About
from lashley.core.edit import Edit, Mean, Zero
from lashley.core.errors import BadFact, LashleyError
from lashley.core.figure import number
from lashley.core.progress import Progress
from lashley.core.readout import Loss
from lashley.core.run import Run
from lashley.core.site import Kind, Site, Sites
from lashley.core.trial import Sweep
from lashley.engine.attribution import estimates
from lashley.engine.bench import Bench
from lashley.prompts.effects import effects
from lashley.prompts.pairs import aligned
from lashley.prompts.reference import reference_runs, texts

KIND: dict[str, Kind] = {"neurons": "neuron", "heads": "head"}
SEARCHING = "searching on discovery prompts"
DRAWS = 4  # foils a prompt: what holds against one alone is of the foil
MEASURED = 8  # of the units that gradients rank highest, so many times those asked for are measured


class Strongest(NamedTuple):
    """The units found, strongest first, and in words those that would be among them but break the model."""

    sites: list[Site]
    left_out: list[str]


def search(
    bench: Bench,
    about: About,
    count: int,
    units: str,
    seed: int,
    progress: Progress,
    unknown: bool = False,
    chat: bool = False,
) -> Strongest:
    """The `count` units whose mean knockout costs most of the logit difference, summed over the discovery prompts and
    a few foils of each: gradients rank all, and the first few times as many are measured exactly. `unknown`: whatever
    the model answers. `chat`: prompts are messages in the tokenizer's chat template. Units that break the model do not
    count.

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
    ranked = [chosen[i][0] for i in np.argsort(-exact, kind="stable")]
    unrelated = list(texts(bench, seed))
    broken = dict(zip(ranked, rise(bench, unrelated, ranked, mean), strict=True))
    first = [msgspec.structs.replace(site, position=0) for site in ranked]
    sinks = dict(zip(ranked, rise(bench, unrelated, first, Zero()), strict=True))
    found, left_out = [], []
    for site in ranked:
        if len(found) == count:
            break
        if abs(sinks[site]) >= BREAKS:
            left_out.append(
                f"{site} was left out of the search, for it carries the attention sink: set to zero at the first "
                f"position alone, the loss on unrelated text changes by {signed(sinks[site])} nats a token."
            )
        elif broken[site] >= BREAKS:
            left_out.append(
                f"{site} was left out of the search, for it breaks the model: knocked out, the loss on unrelated text "
                f"rises by {number(broken[site])} nats a token."
            )
        else:
            found.append(site)
    if not found:
        raise BadFact(f"nothing can be searched about {name(about)}: {left_out[0]} So do all {len(ranked)} measured")
    return Strongest(found, left_out)


def rise(bench: Bench, runs: Sequence[Run], sites: Sequence[Site], edit: Edit) -> list[float]:
    """By how much the loss on some texts rises when each site is knocked out, in nats a token."""
    sweeps = [Sweep(run, None, "damage", (edit,), Sites.of([[s] for s in sites]), Loss()) for run in runs]
    return (-np.mean(bench.measure(sweeps), axis=0)).tolist()
