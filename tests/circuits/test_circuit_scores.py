"""Areas on curves whose areas are known, and how often a circuit is reported where there is none."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

from lashley.experiments.circuit.scores import cmd, cpr, existence, shares
from lashley.experiments.circuit.subgraphs import SIZES
from lashley.stats.inference import clopper_pearson


def test_the_whole_at_every_size_has_the_largest_ratio_and_no_distance():
    ones = np.ones(len(SIZES))
    assert cpr(SIZES, ones) == pytest.approx(0.999) and cmd(SIZES, ones) == 0
    assert cpr(SIZES, ones, log=True) == pytest.approx(math.log(1000)) and cmd(SIZES, ones, log=True) == 0


def test_a_straight_line_has_its_integral():
    k = np.array(SIZES)
    assert cpr(k, k) == pytest.approx(quad(lambda x: x, 0.001, 1)[0])
    assert cmd(k, 2 - k) == pytest.approx(quad(lambda x: abs(1 - (2 - x)), 0.001, 1)[0])
    assert cpr(k, np.log(k), log=True) == pytest.approx(quad(lambda x: x, math.log(0.001), 0)[0])


def test_too_faithful_is_a_distance_too():
    k = np.array(SIZES)
    assert cmd(k, 1 + k) == pytest.approx(cmd(k, 1 - k)) and cpr(k, 1 + k) > cpr(k, 1 - k)


def found(rng, prompts=12, draws=39, gap=0.0, effect=0.0, spread=1.0):
    """A synthetic table: gaps of mean `gap`, readouts of the circuit `effect` above those of random circuits; prompts
    share what is theirs, whatever is patched."""
    own = rng.normal(0, 1, prompts)
    gaps = rng.normal(gap, spread, prompts)
    chance = own + rng.normal(0, 0.3, (draws, 1)) + rng.normal(0, spread, (draws, prompts))
    circuit = own + effect + rng.normal(0, 0.3) + rng.normal(0, spread, prompts)
    return existence(gaps, circuit, chance, np.arange(prompts))


NULLS = {
    "nothing at all": {},
    "a gap, and a circuit like any other": {"gap": 3.0},
    "a circuit that does something, and no gap": {"effect": 2.0},
    "few prompts": {"gap": 3.0, "prompts": 6},
    "few random circuits": {"gap": 3.0, "draws": 19},
}


@pytest.mark.parametrize("null", NULLS.values(), ids=NULLS.keys())
def test_without_an_effect_a_circuit_is_reported_at_most_one_time_in_twenty(null):
    rng = np.random.default_rng(0)
    times = 600
    false = sum(bool(found(rng, **null).there) for _ in range(times))
    assert clopper_pearson(false, times, 0.99)[0] <= 0.05, false / times


def test_with_an_effect_it_is_reported():
    rng = np.random.default_rng(0)
    assert sum(bool(found(rng, gap=3.0, effect=2.0).there) for _ in range(100)) >= 90


def test_what_speaks_against_it_is_said():
    rng = np.random.default_rng(0)
    said = found(rng, prompts=4, gap=9.0, effect=9.0)
    assert said.there is None and said.missing == 2 and "2 more prompts" in said.why
    assert "not told apart" in found(rng, gap=-3.0, effect=9.0).why
    assert "random circuits" in found(rng, gap=9.0, effect=-9.0).why


def test_edges_that_every_prompt_agrees_on_are_always_in_and_others_come_and_go():
    scores = np.array([[5.0, 1.2, 1.0, 0.0], [5.0, 1.0, 1.2, 0.0]] * 4)
    inside = shares(scores, 2, [str(i) for i in range(8)])
    assert inside[0] == 1 and inside[3] == 0
    assert 0.2 < inside[1] < 0.8 and inside[1] + inside[2] == pytest.approx(1)


def test_the_sign_of_a_score_does_not_matter():
    assert shares(np.array([[-5.0, 1.0]] * 6), 1, list("abcdef")).tolist() == [1.0, 0.0]
