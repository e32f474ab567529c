"""The optimal costs of the lost-sales inventory system, by dynamic programming (Zipkin 2008).

The state of Zipkin's model is x = (x_0, ..., x_{L-1}): the inventory on hand, then the orders that arrive in the next
L - 1 periods. With order z and demand d, the next state is ([x_0 - d]^+ + x_1, x_2, ..., x_{L-1}, z).
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MAX_LEAD_TIME = 4
"""Longest lead time that the solver takes, a matter of seconds. Each further period has 13 times as many states."""

TAIL_DEVIATIONS = 4.0
"""The on-hand inventory is cut at this number of standard deviations above the mean demand of lead time and review
period. Optimal policies never order so much (Zipkin 2008, section 3)."""


class AverageCost(NamedTuple):
    """The result of relative value iteration."""

    low: float  # lower bound of the least average cost a period
    high: float  # upper bound
    orders: NDArray[np.int64]  # [levels, orders, ...]: the best order in each state


class LostSalesSolver:
    """Dynamic programming over all states of a lost-sales system with Poisson demand."""

    def __init__(self, lead_time: int, penalty: float, demand: float, *, holding: float = 1.0, max_order: int = 10):
        """Tabulate the costs and transitions of one period.

        Args:
            lead_time: Periods from an order to its arrival, 1 to `MAX_LEAD_TIME`.
            penalty: Cost of a lost sale.
            demand: Mean of the Poisson demand of a period.
            holding: Cost of a unit that is left at the end of a period.
            max_order: Largest order.
        """
        mean = (lead_time + 1) * demand
        highest = math.ceil(mean + TAIL_DEVIATIONS * math.sqrt(mean))
        on_hand = np.arange(highest + 1)
        sizes = np.arange(highest + 1 + max_order)
        log_factorials = np.array([math.lgamma(size + 1) for size in sizes])
        probabilities = np.exp(sizes * math.log(demand) - demand - log_factorials)
        self.lead_time = lead_time
        self.left = np.zeros((len(on_hand), len(on_hand)))  # [on hand, left]: probability of what demand leaves
        for level in on_hand:
            self.left[level, 1 : level + 1] = probabilities[:level][::-1]
            self.left[level, 0] = 1 - probabilities[:level].sum()
        expected_left = self.left @ on_hand
        expected_lost = demand - (on_hand - expected_left)  # sales are on_hand - left
        self.cost = holding * expected_left + penalty * expected_lost  # [on hand]
        arrivals = np.arange(max_order + 1)
        self.next_on_hand = np.minimum(on_hand[:, None] + arrivals, highest)  # [left, arrival]
        self.shape = (len(on_hand), *[max_order + 1] * (lead_time - 1))

    def order_costs(self, values: Array) -> Array:
        """Return the expected cost of a period and of what follows, [*states, orders].

            Q(x, z) = E[h (x_0 - d)^+ + p (d - x_0)^+ + V((x_0 - d)^+ + x_1, x_2, ..., z)]

        Args:
            values: Cost from the next period on, [*states].
        """
        num_levels, num_orders = self.next_on_hand.shape
        flat = values.reshape(num_levels, -1)
        expected = np.empty((num_levels, num_orders, flat.shape[1]))
        for arrival in range(num_orders):
            expected[:, arrival] = self.left @ flat[self.next_on_hand[:, arrival]]
        expected += self.cost[:, None, None]
        return expected.reshape(*self.shape, num_orders)

    def least_cost(self, periods: int, start: tuple[int, ...]) -> float:
        """Return the least expected cost of a number of periods.

        The policy may depend on the number of periods that are left. What is left after the last one has no value.
        """
        values = np.zeros(self.shape)
        for _ in range(periods):
            values = self.order_costs(values).min(-1)
        return float(values[start])

    def average_cost(self, tolerance: float = 1e-4) -> AverageCost:
        """Return the least average cost a period over an infinite horizon, by relative value iteration.

        The smallest and the largest change of a value in one iteration are bounds of the average cost (Puterman 1994,
        theorem 8.5.5). Iterations end when the bounds differ by less than `tolerance`.
        """
        values = np.zeros(self.shape)
        while True:
            costs = self.order_costs(values)
            changes = costs.min(-1) - values
            if changes.max() - changes.min() < tolerance:
                return AverageCost(float(changes.min()), float(changes.max()), costs.argmin(-1))
            values += changes
            values -= values.flat[0]


@cache
def least_cost(lead_time: int, penalty: float, demand: float, periods: int, start: tuple[int, ...]) -> float | None:
    """Return the least expected cost of a number of periods, or None for more states than the solver takes."""
    if lead_time > MAX_LEAD_TIME:
        return None
    return LostSalesSolver(lead_time, penalty, demand).least_cost(periods, start)
