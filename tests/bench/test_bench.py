"""The bench's pure parts: the count of necessary operations, samples, and the results in words."""

import sys
from itertools import product
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from necessary import GEMMA, Shape, all_of, necessary
from render import growth_spec, growth_title, render, targets
from work import ITEMS, LAYERS, NEURONS

KINDS = ("resid", "attn", "mlp", "head", "neuron")
TINY = Shape(layers=3, width=4, heads=2, kv_heads=1, head_width=3, neurons=5)


def by_dependency(shape: Shape, tokens: int, kind: str, layer: int, position: int | None) -> int:
    """The same count from what depends on what: forward, what changes; backward, what is read."""
    query = o = 2 * shape.width * shape.heads * shape.head_width
    keys = 4 * shape.width * shape.kv_heads * shape.head_width
    mlp, score = 6 * shape.width * shape.neurons, 4 * shape.heads * shape.head_width
    everywhere = range(tokens)
    at = [t for t in everywhere if position is None or t == position]
    changed = [t in at and kind == "resid" for t in everywhere]  # the residual stream entering a layer
    total = 0
    for here in range(layer, shape.layers):
        wanted = [here < shape.layers - 1 or t == tokens - 1 for t in everywhere]  # read, now or by a layer above
        attended = [any(changed[: t + 1]) for t in everywhere]
        for t in everywhere:
            total += keys * changed[t] + (query * changed[t] + (o + score * (t + 1)) * attended[t]) * wanted[t]
        moved = [a or (here == layer and kind in ("attn", "head") and t in at) for t, a in enumerate(attended)]
        for t in everywhere:
            total += mlp * moved[t] * wanted[t]
            if here == layer and kind == "head" and t in at and wanted[t]:
                total += 2 * shape.head_width * shape.width
        changed = [m or (here == layer and kind in ("mlp", "neuron") and t in at) for t, m in enumerate(moved)]
    return total


@pytest.mark.parametrize(("kind", "position"), [*product(KINDS, (None, 0, 1, 3))])
def test_necessary_is_what_depends_on_the_edit_and_is_read(kind, position):
    for layer in range(TINY.layers):
        assert necessary(TINY, 4, kind, layer, position) == by_dependency(TINY, 4, kind, layer, position)


def test_a_full_pass_is_the_most():
    weights = 640 * 1024 * 2 + 2 * 640 * 256 + 3 * 640 * 2048
    every = necessary(GEMMA, 10, "resid", 0, None)
    assert 0.9 * 2 * weights * 10 * 17 < every < 2 * weights * 10 * 18 * 1.05
    assert necessary(GEMMA, 10, "neuron", 17, None) == 0
    assert all_of(GEMMA, 10, [("resid", 0, None)] * 3) == 3 * every


def test_items_are_what_they_say():
    assert len(ITEMS["a"].trials) == LAYERS * 6 * 3
    assert len(ITEMS["c"].trials) == LAYERS * NEURONS == 36_864
    for item in ITEMS.values():
        assert len(set(item.trials)) == len(item.trials)


def test_samples_are_nested_and_of_whole_cells():
    for item in ITEMS.values():
        small, large = item.sample(40), item.sample(400)
        assert set(small) < set(large) <= set(range(len(item.trials)))
        cells = [item.trials[i][1:] for i in small]
        assert all(cells.count(c) == len(item.pairs) for c in cells)


