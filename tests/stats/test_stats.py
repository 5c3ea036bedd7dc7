"""What the statistics promise: coverage, exactness, p values that are never 0."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from lashley.stats import inference as stats

SIZES = (1, 2, 3, 5, 8, 4)


def normal(rng, shape):
    return rng.standard_normal(shape)


def skewed(rng, shape):
    """Gamma of shape 4: skewness 1, mean 0, standard deviation 1."""
    return (rng.gamma(4.0, size=shape) - 4) / 2


@pytest.mark.parametrize("icc", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("draw", [normal, skewed])
@pytest.mark.parametrize("k", [6, 12, 30])
def test_a_nominal_95_percent_interval_covers_93_to_97_with_clusters_of_unequal_size(k, draw, icc):
    rng, reps = np.random.default_rng(7 * k), 8_000
    labels = np.repeat(np.arange(k), np.resize(SIZES, k))
    x = icc**0.5 * draw(rng, (reps, k))[:, labels] + (1 - icc) ** 0.5 * draw(rng, (reps, len(labels)))
    frame = pd.DataFrame({"x": x.ravel(), "rep": np.repeat(np.arange(reps), len(labels)), "c": np.tile(labels, reps)})
    got = stats.intervals(frame, "rep", "x", "c")
    assert (got.clusters == k).all() and len(got) == reps
    assert 0.93 <= ((got.low <= 0) & (got.high >= 0)).mean() <= 0.97


@pytest.mark.parametrize("draw", [normal, skewed])
@pytest.mark.parametrize("n", [6, 12, 30])
def test_so_does_an_interval_of_single_replicates(n, draw):
    x = draw(np.random.default_rng(n), (8_000, n))
    frame = pd.DataFrame({"x": x.ravel(), "rep": np.repeat(np.arange(8_000), n)})
    got = stats.intervals(frame, "rep", "x")
    assert 0.93 <= ((got.low <= 0) & (got.high >= 0)).mean() <= 0.97


def test_fewer_than_six_replicates_are_not_shown_as_an_interval():
    got = stats.interval([1.0, 2.0, math.nan, 3.0, math.inf])
    assert (got.mean, got.low, got.high) == (2.0, None, None)
    assert (got.n, got.clusters, got.missing, got.dropped) == (3, 3, 3, 2)
    assert stats.interval([1.0] * 6).missing == 0
    assert stats.interval([]) == stats.Interval(None, None, None, 0, 0, 0.95, missing=6)


def test_one_cluster_has_no_interval_however_many_replicates():
    got = stats.interval(np.arange(20.0), ["only template"] * 20)
    assert (got.low, got.n, got.clusters, got.missing) == (None, 20, 1, 1)


def test_constant_data_give_an_interval_of_no_width():
    got = stats.interval([2.0] * 8, list("aabbccdd"))
    assert (got.low, got.mean, got.high) == (2.0, 2.0, 2.0)


def test_every_cluster_weighs_the_same():
    assert stats.interval([0, 0, 0, 0, 0, 3], list("aaaaab")).mean == 1.5


def test_the_level_is_the_level():
    x = np.random.default_rng(0).normal(size=10)
    got = stats.interval(x, level=0.8)
    want = scipy_stats.t.interval(0.8, 9, x.mean(), scipy_stats.sem(x))
    np.testing.assert_allclose((got.low, got.high), want)
    for bad in (0, 1, 95, math.nan):
        with pytest.raises(ValueError, match="level"):
            stats.interval(x, level=bad)
    with pytest.raises(ValueError, match="one label a value"):
        stats.interval(x, ["a"])


def test_intervals_of_a_frame_equal_intervals_one_by_one():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "layer": rng.integers(0, 4, 300),
            "role": rng.choice(["final", "subject_last", None], 300),
            "template": rng.choice(list("uvwxyz"), 300),
            "effect": np.where(rng.random(300) < 0.1, np.nan, rng.normal(size=300)),
        }
    )
    got = stats.intervals(frame, ["layer", "role"], "effect", "template")
    groups = frame.groupby(["layer", "role"], sort=False, dropna=False)
    assert len(got) == len(groups)
    for row, (key, group) in zip(got.itertuples(), groups, strict=True):
        one = stats.interval(group.effect, group.template)
        assert row.layer == key[0] and (row.role == key[1] or pd.isna(row.role))
        np.testing.assert_allclose((row.mean, row.low, row.high), (one.mean, one.low, one.high))
        assert (row.n, row.clusters, row.missing, row.dropped) == (
            one.n,
            one.clusters,
            one.missing,
            one.dropped,
        )


def test_a_frame_of_no_rows_has_no_intervals():
    got = stats.intervals(pd.DataFrame({"a": [], "x": []}), "a", "x")
    assert list(got) == ["a", "mean", "low", "high", "n", "clusters", "missing", "dropped"] and not len(got)


def test_a_group_without_a_finite_value_stays_in_the_table():
    got = stats.intervals(pd.DataFrame({"a": ["u", "v"], "x": [np.nan, 1.0]}), "a", "x")
    assert got.dropped.tolist() == [1, 0] and got.missing.tolist() == [6, 5] and math.isnan(got["mean"][0])


def test_intervals_of_many_neurons_take_no_more_calls_than_those_of_few(calls):
    def asked(neurons: int) -> int:
        index = pd.MultiIndex.from_product([range(neurons), range(12)], names=["neuron", "template"])
        frame = index.to_frame(index=False).assign(effect=np.random.default_rng(0).normal(size=len(index)))
        return calls(lambda: stats.intervals(frame, "neuron", "effect", "template"))

    assert asked(36_864) < asked(36) + 100


def test_sign_flips_are_enumerated_when_few_and_drawn_when_many():
    assert stats.sign_flip([1, 1, 1, 1, 1, 1]) == 2 / 64
    assert stats.sign_flip([1, 1, 1, 1, 1, 1], side="greater") == 1 / 64
    assert stats.sign_flip([1, 1, 1, 1, 1, 1], side="less") == 1
    assert stats.sign_flip(np.ones(40)) == 1 / 10_000
    most = 13  # of whose patterns there are fewer than draws
    assert stats.sign_flip(np.ones(most)) == 2 / 2**most and stats.sign_flip(np.ones(most + 1)) > 1 / 10_000
    x = np.random.default_rng(2).normal(0.4, 1, 30)
    assert stats.sign_flip(x, seed=3) == stats.sign_flip(x, seed=3)
    assert stats.sign_flip(x) == pytest.approx(scipy_stats.ttest_1samp(x, 0).pvalue, abs=0.01)


def test_clusters_flip_as_one():
    assert stats.sign_flip(np.ones(40), np.repeat(list("abcd"), 10)) == 2 / 16


def test_no_data_is_no_evidence():
    assert stats.sign_flip([]) == stats.sign_flip([math.nan]) == stats.permutation([], [1, 2]) == 1


def test_permutation_agrees_with_scipy_and_is_never_zero():
    rng = np.random.default_rng(4)
    a, b = rng.normal(0.8, 1, 6), rng.normal(0, 1, 5)
    for side in ("two-sided", "greater", "less"):
        want = scipy_stats.permutation_test(
            (a, b), lambda u, v, axis: u.mean(axis) - v.mean(axis), alternative=side, n_resamples=np.inf
        ).pvalue
        # scipy doubles the smaller tail; here |difference| is compared
        assert stats.permutation(a, b, side) == pytest.approx(want, abs=0.02 if side == "two-sided" else 1e-12)
    assert stats.permutation(np.full(30, 9.0), np.zeros(30)) == 1 / 10_000
    assert stats.permutation([1.0], [1.0, 1.0, 1.0]) == 1
    with pytest.raises(ValueError, match="side"):
        stats.permutation([1], [2], side="both")


@pytest.mark.parametrize("k", [6, 20])
def test_sign_flip_errs_at_most_alpha_of_the_time(k):
    rng = np.random.default_rng(5)
    p = np.array([stats.sign_flip(rng.normal(size=k), draws=199, seed=i) for i in range(1_000)])
    assert (p <= 0.05).mean() < 0.07 and (p > 0).all()


def test_holm_and_benjamini_hochberg_by_hand():
    p = [0.01, 0.02, 0.03, 0.04, 0.5]
    np.testing.assert_allclose(stats.holm(p), [0.05, 0.08, 0.09, 0.09, 0.5])
    np.testing.assert_allclose(stats.benjamini_hochberg(p), [0.05, 0.05, 0.05, 0.05, 0.5])
    np.testing.assert_allclose(stats.holm([0.9, np.nan, 0.02]), [0.9, np.nan, 0.04])
    grid = np.random.default_rng(6).random((4, 5))
    want = scipy_stats.false_discovery_control(grid.ravel()).reshape(4, 5)
    np.testing.assert_allclose(stats.benjamini_hochberg(grid), want)
    assert len(stats.holm([])) == 0
    with pytest.raises(ValueError, match="between 0 and 1"):
        stats.holm([1.2])


def test_a_p_value_of_one_or_zero_is_a_p_value():
    for adjust in (stats.holm, stats.benjamini_hochberg):
        np.testing.assert_allclose(adjust([1.0, 0.0]), [1.0, 0.0])


def test_clopper_pearson_against_published_values():
    np.testing.assert_allclose(stats.clopper_pearson(0, 20), (0, 0.168433), atol=1e-6)
    np.testing.assert_allclose(stats.clopper_pearson(5, 10), (0.187086, 0.812914), atol=1e-6)
    np.testing.assert_allclose(stats.clopper_pearson(10, 10), (0.691503, 1), atol=1e-6)
    assert stats.clopper_pearson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="between 0 and its total"):
        stats.clopper_pearson(3, 2)


def test_tost_shows_absence_and_a_large_p_does_not():
    rng = np.random.default_rng(8)
    small, wide = rng.normal(0, 0.02, 20), rng.normal(0, 2, 20)
    assert stats.tost(small, 0.1).equivalent is True
    assert stats.tost(wide, 0.1).equivalent is False  # no effect seen, and none excluded
    assert stats.tost(small + 0.3, 0.1).equivalent is False and stats.tost(small + 0.3, 0.1).p > 0.99
    few = stats.tost(small[:4], 0.1)
    assert few.equivalent is None and few.p is None and few.interval.missing == 2
    assert stats.tost(np.zeros(8), 0.1).p == 0 and stats.tost(np.full(8, 0.1), 0.1).equivalent is False
    with pytest.raises(ValueError, match="above 0"):
        stats.tost(small, 0)


@pytest.mark.parametrize("shift", np.linspace(0, 0.1, 11))
def test_tost_is_the_inner_interval_within_the_bounds(shift):
    got = stats.tost(np.random.default_rng(9).normal(shift, 0.1, 24), 0.1, np.repeat(np.arange(8), 3))
    inside = got.interval.low > -0.1 and got.interval.high < 0.1
    assert got.equivalent is inside and got.interval.level == pytest.approx(0.9)


@pytest.mark.parametrize("shift", np.linspace(-0.1, 0.1, 21))
def test_a_comparison_is_the_t_test_of_cluster_means_and_agrees_with_its_interval(shift):
    x = 0.5 + np.random.default_rng(10).normal(shift, 0.1, 24)
    got = stats.compare(x, 0.5, np.repeat(np.arange(8), 3))
    means = x.reshape(8, 3).mean(1)
    assert got.above == pytest.approx(scipy_stats.ttest_1samp(means, 0.5, alternative="greater").pvalue)
    assert got.below == pytest.approx(scipy_stats.ttest_1samp(means, 0.5, alternative="less").pvalue)
    inside = got.interval.low <= 0.5 <= got.interval.high
    assert inside == (2 * min(got.above, got.below) > 0.05) == (got.needed > 0)


def test_a_comparison_of_few_replicates_says_only_how_many_are_missing():
    got = stats.compare([0.9, 0.9, 0.8], 0.5)
    assert (got.above, got.below, got.needed) == (None, None, 3) and got.interval.mean is not None
    one = stats.compare([0.9] * 20, 0.5, ["only template"] * 20)
    assert (one.above, one.needed) == (None, 1)


@pytest.mark.parametrize(("at", "p"), [(0.4, (0.0, 1.0)), (0.6, (1.0, 0.0)), (0.5, (1.0, 1.0))])
def test_constant_data_lie_on_one_side_of_a_threshold_or_on_it(at, p):
    got = stats.compare([0.5] * 8, at)
    assert (got.above, got.below) == p


@pytest.mark.parametrize("shift", [0.01, 0.02, 0.04])
def test_so_many_replicates_more_as_spread_as_these_would_decide(shift):
    """The fewer, the farther the mean lies from the threshold; with one cluster less they would not."""
    k = 6
    x = 0.5 + shift + 0.1 * np.resize([1.0, -1.0], k)
    got = stats.compare(np.repeat(x, 2), 0.5, np.repeat(np.arange(k), 2))
    sd = float(np.std(x, ddof=1))

    def separates(clusters: float) -> bool:
        return float(scipy_stats.t.ppf(0.975, clusters - 1)) * sd / clusters**0.5 < shift

    more = got.needed // 2
    assert got.needed % 2 == 0 and separates(k + more + 50) and not separates(max(k, k + more - 51))
    assert got.needed >= stats.compare(np.repeat(x + 0.01, 2), 0.5, np.repeat(np.arange(k), 2)).needed


@pytest.mark.parametrize("icc", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("n", [6, 12, 30])
def test_intervals_cover_with_so_many_prompts_of_templates(n, icc):
    """As an audit has them: two draws a template. 10,000 rounds: a Monte-Carlo error of 0.2%."""
    rng, reps = np.random.default_rng(n), 10_000
    labels = np.arange(n) // 2
    x = icc**0.5 * normal(rng, (reps, n // 2))[:, labels] + (1 - icc) ** 0.5 * normal(rng, (reps, n))
    frame = pd.DataFrame({"x": x.ravel(), "rep": np.repeat(np.arange(reps), n), "c": np.tile(labels, reps)})
    got = stats.intervals(frame, "rep", "x", "c")
    assert (got.n == n).all() and (got.clusters == n // 2).all()
    assert 0.93 <= ((got.low <= 0) & (got.high >= 0)).mean() <= 0.97


@pytest.mark.parametrize("threshold", np.linspace(0.3, 0.475, 8))
def test_so_many_more_is_the_first_number_at_which_the_interval_lies_on_one_side(threshold):
    x = np.array([0.2, 0.8, 0.5, 0.1, 0.9, 0.6, 0.4, 0.5])
    error = x.std(ddof=1) / np.sqrt(np.arange(9, 9999))
    first = int(np.argmax(scipy_stats.t.ppf(0.975, np.arange(9, 9999) - 1) * error < abs(x.mean() - threshold))) + 9
    assert stats.compare(x, threshold).needed == first - len(x)
