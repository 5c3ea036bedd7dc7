"""An operation is written under the few heads of a circuit that it sets apart, and where most pass, under none."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lashley.experiments.circuit.reading import NAMED, apart
from lashley.stats.recognised import LEAST, UNTRAINED, thresholds

LAYERS, HEADS = 3, 4
EVERY = [f"L{la}.attn.h{h}" for la in range(LAYERS) for h in range(HEADS)]


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=12, max_size=12), st.sets(st.sampled_from(EVERY), min_size=1))
def test_labels_are_of_the_strongest_few_past_chance_and_of_no_crowd(scores, circuit):
    name = "subject to final"
    own = np.reshape(scores, (LAYERS, HEADS))
    arrays = {"operations": {name: own, name + UNTRAINED: np.full((5, LAYERS, HEADS), 0.2)}}
    bound = thresholds(arrays["operations"])[name]
    assert bound == LEAST[name]
    of = dict(zip(EVERY, own.ravel().tolist(), strict=True))
    found = list(apart(arrays, ["L0.mlp", *sorted(circuit)]))
    passing = {head for head in circuit if of[head] > bound}
    assert {d.head for d in found} == passing
    assert all(d.score == of[d.head] and d.bound == bound and d.passing == len(passing) for d in found)
    named = {d.head for d in found if d.named}
    crowd = len(passing) > NAMED and 2 * len(passing) > len(circuit)
    assert len(named) == (0 if crowd else min(NAMED, len(passing)))
    assert not named or min(of[h] for h in named) >= max((of[h] for h in passing - named), default=0.0)


def test_where_nothing_was_scored_nothing_is_written():
    assert list(apart({}, EVERY)) == []
