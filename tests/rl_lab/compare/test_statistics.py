"""The statistics, checked against exact small cases, naive implementations of the definitions, and SciPy."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import trim_mean

from rl_lab.compare.statistics import (
    bootstrap,
    curve_band,
    estimate,
    iqm,
    mean,
    median,
    performance_profile,
    probability_of_improvement,
)

numbers = st.floats(-100, 100, allow_nan=False)
score_sets = st.lists(st.lists(numbers, min_size=1, max_size=6).map(np.array), min_size=1, max_size=5)
count_lists = st.integers(1, 3).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 3), min_size=1, max_size=4)] * 2 * n)
)


@given(score_sets)
def test_iqm_mean_and_median_match_scipy_and_numpy(scores):
    samples = [s[None] for s in scores]
    pooled = np.concatenate(scores)
    env_means = [s.mean() for s in scores]
    assert iqm(samples)[0] == pytest.approx(trim_mean(pooled, 0.25), abs=1e-9)
    assert mean(samples)[0] == pytest.approx(np.mean(env_means), abs=1e-9)
    assert median(samples)[0] == pytest.approx(np.median(env_means), abs=1e-9)


def test_bootstrap_has_the_exact_distribution_of_all_resamples():
    """Two environments with 3 and 2 seeds have 27 x 4 equally likely resamples."""
    scores = [np.array([0.0, 1.0, 5.0]), np.array([2.0, 3.0])]
    first_env = itertools.product(scores[0], repeat=3)
    second_env = itertools.product(scores[1], repeat=2)
    exact = np.sort([(np.mean(a) + np.mean(b)) / 2 for a, b in itertools.product(first_env, second_env)])
    samples = bootstrap(scores, mean, replicates=100_000, seed=1)
    for value in np.unique(exact):
        assert (samples <= value + 1e-9).mean() == pytest.approx((exact <= value + 1e-9).mean(), abs=0.007)
    found = estimate(scores, mean)
    low, high = np.percentile(exact, [2.5, 97.5], method="inverted_cdf")
    assert (found.value, found.low, found.high) == pytest.approx((2.25, low, high), abs=1e-9)


def test_intervals_of_ten_seeds_contain_the_true_mean_in_about_95_percent_of_cases():
    """Three environments with 10 normally distributed scores each. The bootstrap is slightly too narrow for so few."""
    rng = np.random.default_rng(0)
    num_covered = 0
    for i in range(200):
        found = estimate([rng.normal(env, 1, 10) for env in range(3)], mean, replicates=1000, seed=i)
        num_covered += found.low <= 1 <= found.high
    assert 0.86 <= num_covered / 200 <= 0.98


def test_fifty_thousand_replicates_take_less_than_a_second():
    scores = [np.random.default_rng(i).normal(size=5) for i in range(26)]
    estimate(scores, iqm, replicates=10)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        estimate(scores, iqm, replicates=50_000)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1


def test_estimate_has_no_interval_if_an_environment_has_one_seed():
    assert str(estimate([np.array([3.0])], iqm)) == "3.00"
    assert np.isnan(estimate([np.array([3.0]), np.array([1.0, 2.0, 3.0])], iqm).low)
    assert str(estimate([np.array([3.0, 3.0])], iqm)) == "3.00 (3.00 to 3.00)"


def test_probability_of_improvement_has_no_interval_if_an_agent_has_one_seed():
    assert np.isnan(probability_of_improvement([np.array([1.0])], [np.array([2.0])]).low)
    assert np.isnan(probability_of_improvement([np.array([5.0])], [np.array([1.0, 2.0, 3.0])]).low)


@given(score_sets, st.lists(numbers, min_size=1, max_size=4))
def test_performance_profile_matches_its_definition(scores, thresholds):
    """F(tau) = 1/M sum_m 1/N_m sum_n 1[x_mn > tau]."""
    profile, low, high = performance_profile(scores, np.array(thresholds), replicates=100)
    assert np.isnan(low).all() or ((low >= 0) & (low <= high) & (high <= 1)).all()
    for tau, share in zip(thresholds, profile, strict=True):
        naive = sum(sum(x > tau for x in s) / len(s) for s in scores) / len(scores)
        assert share == pytest.approx(naive)


def wins(x: float, y: float) -> float:
    """Return S(x, y): 1 if x > y, 1/2 if they are equal, else 0."""
    if x == y:
        return 0.5
    return 1.0 if x > y else 0.0


@given(count_lists)
def test_probability_of_improvement_matches_its_definition(lists):
    """P(X > Y) = 1/M sum_m 1/(N_m K_m) sum_i sum_j S(x_mi, y_mj)."""
    half = len(lists) // 2
    scores_x = [np.array(values, float) for values in lists[:half]]
    scores_y = [np.array(values, float) for values in lists[half:]]
    per_env = []
    for xs, ys in zip(scores_x, scores_y, strict=True):
        per_env.append(np.mean([wins(x, y) for x, y in itertools.product(xs, ys)]))
    found = probability_of_improvement(scores_x, scores_y, replicates=200)
    assert found.value == pytest.approx(np.mean(per_env))
    reverse = probability_of_improvement(scores_y, scores_x, replicates=200)
    assert found.value + reverse.value == pytest.approx(1)
    if not np.isnan(found.low):
        assert 0 <= found.low <= found.high <= 1


def test_curve_band_contains_the_interquartile_mean():
    curves = np.array([[0.0, 1.0, 4.0], [0.0, 3.0, 4.0], [0.0, 2.0, 4.0], [0.0, 8.0, 4.0]])
    middle, low, high = curve_band(curves)
    assert middle == pytest.approx([0, 2.5, 4])
    assert low[[0, 2]] == pytest.approx([0, 4])
    assert high[[0, 2]] == pytest.approx([0, 4])
    assert 1 <= low[1] < 2.5 < high[1] <= 8
