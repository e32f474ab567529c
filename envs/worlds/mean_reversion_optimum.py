"""The optimal profit of trading a mean-reverting price, by dynamic programming on a grid of prices."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

POSITIONS = np.array([-1, 0, 1])  # short, none, long
SPACING = 0.05  # of the grid, in standard deviations of a price change
TAIL_DEVIATIONS = 7.5  # the grid ends at this number of standard deviations of the price


class Solution(NamedTuple):
    """The optimal policy and its profit."""

    profit: float  # expected profit of an episode that starts without a position
    prices: Array  # [prices], the grid
    positions: NDArray[np.int64]  # [prices, 3]: best position at the first step, by the position before (POSITIONS)


@cache
def solve(decay: float, cost: float, steps: int) -> Solution:
    """Return the optimal policy, by backward induction.

        V_t(x, a) = max_b E[b (x' - x) - cost |b - a| + V_{t+1}(x', b)],   x' = decay x + N(0, 1)

    The expectation is a sum over the grid. For a smooth density that is accurate far beyond the rounding of the result.

    Args:
        decay: Share of the price that stays after a step.
        cost: Cost of trading one unit.
        steps: Steps of an episode.
    """
    deviation = 1 / math.sqrt(1 - decay**2)
    half = math.ceil(TAIL_DEVIATIONS * deviation / SPACING)
    prices: Array = np.arange(-half, half + 1) * np.float64(SPACING)
    densities = np.exp(-((prices - decay * prices[:, None]) ** 2) / 2)
    transitions = densities / densities.sum(1, keepdims=True)  # [prices, next prices]
    gains = (decay - 1) * prices[:, None] * POSITIONS  # [prices, new positions]: expected price change times position
    trading_costs = cost * np.abs(POSITIONS[:, None] - POSITIONS)  # [positions, new positions]
    values = np.zeros((len(prices), len(POSITIONS)))
    best = np.zeros((len(prices), len(POSITIONS)), np.int64)
    for _ in range(steps):
        action_values = (gains + transitions @ values)[:, None] - trading_costs  # [prices, positions, new positions]
        best = action_values.argmax(2)
        values = action_values.max(2)
    start = np.exp(-((prices / deviation) ** 2) / 2)
    without_position = values[:, 1]
    return Solution(float(start @ without_position / start.sum()), prices, POSITIONS[best])
