"""A page of synthetic data shaped like `locate` and `knockout`: python tests/report/demo_page.py FOLDER."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from lashley.core.figure import Column, Control, Estimate, Figure, Finding, Omission, Table
from lashley.core.site import ROLES
from lashley.report import Page, terminal, write
from lashley.report.charts import DAMAGE, RESTORATION, bars, curves, heat, ranks
from lashley.report.charts import table_of as table

FLOOR = 0.002
LAYERS = 18
CONTROL = Estimate(0.006, -0.031, 0.048, n=200)
ABOUT = "12 prompts of capital(France) on 4 templates; 95% bootstrap intervals, clustered by template"


def _frame(rng: np.random.Generator, rows: list[dict], truth: np.ndarray, spread: float | np.ndarray) -> pd.DataFrame:
    """Rows with the mean and an interval of 12 noisy prompts."""
    sd = np.broadcast_to(spread, truth.shape) * rng.uniform(0.5, 1.6, truth.shape)
    effect, half = truth + rng.normal(0, 1, truth.shape) * sd / 3.46, 2.2 * sd / 3.46
    return pd.DataFrame(rows).assign(effect=effect, low=effect - half, high=effect + half, n=12)


def locate(seed: int = 0) -> pd.DataFrame:
    """Layer x role x kind: early MLPs at the last subject token, late attention at the final one."""
    rng = np.random.default_rng(seed)
    rows, truth = [], []
    for kind in ("resid", "attn", "mlp"):
        for layer in range(LAYERS):
            for role in ROLES:
                early, late = 1 / (1 + np.exp(layer - 10)), 1 / (1 + np.exp(11 - layer))
                mean = {
                    ("resid", "subject_last"): 0.93 * early, ("resid", "final"): 0.98 * late,
                    ("resid", "subject_first"): 0.3 * early**3, ("resid", "subject_middle"): 0.18 * early,
                    ("resid", "relation"): 0.1 * np.exp(-(((layer - 11) / 2) ** 2)),
                    ("attn", "final"): 0.4 * np.exp(-(((layer - 12) / 1.6) ** 2)),
                    ("attn", "subject_last"): 0.08 * np.exp(-(((layer - 3) / 2) ** 2)),
                    ("mlp", "subject_last"): 0.46 * np.exp(-(((layer - 4) / 2.4) ** 2)),
                    ("mlp", "final"): 0.22 * np.exp(-(((layer - 15) / 1.5) ** 2)) - 0.2 * (layer == 17),
                    ("mlp", "subject_first"): 0.06 * early,
                }.get((kind, role), 0.0)  # fmt: skip
                rows.append({"kind": kind, "layer": layer, "role": role, "site": f"L{layer}.{kind}@{role}"})
                truth.append(mean)
    return _frame(rng, rows, np.array(truth), 0.02 + 0.12 * np.abs(truth))


def heads(layers: int = 6, each: int = 8, seed: int = 1) -> pd.DataFrame:
    """Damage of every head."""
    rng = np.random.default_rng(seed)
    rows = [
        {"kind": "head", "layer": la, "head": h, "site": f"L{la}.attn.h{h}"}
        for la in range(layers)
        for h in range(each)
    ]
    truth = rng.standard_t(2.2, len(rows)) * 0.03 + 0.015
    return _frame(rng, rows, np.clip(truth, -0.15, 0.5), 0.05)


def neurons(layers: int = LAYERS, each: int = 2048, seed: int = 2) -> pd.DataFrame:
    """Damage of every MLP neuron: 36,864."""
    rng = np.random.default_rng(seed)
    rows = [{"kind": "neuron", "layer": la, "site": f"L{la}.mlp.n{n}"} for la in range(layers) for n in range(each)]
    truth = np.clip(rng.standard_t(1.6, len(rows)) * 0.0008, -0.06, 0.14)
    return _frame(rng, rows, truth, 0.001 + 0.1 * np.abs(truth))


def figures() -> tuple[Figure, ...]:
    where, cut, small = locate(), heads(), neurons()
    shared = {"floor": FLOOR, "about": ABOUT}
    budget = pd.DataFrame(
        {"k": k, "set": s, "effect": e, "low": e - 0.06 * e**0.5, "high": e + 0.06 * e**0.5, "n": 12}
        for k in (1, 3, 10, 30, 100, 300, 1000, 3000, 10000)
        for s, e in (
            ("strongest", 1 - np.exp(-k / 400)),
            ("matched random", k / 40000),
            ("random", k / 90000),
        )
    )
    return (
        heat(
            where, name="where", measure=RESTORATION, **shared,
            title="The last subject token carries the answer up to layer 10, the final token after it",
        ),
        curves(
            where[where.role.isin(["subject_last", "final", "relation"])],
            name="by-layer", measure=RESTORATION, panel="kind", **shared,
            title="Middle MLPs at the last subject token and late attention at the final do the work",
        ),
        bars(
            cut, name="heads", measure=DAMAGE, control=CONTROL, **shared,
            title="Of 48 heads, few do more damage than matched random heads",
        ),
        heat(
            cut, name="all-heads", measure=DAMAGE, y="head", panel=None, **shared,
            title="No layer holds all the heads that matter",
        ),
        ranks(
            small, name="neurons", measure=DAMAGE, control=Estimate(0, -0.004, 0.004), **shared,
            title="No single neuron of 36,864 loses more than a seventh of the answer",
        ),
        curves(
            budget, name="budget", measure=DAMAGE, x="k", by="set", about=ABOUT, log=True,
            x_title="neurons knocked out together (log scale)", muted=("matched random", "random"),
            title="About 280 of the strongest neurons together lose half of the answer",
        ),
    )  # fmt: skip


def tables() -> tuple[Table, ...]:
    best = locate().sort_values("effect", ascending=False)
    said = (
        ("The capital of France is", "Paris", True, Estimate(5.31, 4.9, 5.8, n=12)),
        ("Q: What is the capital of France? A:", "Paris", True, Estimate(3.9, 3.2, 4.4, n=12)),
    )
    return (
        table(
            best,
            "The residual stream restores most, at the last subject token and then at the final one",
            {"site": "site", "kind": "kind", "effect": Column("restored", "share"), "layer": "layer"},
            limit=8,
            note="Sorted by the restored share.",
        ),
        Table(
            "The model knows the answer on both templates",
            (Column("prompt"), Column("answer"), Column("known"), Column("difference", "logits")),
            said,
        ),
    )


def page() -> Page:
    return Page(
        title="locate capital(France) in gemma-3-270m",
        question="Where does gemma-3-270m keep that the capital of France is Paris?",
        finding=Finding(
            "Spread out: no single MLP restores more than half of the answer; the strongest, L4.mlp at the "
            "last subject token, restores 0.46 of it [0.42, 0.50].",
            Estimate(0.46, 0.42, 0.50, n=12, unit="of the logit difference"),
            "4 templates, intervals clustered by template; matched random sites restore 0.01 [−0.03, 0.05].",
        ),
        also=(
            Finding("From layer 11 on, the answer is read at the final token.", basis="From L10.4 [9.9, 10.8]."),
            Finding("Half of the answer is lost when 280 neurons go together, in the best set found."),
        ),
        figures=figures(),
        tables=tables(),
        caveats=(
            "One fact and one model: nothing here says how other facts lie.",
            "Corruption swaps the subject for Italy; other corruptions can move it by a layer or two.",
        ),
        not_tested=(
            "Whether a single weight or direction is enough: only layers, heads and neurons were cut.",
            "Languages other than English.",
            "Self-repair: a site whose loss is mended downstream looks unimportant here.",
        ),
        exclusions=(
            Omission("capital(Nauru)", "the model does not know it (rank 61 of 190 on the templates)"),
            Omission("template 'Paris is to France as {} is to'", "answer and foil differ in token length"),
        ),
        controls=(
            Control("identity edit", Estimate(FLOOR, unit="share", n=324), "The noise floor: less is nothing."),
            Control("matched random sites", CONTROL, "Same layer and kind, matched activation norm."),
            Control("untrained copy", Estimate(0.0003, -0.004, 0.005, n=12), "Nothing learnt, nothing found."),
        ),
        environment={
            "model": "google/gemma-3-270m (sha256 3fd1…9c02)",
            "lashley": "0.1.0",
            "torch": "2.9.1 (CPU)",
            "seed": "0",
        },
        command="lashley locate 'capital(France)' --model google/gemma-3-270m --templates 4 --seed 0",
        study="studies/2025-11-22-capital-france",
        created="2025-11-22T16:01:00Z",
    )


if __name__ == "__main__":
    made = page()
    terminal.show(made, write(made, sys.argv[1]).html)