RESULTS = {
    "date": "2026-01-02",
    "quick": False,
    "rounds": 3,
    "threads": 2,
    "model": "tiny",
    "machine": {"cpu": "Abacus", "cores": 2, "memory": 24.0, "system": "Linux 6", "python": "3.11.7"},
    "versions": {"lashley": {"torch": "2.13.0"}, "nnsight": {"nnsight": "0.8.1"}},
    "logits": {"transformer_lens": 2e-3},
    "items": {
        "a": {
            "title": "restoration",
            "trials": 10,
            "tokens": 6,
            "runs": [
                {
                    "tool": "transformer_lens",
                    "way": "one",
                    "words": "own",
                    "rounds": [[160.0, 10], [80.0, 5]],
                    "difference": 1e-5,
                },
                {
                    "tool": "nnsight",
                    "way": "many",
                    "words": "{edits} a trace",
                    "rows": 8,
                    "rounds": [[50.0, 10]],
                    "difference": 1e-3,
                },
                {
                    "tool": "lashley",
                    "way": "",
                    "words": "",
                    "rounds": [[2.0, 10], [1.0, 10], [3.0, 10]],
                    "peak": 1.5,
                    "necessary": 4e12,
                    "reached": [100.0],
                    "gflops": [200.0, 190.0],
                    "shares": [0.5],
                },
            ],
        }
    },
    "growth": [{"neurons": 10, "seconds": 1.0, "peak": 2.0}, {"neurons": 80, "seconds": 8.4, "peak": 2.2}],
}


def test_targets_are_met_or_missed_by_the_numbers():
    found = {t.what: (t.measured, t.met) for t in targets(RESULTS)}
    assert found["(a) times as fast as TransformerLens, own"] == ("80.0", True)
    assert "(a) times as fast as nnsight, 8 edits a trace" not in found, "targets are about one edit a pass"
    assert found["(a) largest difference from nnsight, 8 edits a trace, logits"] == ("1.0e-03", False)
    assert found["(a) share of the machine's matrix speed that the necessary operations reach"] == ("50%", False)
    assert found["TransformerLens: largest difference of its logits from plain transformers'"][1] is False


def test_results_say_missed_and_mark_what_is_extrapolated():
    text = render(RESULTS)
    assert "| (a) times as fast as TransformerLens, own | ≥ 75 | 80.0 | met |" in text
    assert "MISSED" in text and "QUICK" not in text
    assert "2.7 min *" in text  # a round of TransformerLens ran 5 of 10
    assert "| nnsight, 8 edits a trace | all, 1 × | 50.0 s |" in text
    assert "2026-01-02, Abacus" in text
    assert "| (a) restoration: 10 trials | 2.00 s | 80.0 × | – | – | 25.0 × |" in text


EDGES = {
    "model": "tiny",
    "pairs": 8,
    "date": "2026-11-24",
    "edges": 479,
    "sets": 64,
    "steps": 50,
    "opened": {"circuitkit": {"versions": {"circuitkit": "0.2.0"}, "logits": 1e-5}},
    "compared": [
        {"work": "eap", "tool": "circuitkit", "own": [1.0], "peer": [3.0], "spearman": 0.98, "difference": 1e-6},
        {"work": "patch", "tool": "auto_circuit", "own": [2.0, 4.0], "peer": [30.0, 60.0], "difference": 2e-5},
    ],
}


def test_edges_are_told_where_they_were_measured():
    results = RESULTS | {"edges": EDGES}
    found = {t.what: (t.measured, t.met) for t in targets(results)}
    assert found["(edges) Spearman correlation of EAP with circuitkit's"] == ("0.9800", False)
    assert found["(edges) largest difference from AutoCircuit under patched edge sets, logits"] == ("2.0e-05", True)
    text = render(results)
    assert "| 64 random edge sets, exactly patched | AutoCircuit | 3.00 s | 45.0 s | 15.0 × | – | 2.0e-05 |" in text
    assert "| EAP of all 479 edges | circuitkit | 1.00 s | 3.00 s | 3.0 × | 0.9800 | 1.0e-06 |" in text
    assert "The peers' environments" not in render(RESULTS)


def test_the_figure_says_what_is_seen():
    title = growth_title(RESULTS["growth"])
    assert title == "8 times as many knockouts take 8.4 times as long, and 1.10 times the memory"
    titles = [panel["encoding"]["y"]["axis"]["title"] for panel in growth_spec(RESULTS["growth"])["hconcat"]]
    assert titles == ["time (s)", "peak resident memory (GiB)"]
