"""Scores of several seeds on several environments, summed up with their uncertainty: Agarwal et al. 2021, "Deep RL at the edge
of the statistical precipice".

`scores` are a list with an array for each environment, one score a seed; environments may have different numbers of seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Scores = Sequence[Array]
Statistic = Callable[[list[Array]], Array]

REPLICATES = 50_000
CHUNK = 2_000_000  # numbers that a bootstrap holds at a time


@dataclass(frozen=True)
class Estimate:
    """A number and its 95% bootstrap interval, NaN where an environment has one seed; of few seeds it is too narrow."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f}" if np.isnan(self.low) else f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


# --- statistics of resampled scores: each array is [R, seeds], the answer [R] -------------------------------------


def iqm(scores: list[Array]) -> Array:
    """The interquartile mean: the mean of the middle half of all seeds and environments."""
    together = np.concatenate(scores, 1)
    n = together.shape[1]
    cut = n // 4
    if cut == 0:
        return together.mean(1)
    return np.partition(together, (cut, n - cut - 1), 1)[:, cut : n - cut].mean(1)


def mean(scores: list[Array]) -> Array:
    """The mean over environments of the means over seeds."""
    return np.stack([s.mean(1) for s in scores], 1).mean(1)


def median(scores: list[Array]) -> Array:
    """The median over environments of the means over seeds."""
    return np.median(np.stack([s.mean(1) for s in scores], 1), 1)


# --- intervals ----------------------------------------------------------------------------------------------------


def estimate(scores: Scores, statistic: Statistic, *, replicates: int = REPLICATES, seed: int = 0) -> Estimate:
    """A statistic with its stratified bootstrap interval: seeds are drawn anew within each environment, percentiles 2.5 and 97.5."""
    value = float(statistic([np.asarray(s, float)[None] for s in scores])[0])
    if any(len(s) < 2 for s in scores):
        return Estimate(value, np.nan, np.nan)
    drawn = bootstrap(scores, statistic, replicates=replicates, seed=seed)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def bootstrap(scores: Scores, statistic: Statistic, *, replicates: int, seed: int) -> Array:
    """The statistic of `replicates` resampled sets of scores [replicates]."""
    rng = np.random.default_rng(seed)
    at_once = max(1, CHUNK // sum(len(s) for s in scores))
    parts = []
    for start in range(0, replicates, at_once):
        rows = min(at_once, replicates - start)
        parts.append(statistic([np.asarray(s, float)[_draws(rng, rows, len(s))] for s in scores]))
    return np.concatenate(parts)


def _draws(rng: np.random.Generator, rows: int, n: int) -> NDArray[np.integer]:
    return rng.integers(n, size=(rows, n), dtype=np.uint16 if n < 2**16 else np.int64)


def band(curves: Array, *, replicates: int = 2_000, seed: int = 0) -> tuple[Array, Array, Array]:
    """The interquartile mean over seeds of curves [seeds, points] at each point, and its interval: three arrays [points]."""
    points = curves.shape[1]
    middle = iqm([curves.T])
    if len(curves) < 2:
        return middle, np.full(points, np.nan), np.full(points, np.nan)
    draws = _draws(np.random.default_rng(seed), replicates, len(curves))
    drawn = np.stack([iqm([curves[:, i][draws]]) for i in range(points)], 1)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return middle, low, high


# --- more than one number -----------------------------------------------------------------------------------------


def performance_profile(
    scores: Scores, thresholds: Array, *, replicates: int = 2_000, seed: int = 0
) -> tuple[Array, Array, Array]:
    """The share of seeds whose score is above each threshold, the mean of it over environments; and its interval: [thresholds] each."""
    above = [np.asarray(s)[:, None] > thresholds for s in scores]
    share = np.mean([a.mean(0) for a in above], 0)
    if any(len(s) < 2 for s in scores):
        return share, np.full(len(thresholds), np.nan), np.full(len(thresholds), np.nan)
    rng = np.random.default_rng(seed)
    drawn = np.mean([a[_draws(rng, replicates, len(a))].mean(1) for a in above], 0)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return share, low, high


def probability_of_improvement(mine: Scores, theirs: Scores, *, replicates: int = 2_000, seed: int = 0) -> Estimate:
    """How probable it is that a seed of mine is better than one of theirs on an environment (a tie counts half)."""
    rng = np.random.default_rng(seed)
    value = np.mean([_better(np.asarray(a)[None], np.asarray(b)[None])[0] for a, b in zip(mine, theirs, strict=True)])
    if any(len(s) < 2 for s in [*mine, *theirs]):
        return Estimate(float(value), np.nan, np.nan)
    drawn = np.mean(
        [
            _better(np.asarray(a)[_draws(rng, replicates, len(a))], np.asarray(b)[_draws(rng, replicates, len(b))])
            for a, b in zip(mine, theirs, strict=True)
        ],
        0,
    )
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(float(value), float(low), float(high))


def _better(mine: Array, theirs: Array) -> Array:
    """[R, n] against [R, m]: the share of the n x m pairs that mine win."""
    a, b = mine[:, :, None], theirs[:, None, :]
    return ((a > b) + 0.5 * (a == b)).mean((1, 2))
