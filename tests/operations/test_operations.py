"""Heads of known operation are recognised: of a model trained for induction, and of the embedded one."""

from functools import cache
from pathlib import Path

import numpy as np

import lashley
from lashley.core.edit import Patch, Zero
from lashley.core.question import Question
from lashley.core.readout import LogProbability
from lashley.core.run import Run
from lashley.core.site import KINDS, Sites
from lashley.core.trial import Sweep
from lashley.facts.question import resolve
from lashley.features.operations import _on_random_tokens, operations
from lashley.prompts.pairs import aligned
from lashley.stats.recognised import OPERATIONS, UNTRAINED, recognised

INDUCTION = Path(__file__).parents[1] / "data" / "induction"
PREVIOUS, HEAD = (0, 1), (1, 2)  # as tools/induction_model.py asked for them


@cache
def induction():
    bench = lashley.open_model(str(INDUCTION))
    return bench, operations(bench, (), seed=0)


@cache
def embedded():
    bench = lashley.open_model()
    cases, _, _ = aligned(bench, resolve(Question(relation="capital", register="list", max_facts=3)))
    return bench, cases, operations(bench, cases, seed=0)


def heads(scores, name: str) -> list[tuple[int, int]]:
    return [tuple(at) for at in np.argwhere(recognised(scores)[name]).tolist()]


def said_twice(seed: int) -> tuple[Run, tuple[int, ...]]:
    """Random tokens of which the last was said before, and what followed it then."""
    once = np.random.default_rng(seed).permutation(np.arange(2, 102))[:20].tolist()
    return Run("", (0, *once, *once[:10]), 1), (once[10],)


def test_the_heads_that_training_asked_for_are_recognised():
    _, scores = induction()
    assert heads(scores, "previous token") == [PREVIOUS]
    assert HEAD in heads(scores, "induction")
    assert {layer for layer, _ in heads(scores, "induction")} == {HEAD[0]}  # another may have learnt it as well
    assert scores["induction"][HEAD] == scores["induction"].max()
    assert heads(scores, "duplicate token") == []
    assert HEAD in heads(scores, "copying")


def test_without_the_recognised_induction_head_the_repetition_is_lost_as_without_no_other():
    bench, scores = induction()
    layer, head = np.unravel_index(scores["induction"].argmax(), scores["induction"].shape)
    sites = Sites.pack(int(layer), KINDS.index("head"), list(range(bench.anatomy.heads)))
    asked = [said_twice(seed) for seed in range(10)]
    sweeps = [Sweep(run, None, "damage", (Zero(),), sites, LogProbability(answer)) for run, answer in asked]
    chunks = [chunk for batch in bench.run(sweeps) for chunk in batch]
    lost = np.mean([chunk.clean - chunk.values for chunk in chunks], axis=0)
    assert np.mean([chunk.clean for chunk in chunks]) > np.log(0.5)  # with it, the model can
    assert lost[head] > 1  # nats
    assert lost[head] > np.delete(lost, head).max()


def test_heads_that_extract_the_attribute_are_those_that_recall_suffers_without():
    bench, cases, scores = embedded()
    found = heads(scores, "attribute extraction")
    assert found
    anatomy, damage = bench.anatomy, []
    for case in cases:
        layer, head = np.divmod(np.arange(anatomy.layers * anatomy.heads), anatomy.heads)
        sites = Sites.pack(layer, KINDS.index("head"), head, len(case.clean) - 1)
        sweep = Sweep(case.clean, case.corrupt, "damage", (Patch(case.corrupt),), sites, case.readout)
        ((chunk,),) = bench.run([sweep])
        damage.append(sweep.normalise(chunk.values, chunk.clean, chunk.corrupt))
    damage = np.mean(damage, axis=0).reshape(anatomy.layers, anatomy.heads)
    everywhere = recognised(scores)["attribute extraction"]
    assert damage[everywhere].min() > np.median(damage[~everywhere])
    assert everywhere.flat[damage.argmax()]


def test_scores_have_the_shapes_that_are_promised_and_are_the_same_again():
    bench, scores = induction()
    a = bench.anatomy
    for name in ("previous token", "duplicate token", "induction", "copying"):
        assert scores[name].shape == (a.layers, a.heads)
        assert scores[name + UNTRAINED].shape[1:] == (a.layers, a.heads)
        assert ((scores[name] >= 0) & (scores[name] <= 1)).all()
    again = operations(bench, (), seed=0)
    assert {name: x.tobytes() for name, x in again.items()} == {name: x.tobytes() for name, x in scores.items()}


def test_without_cases_what_needs_them_is_left_out_and_with_them_nothing_is():
    named = [{n for n in scores if not n.endswith(UNTRAINED)} for scores in (induction()[1], embedded()[2])]
    assert named == [set(OPERATIONS) - {"subject to final", "attribute extraction"}, set(OPERATIONS)]


def test_of_untrained_models_at_most_one_in_twenty_has_any_operation():
    bench, _ = induction()
    found = [operations(bench.untrained(100 + seed), (), seed) for seed in range(20)]
    assert sum(any(found.any() for found in recognised(scores).values()) for scores in found) <= 1


def test_an_untrained_embedded_model_has_none_for_the_facts_that_the_trained_one_knows():
    bench, cases, _ = embedded()
    scores = operations(bench.untrained(100), cases, seed=1)
    assert not any(heads(scores, name) for name in OPERATIONS)


def test_where_the_tokenizer_puts_nothing_first_the_sink_is_no_previous_token(monkeypatch):
    """Each head attends to position 0 alone, as most do of most models; without a beginning of text that is a word."""
    bench, _ = induction()

    def sink(runs):
        return [np.broadcast_to(np.eye(1, len(r))[0], (2, 4, len(r), len(r))) for r in runs]

    monkeypatch.setattr(bench, "attend", sink)
    for begin in ((), (1,)):
        monkeypatch.setattr("lashley.features.operations._begin", lambda bench, begin=begin: begin)
        scores = _on_random_tokens(bench, np.arange(2, 102), np.random.default_rng(0))
        assert {name: score.max() for name, score in scores.items()} == {
            "previous token": 0,
            "duplicate token": 0,
            "induction": 0,
        }
