"""SerialSupply-v0: three stocks in series, with one order a stage (Snyder and Shen 2019, example 6.1)."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, MultiDiscrete
from numpy.typing import NDArray

from envs.worlds import parameters
from envs.worlds.drawing import BLUE, GREY, ORANGE, RED, Area, Picture
from envs.worlds.serial_supply_optimum import SerialSystem, Start, least_cost, rounded_normal

MAX_ORDER = 10
PERIODS = 100  # of an episode
HOLDING = (7.0, 4.0, 2.0)  # cost of a unit at the shop, the warehouse and the factory at the end of a period
MEAN_DEMAND = 5.0
DEMAND_DEVIATION = 1.0
DEMAND_PROBABILITIES = rounded_normal(MEAN_DEMAND, DEMAND_DEVIATION)  # of the demands 0 to 10
START = Start(on_hand=(1, 6, 6), in_transit=((), (), (5,)))
MOST_STOCK = sum(START.on_hand) + 5 + PERIODS * MAX_ORDER


class SerialSupply(gymnasium.Env):
    """A factory supplies a warehouse, the warehouse a shop, and the shop customers, who wait if the shop has nothing.

    One agent orders for all three stages, as in Giannoccaro and Pontrandolfo 2002 (Inventory management in supply
    chains: a reinforcement learning approach). Costs, lead times and demand are those of example 6.1 of Snyder and Shen
    2019 (Fundamentals of supply chain theory). In each period

    1. each stage orders 0 to 10 units, and receives at most what the stage above has on hand. The rest of an order is
       void. The factory's supplier delivers everything.
    2. The demand is N(5, 1), rounded to 0..10.
    3. Orders arrive: at shop and warehouse those of this period, at the factory those of the period before.
    4. reward = -(7 on hand at the shop + 4 at the warehouse + 2 at the factory + penalty * backorders)

    The observation is float32[4]: on hand minus backorders at the shop, on hand at warehouse and factory, and the order
    that is on its way to the factory. The action has one order for each of shop, warehouse and factory. An episode has
    100 periods and is then truncated.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012  # Gymnasium's interface

    def __init__(self, penalty: float = 37.12, render_mode: str | None = None) -> None:
        """Create the supply chain.

        Args:
            penalty: Cost of a backorder in a period.
            render_mode: None or "rgb_array".

        Raises:
            EnvError: An argument is out of its range.
        """
        self.penalty = parameters.number("penalty", penalty)
        self.render_mode = parameters.render_mode(render_mode)
        high = np.array([MOST_STOCK, MOST_STOCK, MOST_STOCK, MAX_ORDER], np.float32)
        low = np.array([-PERIODS * MAX_ORDER, 0, 0, 0], np.float32)
        self.observation_space = Box(low, high)
        self.action_space = MultiDiscrete([MAX_ORDER + 1] * 3)
        self.cumulative_demand = np.cumsum(DEMAND_PROBABILITIES)[:-1]
        self.stock = list(START.on_hand)  # the shop's is negative while customers wait
        self.in_transit = START.in_transit[2][0]
        self.period = 0
        self.cost_history: list[float] = []
        self.last_event = ""

    def system(self) -> SerialSystem:
        """Return the system of this environment, for the solver."""
        shop, warehouse, factory = HOLDING
        echelon_holding = (shop - warehouse, warehouse - factory, factory)
        return SerialSystem((1, 1, 2), echelon_holding, self.penalty, DEMAND_PROBABILITIES)

    def optimum(self) -> float:
        """Return the expected score of an optimal policy, which knows the number of periods that are left."""
        return -least_cost(self.system(), PERIODS, START)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start with 1, 6 and 6 units on hand, and 5 on their way to the factory."""
        super().reset(seed=seed)
        self.stock = list(START.on_hand)
        self.in_transit = START.in_transit[2][0]
        self.period = 0
        self.cost_history = []
        self.last_event = ""
        return self._obs(), {}

    def step(self, action: NDArray[np.int64]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Ship the orders, serve the customers, receive what arrives, and count the costs.

        Returns:
            Observation, reward, False, True after the last period, and an info with "demand" and "backorders".
        """
        shop, warehouse, factory = self.stock
        to_shop = min(int(action[0]), warehouse)
        to_warehouse = min(int(action[1]), factory)
        demand = int(np.searchsorted(self.cumulative_demand, self.np_random.random(), side="right"))
        shop += to_shop - demand
        warehouse += to_warehouse - to_shop
        factory += self.in_transit - to_warehouse
        self.stock = [shop, warehouse, factory]
        self.in_transit = int(action[2])
        backorders = max(-shop, 0)
        on_hand = (max(shop, 0), warehouse, factory)
        holding_cost = sum(cost * units for cost, units in zip(HOLDING, on_hand, strict=True))
        cost = holding_cost + self.penalty * backorders
        self.period += 1
        self.cost_history.append(cost)
        orders = f"{to_shop}, {to_warehouse}, {self.in_transit}"
        self.last_event = f"shipped {orders}   demand {demand}   cost {cost:.1f}"
        info = {"demand": demand, "backorders": backorders}
        return self._obs(), -cost, False, self.period == PERIODS, info

    def render(self) -> NDArray[np.uint8]:
        """Return a picture u8[400, 500, 3]: the stocks above, the costs of the episode below."""
        picture = Picture()
        picture.text(f"period {self.period} of {PERIODS}", 20, 24)
        picture.text(self.last_event, 160, 24)
        shop, warehouse, factory = self.stock
        shop_label = "shop" if shop >= 0 else "customers wait"
        shop_color = BLUE if shop >= 0 else RED
        values = [self.in_transit, factory, warehouse, abs(shop)]
        labels = ["on the way", "factory", "warehouse", shop_label]
        picture.bars(Area(20, 70, 480, 205), values, labels, [ORANGE, BLUE, BLUE, shop_color], top=15)
        history = Area(20, 265, 480, 380)
        picture.text("cost of a period", 20, 250, RED)
        picture.text("0 to 150", 415, 250, GREY)
        picture.axis(history)
        picture.line(history, self.cost_history, PERIODS, 0, 150, RED)
        return picture.pixels

    def _obs(self) -> NDArray[np.float32]:
        return np.array([*self.stock, self.in_transit], np.float32)
