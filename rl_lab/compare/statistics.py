"""Statistics of scores over several seeds and environments, with bootstrap confidence intervals.

The definitions are those of Agarwal et al. 2021, "Deep RL at the edge of the statistical precipice".
The paper's tasks are our environments, and its runs are our seeds. Scores of different environments must be normalised
first (`rl_lab.compare.scores`). Below,

    M       number of environments
    N_m     number of seeds on environment m; the environments may have different numbers of seeds
    x_mn    score of seed n on environment m
    R       number of bootstrap samples, called replicates

The argument `scores` is a sequence with one array per environment. A `Statistic` takes resampled scores [R, N_m]. The
other functions take observed scores [N_m].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Scores = Sequence[Array]

Statistic = Callable[[list[Array]], Array]
"""A function that computes a statistic of R bootstrap samples at once: one array [R, N_m] per environment -> [R]."""

REPLICATES = 50_000  # bootstrap samples for an interval of a single number
CURVE_REPLICATES = 2_000  # bootstrap samples for an interval at each of many points
PERCENTILES = (2.5, 97.5)  # ends of a 95% interval
MAX_CHUNK = 2_000_000  # largest number of resampled scores in memory at a time


@dataclass(frozen=True)
class Estimate:
    """A statistic with its 95% confidence interval. The interval is NaN if an environment has only one seed."""

    value: float
    low: float  # lower end of the interval
    high: float  # upper end of the interval

    def __str__(self) -> str:
        """Return the estimate with two decimals."""
        return self.text(".2f")

    def text(self, spec: str) -> str:
        """Return for example "12.00 (11.33 to 12.67)", or only "12.00" if the interval is NaN.

        Args:
            spec: The format of each number, such as ".2f".
        """
        if np.isnan(self.low):
            return format(self.value, spec)
        return f"{self.value:{spec}} ({self.low:{spec}} to {self.high:{spec}})"


# --- Statistics of resampled scores ---------------------------------------------------------------------------------


def iqm(scores: list[Array]) -> Array:
    """Return the interquartile mean (IQM) [R] of scores [R, N_m].

    The scores of all seeds and environments are pooled. The lowest and the highest quarter, rounded down to whole
    scores, are left out. The IQM is the mean of the others.
    """
    pooled = np.concatenate(scores, 1)
    n = pooled.shape[1]
    cut = n // 4
    if cut == 0:
        return pooled.mean(1)
    return np.partition(pooled, (cut, n - cut - 1), 1)[:, cut : n - cut].mean(1)


def mean(scores: list[Array]) -> Array:
    """Return the mean 1/M sum_m (1/N_m sum_n x_mn), [R], of scores [R, N_m]."""
    return np.stack([s.mean(1) for s in scores], 1).mean(1)


def median(scores: list[Array]) -> Array:
    """Return the median over environments of the mean over seeds, [R], of scores [R, N_m]."""
    return np.median(np.stack([s.mean(1) for s in scores], 1), 1)


# --- Confidence intervals -------------------------------------------------------------------------------------------


def estimate(scores: Scores, statistic: Statistic, *, replicates: int = REPLICATES, seed: int = 0) -> Estimate:
    """Return a statistic of observed scores [N_m] with its 95% stratified bootstrap interval (percentile method).

    Stratified means that a bootstrap sample draws N_m seeds with replacement from each environment m separately.
    """
    value = float(statistic([np.asarray(s, float)[None] for s in scores])[0])
    if not _has_interval(scores):
        return Estimate(value, np.nan, np.nan)
    low, high = np.percentile(bootstrap(scores, statistic, replicates=replicates, seed=seed), PERCENTILES)
    return Estimate(value, float(low), float(high))


def bootstrap(scores: Scores, statistic: Statistic, *, replicates: int, seed: int) -> Array:
    """Return the statistic, [replicates], of stratified bootstrap samples of observed scores [N_m].

    The samples are drawn in parts, so that at most about `MAX_CHUNK` scores are in memory at a time.
    """
    rng = np.random.default_rng(seed)
    chunk = max(1, MAX_CHUNK // sum(len(s) for s in scores))  # samples in a part
    parts = []
    for start in range(0, replicates, chunk):
        rows = min(chunk, replicates - start)
        samples = [np.asarray(s, float)[_draw_indices(rng, rows, len(s))] for s in scores]
        parts.append(statistic(samples))
    return np.concatenate(parts)


def curve_band(curves: Array, *, replicates: int = CURVE_REPLICATES, seed: int = 0) -> tuple[Array, Array, Array]:
    """Return the interquartile mean over seeds at each point of learning curves, with its 95% bootstrap interval.

    Args:
        curves: Scores [seeds, points].
        replicates: Number of bootstrap samples. A sample draws whole curves, so it has the same seeds at all points.
        seed: Seed of the bootstrap.

    Returns:
        IQM, lower and upper end of the interval, each [points]. The ends are NaN if there is only one seed.
    """
    num_seeds, points = curves.shape
    middle = iqm([curves.T])
    if num_seeds < 2:
        return middle, np.full(points, np.nan), np.full(points, np.nan)
    indices = _draw_indices(np.random.default_rng(seed), replicates, num_seeds)
    samples = np.stack([iqm([curves[:, point][indices]]) for point in range(points)], 1)
    low, high = np.percentile(samples, PERCENTILES, axis=0)
    return middle, low, high


# --- Profiles and pairwise comparisons ------------------------------------------------------------------------------


def performance_profile(
    scores: Scores, thresholds: Array, *, replicates: int = CURVE_REPLICATES, seed: int = 0
) -> tuple[Array, Array, Array]:
    """Return the score distribution F(tau) with its 95% bootstrap interval.

        F(tau) = 1/M sum_m (1/N_m sum_n 1[x_mn > tau])

    This is the share of seeds whose score is above the threshold tau, averaged over environments.

    Args:
        scores: One array [N_m] per environment.
        thresholds: T values of tau, [T].
        replicates: Number of bootstrap samples.
        seed: Seed of the bootstrap.

    Returns:
        F, lower and upper end of the interval, each [T]. The ends are NaN if an environment has only one seed.
    """
    above = [np.asarray(s)[:, None] > thresholds for s in scores]
    share = np.mean([a.mean(0) for a in above], 0)
    if not _has_interval(scores):
        return share, np.full(len(thresholds), np.nan), np.full(len(thresholds), np.nan)
    rng = np.random.default_rng(seed)
    samples = np.mean([a[_draw_indices(rng, replicates, len(a))].mean(1) for a in above], 0)
    low, high = np.percentile(samples, PERCENTILES, axis=0)
    return share, low, high


def probability_of_improvement(
    scores_x: Scores, scores_y: Scores, *, replicates: int = CURVE_REPLICATES, seed: int = 0
) -> Estimate:
    """Return the probability that a random seed of agent X scores higher than one of agent Y, with its 95% interval.

        P(X > Y) = 1/M sum_m 1/(N_m K_m) sum_i sum_j S(x_mi, y_mj)

    S(x, y) is 1 if x > y, 1/2 if x = y, and 0 if x < y; the double sum is the Mann-Whitney U statistic. Both seeds play
    the same environment, and the probability is averaged over environments.

    Args:
        scores_x: Scores of agent X, one array [N_m] per environment.
        scores_y: Scores of agent Y on the same environments, one array [K_m] per environment.
        replicates: Number of bootstrap samples.
        seed: Seed of the bootstrap.
    """
    pairs = list(zip(scores_x, scores_y, strict=True))
    value = float(np.mean([_win_rate(np.asarray(x)[None], np.asarray(y)[None])[0] for x, y in pairs]))
    if not _has_interval([*scores_x, *scores_y]):
        return Estimate(value, np.nan, np.nan)
    rng = np.random.default_rng(seed)
    win_rates = []
    for x, y in pairs:
        sampled_x = np.asarray(x)[_draw_indices(rng, replicates, len(x))]
        sampled_y = np.asarray(y)[_draw_indices(rng, replicates, len(y))]
        win_rates.append(_win_rate(sampled_x, sampled_y))
    low, high = np.percentile(np.mean(win_rates, 0), PERCENTILES)
    return Estimate(value, float(low), float(high))


def _has_interval(scores: Scores) -> bool:
    """Return True if every environment has at least two seeds."""
    return all(len(s) >= 2 for s in scores)


def _draw_indices(rng: np.random.Generator, rows: int, n: int) -> NDArray[np.integer]:
    """Return `rows` bootstrap samples of n elements, as indices [rows, n].

    The indices are uint16 if n allows, which saves time and memory.
    """
    dtype = np.uint16 if n < 2**16 else np.int64
    return rng.integers(n, size=(rows, n), dtype=dtype)


def _win_rate(scores_x: Array, scores_y: Array) -> Array:
    """Return the share of pairs (x, y) with x > y, [R]. A pair with x = y counts 1/2.

    Args:
        scores_x: Scores of the N seeds of agent X, [R, N].
        scores_y: Scores of the K seeds of agent Y, [R, K].
    """
    x = scores_x[:, :, None]
    y = scores_y[:, None, :]
    return ((x > y) + 0.5 * (x == y)).mean((1, 2))
