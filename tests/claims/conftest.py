"""Measurements made up by hand: of a neuron that stores a fact, where nothing is said to the contrary."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from lashley.claims.criteria import Evidence

KINDS = ("unrelated text", "distractor facts", "another register", "another language", "few-shot")
CONSTANTS = [f"constant {q}" for q in range(3)]
TRUE = {  # "group measure edit" -> mean effect, of a neuron of which all criteria hold
    **{f"confirm damage {edit}": 0.8 for edit in ("mean", "zero", "resample", "noise")},
    **{f"confirm {c} constant": 0.8 for c in CONSTANTS},
    "confirm restore patch": 0.8,
    "confirm second patch": 0.05,
    "confirm held mean": 0.8,
    "confirm random damage mean": 0.01,
    "confirm random restore patch": 0.01,
    "paraphrase damage mean": 0.8,
    "domain damage mean": 0.8,
    "other damage mean": 0.01,
    "firing damage mean": 0.01,
    "text damage mean": 0.001,
    "fit fit mean mean": 0.3,
    "fit fit zero zero": 0.3,
    **{f"fit fit {c} constant": 0.2 + i / 100 for i, c in enumerate(CONSTANTS)},
}
WEAK = {  # the same neuron, without which the answer is as it was
    **{f"confirm damage {edit}": 0.2 for edit in ("mean", "zero", "resample", "noise")},
    **{f"confirm {c} constant": 0.2 for c in CONSTANTS},
    "confirm held mean": 0.2,
}
Found = Callable[..., Evidence]


def made(
    changed: dict | None = None,
    *,
    templates: int = 10,
    peers: int = 99,
    rivals: int = 3,
    fires: float = 0.1,
    sd: float = 0.02,
    draws: int = 1,
) -> Evidence:
    """`found({"confirm restore patch": 0.2})`: the evidence with that mean in place of its own; of None, no rows.

    `sd` is the spread of template means, and a list of effects, one a row, stands for itself.
    """
    frames = []
    for name, mean in (TRUE | (changed or {})).items():
        if mean is None:
            continue
        group, *measure, edit = name.split()
        rows = pd.DataFrame(_prompts(group, templates, fires))
        if group in ("confirm", "paraphrase"):
            rows = rows.drop(columns="seed").merge(pd.DataFrame({"seed": [str(i) for i in range(draws)]}), "cross")
        if measure[0] == "random":
            rows = rows.head(6).merge(pd.DataFrame({"trial": range(peers), "set": "0"}), "cross")
        if measure[0] == "second":
            rows = rows.merge(pd.DataFrame({"trial": range(rivals), "set": "0"}), "cross")
        wobble = np.resize(np.tile([1.0, -1.0], 1 + len(rows))[: len(rows)], len(rows))
        effect = np.array(mean, float) if isinstance(mean, list) else mean + sd * wobble
        frames.append(rows.assign(group=group, measure=" ".join(measure), edit=edit, effect=effect, sweep=name))
    every = {"trial": 0, "set": "", "question": "0", "clean": 5.0, "corrupt": -5.0, "noise_floor": 1e-5}
    rows = pd.concat(frames, ignore_index=True)
    rows["site"] = rows["measure"] + rows["trial"].fillna(0).astype(int).astype(str)
    for column, value in every.items():
        rows[column] = rows[column].fillna(value) if column in rows else value
    rows["value"] = rows["clean"] - rows["effect"] * (rows["clean"] - rows["corrupt"])
    return Evidence(rows, "template")


@pytest.fixture(scope="session")
def found() -> Found:
    return made


def _prompts(group: str, templates: int, fires: float) -> list[dict]:
    fact = {"relation": "capital", "subject": "France", "pair": "France / Japan", "seed": "0", "context": ""}
    if group in ("confirm", "paraphrase"):
        return [fact | {"template": f"{group} {i}", "prompt": f"{group} {i} France"} for i in range(templates)]
    if group == "domain":
        each = [(kind, i) for kind in KINDS for i in range(2)]
        return [fact | {"template": f"{kind} {i}", "context": kind, "prompt": f"{kind} {i}"} for kind, i in each]
    if group == "text":
        return [{"template": "", "prompt": f"The weather is fine, {i}"} for i in range(12)]
    others = [fact | {"subject": s, "template": t, "prompt": f"{s} {t}"} for s in "ABCDEF" for t in ("x", "y")]
    shares = np.linspace(0.01, fires, len(others))
    most = {"most": f"{fires:.6g} capital(F)", "population": "2261"}
    return [o | {"fires": f"{s:.6g}"} | most for o, s in zip(others, shares, strict=True)]
