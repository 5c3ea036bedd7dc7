"""What makes a study this one and no other, and the folder that belongs to it."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import msgspec

from lashley import experiments
from lashley.core.errors import BrokenStudy, StudyConflict
from lashley.core.question import Question
from lashley.study.ledger import Spec
from lashley.study.ledger.spec import Usual, difference, read

STUDIES = Path("studies")  # where those go that are given no folder


def usual(experiment: str) -> Usual:
    """What parameters and question are where nothing is said: no part of a study's identity, so that a parameter that
    is added, with a default that does as was done before it, leaves every older study what it was."""
    return {"params": asdict(experiments.find(experiment).Params()), "question": msgspec.to_builtins(Question())}


def place(spec: Spec) -> Path:
    """The folder that belongs to this very question, so that asking again finds it: one of an older lashley, which may
    have called it otherwise, or one with a readable name."""
    q = spec.question
    what = [q["task"] or q["relation"] or "prompt", q["subject"] or "all"]
    if claims := spec.params.get("claims"):
        what = [claims[0][:40]]
    words = [spec.experiment, *what, Path(str(spec.model["name"])).name]
    slug = "-".join(re.sub(r"[^a-z0-9]+", "_", str(w).lower()).strip("_") for w in words)
    held, identity = usual(spec.experiment), spec.identity()
    for part, values in msgspec.to_builtins(held).items():
        identity[part] = {k: v for k, v in identity[part].items() if v != values[k]}
    digest = hashlib.blake2b(msgspec.json.encode(identity, order="deterministic"), digest_size=3).hexdigest()
    own = STUDIES / f"{slug}-{digest}"
    older = sorted(STUDIES.glob(f"{slug}-{'[0-9a-f]' * 6}"))
    return next((folder for folder in (own, *older) if _holds(folder, spec, held)), own)


def _holds(folder: Path, spec: Spec, held: Usual) -> bool:
    """Whether it is the folder of this very study."""
    with suppress(BrokenStudy, StudyConflict):
        return not difference(read(folder / "spec.json")[0], spec, held)
    return False
