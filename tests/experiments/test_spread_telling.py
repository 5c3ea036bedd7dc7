"""What a search found and what other prompts confirm are two things: the sentences of a spread give the second."""

import numpy as np
import pandas as pd
import pytest

from lashley.core.figure import Estimate
from lashley.core.outcome import Outcome
from lashley.experiments.spread.measuring import measure
from lashley.experiments.spread.planning import MATCHED, RANDOM, Params
from lashley.experiments.spread.telling import tell
from lashley.stats.summary import share

SEARCH, CONFIRM = [f"search {i} {{}}" for i in range(4)], [f"confirm {i} {{}}" for i in range(8)]
BOTH: tuple[str, ...] = ("k_n(0.5)", "k_n(0.9)", "k_s(0.5)", "k_s(0.9)")


def rows(measure: str, templates, effect, sites: list[str], edit: str = "mean", **words) -> pd.DataFrame:
    """One trial a site set, the same effect on all prompts but for a wobble; `effect` one a set, or one for all."""
    made = []
    for trial, (site, mean) in enumerate(zip(sites, np.broadcast_to(effect, len(sites)), strict=True)):
        for i, template in enumerate(templates):
            value = mean + (0.01 if i % 2 else -0.01)
            made.append({"template": template, "asked": template, "prompt": template, "effect": value, "trial": trial,
                         "site": site, "measure": measure, "edit": edit, "size": site.count("+") + 1})  # fmt: skip
    common = {"relation": "capital", "subject": "France", "object": "Paris", "context": "", "pair": "", "seed": "0",
              "corruption": "noise", "readout": "logit_difference", "clean": 5.0, "corrupt": -5.0, "layer": 0,
              "noise_floor": 1e-6, "question": "0", "group": "confirm", "control": np.nan, "set": np.nan,
              "population": "40", "least": "2", "estimate": np.nan, "copy": np.nan, "excluded": False}  # fmt: skip
    return pd.DataFrame(made).assign(**{**common, **words})


def spread(confirmed: dict[str, float], randoms: list[str], effect: float = 0.1) -> pd.DataFrame:
    every = [f"L0.mlp.n{i}" for i in range(40)]
    parts = [
        rows("alone", SEARCH, np.linspace(0.6, 0.0, 40), every, group="search"),
        rows("curve", CONFIRM, [0.2, 0.5], [every[0], "+".join(every[:2])]),
    ]
    for name, mean in confirmed.items():
        edit = "patch" if "s" in name else "mean"
        parts.append(rows("smallest", CONFIRM, mean, ["L0.mlp.n1+L0.mlp.n2"], edit, set=name))
        for control in (RANDOM, MATCHED):
            parts.append(rows("smallest", CONFIRM[:6], effect, randoms, edit, set=name, control=control))
    return pd.concat(parts, ignore_index=True)


def told(table: pd.DataFrame) -> Outcome:
    return tell(Params(), measure(Params(), table, {}))


@pytest.mark.parametrize("confirmed", [(0.48, 0.3, 1.2, 0.91), (-0.2, 0.0, 0.5, 0.05)])
def test_sentences_give_what_other_prompts_confirm(confirmed):
    confirmed = dict(zip(BOTH, confirmed, strict=True))
    said = told(spread(confirmed, ["L0.mlp.n7+L0.mlp.n8", "L0.mlp.n8+L0.mlp.n9"])).findings
    assert all("Of each run" in f.basis for f in said[:4])
    for name, sentence in zip(BOTH, [f.sentence for f in said], strict=False):
        each = np.clip([confirmed[name] + (0.01 if i % 2 else -0.01) for i in range(8)], -1, 1)
        before, after = sentence.split(" where they were searched", 1)
        assert f"{'half' if '0.5' in name else 'nine tenths'} of the recall" in before and "found to" in before
        assert share(Estimate(each.mean())).rstrip("%").rstrip("0").rstrip(".")[:3] in after


def test_prompts_that_were_searched_on_are_not_called_others():
    both = spread({"k_n(0.5)": 0.6}, ["L0.mlp.n7+L0.mlp.n8"])
    assert "on prompts that nothing was searched on" in told(both).findings[0].sentence
    both.loc[both["group"] == "search", "prompt"] = CONFIRM[0]
    assert "on prompts that nothing was searched on" not in told(both).findings[0].sentence


def test_random_sets_count_once_and_never_the_set_itself():
    drawn = ["L0.mlp.n7+L0.mlp.n8", "L0.mlp.n8+L0.mlp.n7", "L0.mlp.n1+L0.mlp.n2", "L0.mlp.n9+L0.mlp.n7"]
    found = spread({"k_n(0.5)": 0.6, "k_n(0.9)": 0.9}, drawn, effect=-0.15)
    half, most = (measure(Params(), found, {}).k_n[tau].random for tau in ("0.5", "0.9"))
    assert half and most and half.effect == most.effect, "one quantity, one number"
    assert half.effect.n == 2 and half.p == pytest.approx(1 / 3)
    reading = {c.name: c.reading for c in told(found).controls}
    assert all("help the answer" in reading[f"{control} sets, k_n(0.5)"] for control in (RANDOM, MATCHED))
