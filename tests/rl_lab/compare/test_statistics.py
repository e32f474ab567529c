"""The statistics against exact small cases, against definitions written as loops, and against scipy."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import trim_mean

from rl_lab.compare.statistics import (
    band,
    bootstrap,
    estimate,
    iqm,
    mean,
    median,
    performance_profile,
    probability_of_improvement,
)

numbers = st.floats(-100, 100, allow_nan=False)
score_sets = st.lists(st.lists(numbers, min_size=1, max_size=6).map(np.array), min_size=1, max_size=5)


@given(score_sets)
def test_statistics_of_one_set(scores):
    """IQM is the mean without the quarters at both ends (scipy's trim_mean); mean and median are over environments' means."""
    rows = [s[None] for s in scores]
    flat = np.concatenate(scores)
    assert iqm(rows)[0] == pytest.approx(trim_mean(flat, 0.25), abs=1e-9)
    assert mean(rows)[0] == pytest.approx(np.mean([s.mean() for s in scores]), abs=1e-9)
    assert median(rows)[0] == pytest.approx(np.median([s.mean() for s in scores]), abs=1e-9)


def test_the_bootstrap_has_the_distribution_of_all_samples():
    """Two environments with 3 and 2 seeds: all 27 x 4 equally likely resamples, exactly."""
    scores = [np.array([0.0, 1.0, 5.0]), np.array([2.0, 3.0])]
    exact = np.sort(
        [
            (np.mean(a) + np.mean(b)) / 2
            for a in itertools.product(scores[0], repeat=3)
            for b in itertools.product(scores[1], repeat=2)
        ]
    )
    drawn = bootstrap(scores, mean, replicates=100_000, seed=1)
    for q in np.unique(exact):
        assert (drawn <= q + 1e-9).mean() == pytest.approx((exact <= q + 1e-9).mean(), abs=0.007)
    found = estimate(scores, mean)
    assert (found.value, found.low, found.high) == pytest.approx(
        (2.25, *np.percentile(exact, [2.5, 97.5], method="inverted_cdf")), abs=1e-9
    )


def test_a_hundred_intervals_hold_the_truth_about_as_often_as_they_say():
    """Of the mean of 3 environments with 10 normal seeds each: the bootstrap's intervals are a little narrow for so few."""
    rng = np.random.default_rng(0)
    held = 0
    for i in range(200):
        found = estimate([rng.normal(env, 1, 10) for env in range(3)], mean, replicates=1000, seed=i)
        held += found.low <= 1 <= found.high
    assert 0.86 <= held / 200 <= 0.98


def test_fifty_thousand_replicates_take_less_than_a_second():
    scores = [np.random.default_rng(i).normal(size=5) for i in range(26)]
    estimate(scores, iqm, replicates=10)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        estimate(scores, iqm, replicates=50_000)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1


def test_one_seed_has_no_interval():
    assert str(estimate([np.array([3.0])], iqm)) == "3.00"
    assert np.isnan(probability_of_improvement([np.array([1.0])], [np.array([2.0])]).low)
    assert np.isnan(probability_of_improvement([np.array([5.0])], [np.array([1.0, 2.0, 3.0])]).low), "one lucky seed"
    assert np.isnan(estimate([np.array([3.0]), np.array([1.0, 2.0, 3.0])], iqm).low)
    assert str(estimate([np.array([3.0, 3.0])], iqm)) == "3.00 (3.00 to 3.00)"


@given(score_sets, st.lists(numbers, min_size=1, max_size=4))
def test_profiles_by_their_definition(scores, thresholds):
    """F(tau) = 1/M sum_m 1/N_m sum_n 1[x_nm > tau]."""
    profile, low, high = performance_profile(scores, np.array(thresholds), replicates=100)
    assert np.isnan(low).all() or ((low >= 0) & (low <= high) & (high <= 1)).all()
    for tau, share in zip(thresholds, profile, strict=True):
        naive = sum(sum(x > tau for x in s) / len(s) for s in scores) / len(scores)
        assert share == pytest.approx(naive)


@given(st.integers(1, 3).flatmap(lambda n: st.tuples(*[st.lists(st.integers(0, 3), min_size=1, max_size=4)] * 2 * n)))
def test_probability_of_improvement_by_its_definition(lists):
    """P(X > Y) = 1/M sum_m 1/(N K) sum_i sum_j S(x_i, y_j), S = 1, 1/2 at a tie, 0."""
    half = len(lists) // 2
    mine, theirs = ([np.array(x, float) for x in part] for part in (lists[:half], lists[half:]))
    naive = np.mean(
        [
            np.mean([1.0 if x > y else 0.5 if x == y else 0.0 for x in a for y in b])
            for a, b in zip(mine, theirs, strict=True)
        ]
    )
    found = probability_of_improvement(mine, theirs, replicates=200)
    assert found.value == pytest.approx(naive)
    other = probability_of_improvement(theirs, mine, replicates=200)
    assert found.value + other.value == pytest.approx(1)
    if not np.isnan(found.low):
        assert 0 <= found.low <= found.high <= 1


def test_a_band_holds_its_curve():
    curves = np.array([[0.0, 1.0, 4.0], [0.0, 3.0, 4.0], [0.0, 2.0, 4.0], [0.0, 8.0, 4.0]])
    middle, low, high = band(curves)
    assert middle == pytest.approx([0, 2.5, 4])
    assert low[[0, 2]] == pytest.approx([0, 4])
    assert high[[0, 2]] == pytest.approx([0, 4])
    assert 1 <= low[1] < 2.5 < high[1] <= 8
