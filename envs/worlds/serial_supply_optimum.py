"""The optimal cost of a series of stocks, by the decomposition of Clark and Scarf (1960).

Stage 1 serves the customers, stage 2 supplies stage 1, and so on; the last stage has an unlimited supplier. The echelon
inventory of a stage is all stock at the stage and below, minus the backorders of customers. Clark and Scarf show that
each stage has a cost function of its own echelon inventory alone, if the stage above pays a penalty for not delivering.

Functions of an inventory level are arrays over a grid. They are linear below the grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LOWEST = -60.0  # ends of the grid, in units
HIGHEST = 90.0


class AverageOptimum(NamedTuple):
    """The optimal policy over an infinite horizon."""

    cost: float  # least average cost a period
    base_stocks: list[float]  # the level up to which each stage orders its echelon inventory, stage 1 first


class Start(NamedTuple):
    """Stock at the start of an episode."""

    on_hand: tuple[int, ...]  # of each stage, stage 1 first
    in_transit: tuple[tuple[int, ...], ...]  # orders that arrive in this period, the next one, ..., of each stage


@dataclass(frozen=True)
class SerialSystem:
    """A series of stages. An order of period t arrives at the end of period t + lead_time - 1, after the demand."""

    lead_times: tuple[int, ...]  # of each stage, stage 1 first
    echelon_holding: tuple[float, ...]  # holding cost at the stage minus that at the stage above it
    penalty: float  # cost of a backorder a period
    demand: tuple[float, ...]  # probabilities of the demands 0, step, 2 step, ...
    step: float = 1.0  # spacing of the grid and of the demand, in units

    @property
    def levels(self) -> Array:
        """Return the grid of inventory levels, [levels]."""
        return np.arange(round(LOWEST / self.step), round(HIGHEST / self.step) + 1) * np.float64(self.step)

    def average_optimum(self) -> AverageOptimum:
        """Return the optimal policy over an infinite horizon.

            C_j(y) = E[e_j (y - D_j) + P_{j-1}(y - D_j)],   S_j = argmin C_j,   P_j(x) = C_j(min(x, S_j)) - C_j(S_j)

        D_j is the demand of the lead time of stage j, and P_0 the cost of backorders. The least cost is the sum of
        C_j(S_j) over all stages.
        """
        shortage_cost = self._backorder_cost()
        total = 0.0
        base_stocks = []
        for lead_time, holding in zip(self.lead_times, self.echelon_holding, strict=True):
            cost = self.expected(holding * self.levels + shortage_cost, lead_time)
            best = int(cost.argmin())
            base_stocks.append(float(self.levels[best]))
            total += float(cost[best])
            shortage_cost = _shortage_cost(cost)
        return AverageOptimum(total, base_stocks)

    def least_cost(self, periods: int, start: Start) -> float:
        """Return the least expected cost of a number of periods. What is left after the last one has no value.

            H_{j,t}(y) = E[e_j (y - D_j) + P_{j-1,t+L_j}(y - D_j)] + E[f_{j,t+1}(y - d)]
            f_{j,t}(x) = min_{y >= x} H_{j,t}(y),   P_{j,t}(x) = H_{j,t}(min(x, S_{j,t})) - H_{j,t}(S_{j,t})

        The costs of the last orders that arrive after the last period are 0. The costs before the first order of a
        stage arrives follow from `start`.
        """
        zero = np.zeros(len(self.levels))
        # Entry t is the function of period t. The cost of backorders at the end of period t belongs to the levels at
        # the start of period t + 1.
        shortage_costs = [zero, zero, *[self._backorder_cost()] * periods]
        total = 0.0
        for stage, lead_time in enumerate(self.lead_times):
            holding = self.echelon_holding[stage] * self.levels
            next_costs: list[Array] = [zero] * (periods + 2)
            value = zero
            for t in range(periods, 0, -1):
                cost = self.expected(value, 1)
                arrival = t + lead_time  # period at whose start the order of period t is available
                if arrival <= periods + 1:
                    cost = cost + self.expected(holding + shortage_costs[arrival], lead_time)
                value = _cost_of_best_order(cost)
                next_costs[t] = _shortage_cost(cost)
            level = self._echelon_level(stage, start)
            total += self._cost_before_first_arrival(level, start.in_transit[stage], holding, shortage_costs)
            total += self._at(value, level + sum(start.in_transit[stage]))
            shortage_costs = next_costs
        # The outside supplier never lacks stock, so nobody pays the shortage cost of the last stage.
        return total

    def expected(self, function: Array, num_periods: int) -> Array:
        """Return E[f(y - D)] for all levels y, where D is the demand of a number of periods, [levels]."""
        slope = function[1] - function[0]
        for _ in range(num_periods):
            below = function[0] + slope * np.arange(-(len(self.demand) - 1), 0)
            function = np.convolve(np.concatenate([below, function]), self.demand, "valid")
            slope = function[1] - function[0]
        return function

    def _backorder_cost(self) -> Array:
        """Return (p + e_1 + e_2 + ...) [-x]^+, what an echelon inventory x of stage 1 costs besides e_1 x, [levels]."""
        return (self.penalty + sum(self.echelon_holding)) * np.maximum(-self.levels, 0)

    def _echelon_level(self, stage: int, start: Start) -> int:
        """Return the echelon inventory of a stage at the start: its own stock, and all stock below it."""
        below = sum(sum(transit) for transit in start.in_transit[:stage])
        return sum(start.on_hand[: stage + 1]) + below

    def _cost_before_first_arrival(
        self, level: int, in_transit: tuple[int, ...], holding: Array, shortage_costs: list[Array]
    ) -> float:
        """Return the costs of the periods in which a stage receives orders from before the start, or none.

        At the start of period t the level is that of the start, plus what arrived, minus the demand of t - 1 periods.
        """
        total = self._at(shortage_costs[1], level)
        for t, arrival in enumerate(in_transit, 2):
            level += arrival
            total += self._at(self.expected(holding + shortage_costs[t], t - 1), level)
        return total

    def _at(self, function: Array, level: float) -> float:
        """Return the value of a function at a level of the grid."""
        return float(function[round((level - LOWEST) / self.step)])


def _shortage_cost(cost: Array) -> Array:
    """Return P(x) = C(min(x, S)) - C(S) with S = argmin C, [levels]: what it costs to order up to x at most."""
    best = int(cost.argmin())
    return np.concatenate([cost[:best] - cost[best], np.zeros(len(cost) - best)])


def _cost_of_best_order(cost: Array) -> Array:
    """Return min_{y >= x} C(y) for a convex C, [levels]."""
    best = int(cost.argmin())
    return np.concatenate([np.full(best, cost[best]), cost[best:]])


def rounded_normal(mean: float, deviation: float, step: float = 1.0) -> tuple[float, ...]:
    """Return the probabilities of a normal variable that is rounded to multiples of `step` from 0 to 2 mean."""
    values = step * np.arange(round(2 * mean / step) + 1)
    edges = np.concatenate([[-np.inf], values[:-1] + step / 2, [np.inf]])
    cumulative = np.array([0.5 * math.erfc((mean - edge) / (deviation * math.sqrt(2))) for edge in edges])
    return tuple(np.diff(cumulative).tolist())


@cache
def least_cost(system: SerialSystem, periods: int, start: Start) -> float:
    """Return the least expected cost of a number of periods of a system."""
    return system.least_cost(periods, start)
