"""Commands on models: which there are, what they know, what is active in them, and planting a fact in one."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal

from cyclopts import App

from lashley.cli.options import Running, opened
from lashley.report.console import Console, say
from lashley.report.progress import progress_of

models_app = App(name="models", help="The models that can be asked.")


@models_app.command(name="list")
def models_list() -> None:
    """Models by name, and the families that are understood."""
    from lashley.engine.checkpoints import NAMES
    from lashley.engine.families import known

    for name, what in NAMES.items():
        say(f"{name:12} {what}")
    say("or a model folder (safetensors), a .gguf file, a hub id ORG/NAME")
    say(f"families: {', '.join(known())}")


@models_app.command(name="check")
def models_check(*, running: Running | None = None) -> None:
    """What the model knows: facts on trained and held-out templates, and grammar. Also the self-test."""
    from lashley import api
    from lashley.cli import listings

    running = running or Running()
    with progress_of(running.json) as progress:
        bench = opened(running)
        shares = api.check(bench, progress)
    listings.check(Console(), shares, bench.checked, running.json)


def plant(
    kind: str,
    /,
    *,
    fact: str,
    out: Path,
    model: str = "embedded",
    strength: float = 2.0,
    seed: int = 0,
    r: int | None = None,
    how: Literal["untrained", "shuffled weights"] | None = None,
) -> None:
    """Write a model of which it is known where a fact lives, because it was put there; or that it lives nowhere.

    KIND is single, redundant, split, shared or backup; cancelling, dormant, suppressor or unread, in which a naive
    measurement errs; or null.

    Parameters
    ----------
    fact
        The fact with its new object: "landmark(Trevi Fountain)=Madrid".
    out
        A new folder for the model, with truth.json beside it.
    strength
        How far the new object is to win, in gaps between the logits of facts that were learned.
    r
        Over how many neurons: of redundant and split.
    how
        What the weights are: of null.
    """
    from lashley import api

    own = {name: word for name, word in (("r", r), ("how", how)) if word is not None}
    with progress_of(False) as progress:
        truth = api.plant(model, kind, fact, out, strength=strength, seed=seed, progress=progress, **own)
    for role, sites in truth.units.items():
        say(f"{role}: {', '.join(sites)}")
    for name, number in truth.numbers.items():
        say(f"{name}: {number:.2f}")
    for claim in truth.true:
        say(f"true: {claim}")
    for claim in truth.false:
        say(f"false: {claim}")
    claim = next(iter((*truth.true, *truth.false)), f"L0.mlp stores {fact}")
    say(f"audit one with: {shlex.join(['lashley', 'audit', claim, '--model', str(out)])}")


def read(
    texts: Path,
    /,
    *,
    sites: str,
    out: Path,
    store: Literal["float32", "float16"] = "float32",
    running: Running | None = None,
) -> None:
    """Write the activations at some sites for every line of TEXTS, as .npy files.

    Parameters
    ----------
    sites
        What is read: "L3.mlp+L5.attn.h1", at every position, or @final.
    out
        A new folder for a file a site, and an index of runs and positions.
    store
        The numbers that are kept.
    """
    from lashley.core import address

    for word in address.words(sites):
        address.read(word)  # a slip is told before a model is opened

    from lashley import api

    running = running or Running()
    with progress_of(running.json) as progress:
        bench = opened(running)
        found = api.read(bench, texts, sites, out, store, progress)
    for site, array in found.items():
        say(f"{out / f'{site}.npy'}: {len(array):,} positions, {array.shape[1]} numbers each")
