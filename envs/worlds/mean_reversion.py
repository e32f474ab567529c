"""MeanReversion-v0: trade a price that returns to its mean, and pay for each trade."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from envs.worlds import parameters
from envs.worlds.drawing import BLUE, GREY, POSITION_COLORS, POSITION_NAMES, Area, Picture
from envs.worlds.mean_reversion_optimum import solve

STEPS = 250  # of an episode


class MeanReversion(gymnasium.Env):
    """Hold a unit of an asset, owe one, or stay out, while its price returns to 0.

    The price is an autoregressive process, the Ornstein-Uhlenbeck process in discrete time:

        x' = decay x + N(0, 1),   decay = 0.95

    Actions 0, 1, 2 choose the position -1 (short), 0 or 1 (long) until the next step:

        reward = position (x' - x) - cost |position - position before|,   cost = 0.5

    The observation is float32[2]: the price and the position before the action. An episode has 250 steps and is then
    truncated. It starts without a position, at a price from the stationary distribution N(0, 1 / (1 - decay^2)).
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  # Gymnasium's interface

    def __init__(self, cost: float = 0.5, decay: float = 0.95, render_mode: str | None = None) -> None:
        """Create the market.

        Args:
            cost: Cost of trading one unit. From short to long are two units.
            decay: Share of the price that stays after a step, 0 to 0.99.
            render_mode: None or "rgb_array".

        Raises:
            EnvError: An argument is out of its range.
        """
        self.cost = parameters.number("cost", cost)
        self.decay = parameters.number("decay", decay, 0, 0.99)
        self.render_mode = parameters.render_mode(render_mode)
        high = np.array([np.inf, 1], np.float32)
        self.observation_space = Box(-high, high)
        self.action_space = Discrete(3)
        self.price = 0.0
        self.position = 0
        self.profit = 0.0
        self.price_history: list[float] = []
        self.position_history: list[int] = []

    @property
    def deviation(self) -> float:
        """Return the standard deviation of the price."""
        return 1 / math.sqrt(1 - self.decay**2)

    def optimum(self) -> float:
        """Return the expected score of an optimal policy, which knows the number of steps that are left."""
        return solve(self.decay, self.cost, STEPS).profit

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Draw the first price from the stationary distribution, and start without a position."""
        super().reset(seed=seed)
        self.price = float(self.np_random.normal(0, self.deviation))
        self.position = 0
        self.profit = 0.0
        self.price_history = [self.price]
        self.position_history = []
        return self._obs(), {}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Trade, and hold the position for one step."""
        position = int(action) - 1
        price = self.decay * self.price + float(self.np_random.normal())
        reward = position * (price - self.price) - self.cost * abs(position - self.position)
        self.price = price
        self.position = position
        self.profit += reward
        self.price_history.append(price)
        self.position_history.append(position)
        return self._obs(), reward, False, len(self.position_history) == STEPS, {}

    def render(self) -> NDArray[np.uint8]:
        """Return a picture u8[400, 500, 3]: the price, green where the position is long and red where it is short."""
        picture = Picture()
        picture.text(f"step {len(self.position_history)} of {STEPS}", 20, 24)
        picture.text(f"price {self.price:.2f}", 150, 24, BLUE)
        picture.text(f"position {POSITION_NAMES[self.position]}", 250, 24)
        picture.text(f"profit {self.profit:.2f}", 375, 24)
        scale = 3.5 * self.deviation
        chart = Area(20, 45, 480, 345)
        colors = [POSITION_COLORS[position] for position in self.position_history]
        picture.columns(Area(20, 352, 480, 370), colors, STEPS + 1)
        picture.text("position: green long, red short", 20, 390, GREY)
        picture.level(chart, 0, -scale, scale)
        picture.line(chart, self.price_history, STEPS + 1, -scale, scale)
        return picture.pixels

    def _obs(self) -> NDArray[np.float32]:
        return np.array([self.price, self.position], np.float32)
