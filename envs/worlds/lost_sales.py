"""LostSales-v0: order stock that arrives late, while customers who find none are lost (Zipkin 2008)."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from envs.worlds import parameters
from envs.worlds.drawing import BLUE, GREY, ORANGE, RED, Area, Picture
from envs.worlds.lost_sales_optimum import least_cost

MAX_ORDER = 10
MAX_PENALTY = 1_000.0  # a larger penalty leads to more stock than the grid of the solver has
HOLDING = 1.0  # cost of a unit that is left at the end of a period
PERIODS = 200  # of an episode


class LostSales(gymnasium.Env):
    """A shop that orders each period, with lost sales.

    Source: Zipkin 2008, Old and new methods for lost-sales inventory systems.

    Each period the agent orders z in 0..10 units, which arrive `lead_time` periods later. Then d customers come, from a
    Poisson distribution. Each buys one unit; those who find none are lost:

        reward = -(h (x_0 - d)^+ + p (d - x_0)^+),   h = 1

    The observation is float32[lead_time]: x_0, the units on hand after the arrival of this period, and the orders x_1,
    x_2, ... that arrive in the next periods. An episode has 200 periods and is then truncated. It starts with the mean
    demand, rounded, on hand and in each outstanding order.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 6}  # noqa: RUF012  # Gymnasium's interface

    def __init__(
        self, lead_time: int = 4, penalty: float = 4.0, demand: float = 5.0, render_mode: str | None = None
    ) -> None:
        """Create the shop.

        Args:
            lead_time: Periods from an order to its arrival, 1 to 10.
            penalty: Cost p of a lost sale, 0 to 1,000.
            demand: Mean demand of a period, 1 to 10.
            render_mode: None or "rgb_array".

        Raises:
            EnvError: An argument is out of its range.
        """
        self.lead_time = parameters.whole_number("lead_time", lead_time, 1, 10)
        self.penalty = parameters.number("penalty", penalty, 0, MAX_PENALTY)
        self.demand = parameters.number("demand", demand, 1, MAX_ORDER)
        self.render_mode = parameters.render_mode(render_mode)
        self.start = (round(self.demand),) * self.lead_time
        most_on_hand = self.start[0] + PERIODS * MAX_ORDER
        high = np.array([most_on_hand, *[MAX_ORDER] * (self.lead_time - 1)], np.float32)
        self.observation_space = Box(np.zeros_like(high), high)
        self.action_space = Discrete(MAX_ORDER + 1)
        self.state = list(self.start)
        self.period = 0
        self.on_hand_history: list[float] = []
        self.lost_history: list[float] = []
        self.last_event = ""

    def optimum(self) -> float | None:
        """Return the expected score of an optimal policy, or None with a lead time above 4.

        The policy knows the number of periods that are left. Longer lead times have too many states.
        """
        cost = least_cost(self.lead_time, self.penalty, self.demand, PERIODS, self.start)
        return None if cost is None else -cost

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start with the mean demand on hand and in each outstanding order."""
        super().reset(seed=seed)
        self.state = list(self.start)
        self.period = 0
        self.on_hand_history = []
        self.lost_history = []
        self.last_event = ""
        return self._obs(), {}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Order, serve the customers of the period, and receive the order that is due.

        Returns:
            Observation, reward, False, True after the last period, and an info with "demand" and "lost".
        """
        order = int(action)
        demand = int(self.np_random.poisson(self.demand))
        on_hand = self.state[0]
        left = max(on_hand - demand, 0)
        lost = max(demand - on_hand, 0)
        reward = -(HOLDING * left + self.penalty * lost)
        pipeline = [*self.state[1:], order]
        self.state = [left + pipeline[0], *pipeline[1:]]
        self.period += 1
        self.on_hand_history.append(on_hand)
        self.lost_history.append(lost)
        self.last_event = f"order {order}, demand {demand}, lost {lost}, cost {-reward:g}"
        info = {"demand": demand, "lost": lost}
        return self._obs(), reward, False, self.period == PERIODS, info

    def render(self) -> NDArray[np.uint8]:
        """Return a picture u8[400, 500, 3]: stock and outstanding orders above, the history of the episode below."""
        picture = Picture()
        picture.text(f"period {self.period} of {PERIODS}", 20, 24)
        picture.text(self.last_event, 160, 24)
        labels = ["on hand", *[f"in {i}" for i in range(1, self.lead_time)]]
        colors = [BLUE, *[ORANGE] * (self.lead_time - 1)]
        picture.bars(Area(20, 70, 480, 205), self.state, labels, colors, top=20)
        history = Area(20, 265, 480, 380)
        picture.text("on hand", 20, 250, BLUE)
        picture.text("lost sales", 100, 250, RED)
        picture.text("0 to 20 units", 385, 250, GREY)
        picture.axis(history)
        picture.line(history, self.on_hand_history, PERIODS, 0, 20, BLUE)
        picture.line(history, self.lost_history, PERIODS, 0, 20, RED)
        return picture.pixels

    def _obs(self) -> NDArray[np.float32]:
        return np.array(self.state, np.float32)
