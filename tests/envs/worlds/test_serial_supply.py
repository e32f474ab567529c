"""Tests of the series of stocks against Snyder and Shen 2019 and a naive recursion."""

import math
from functools import cache
from itertools import product

import numpy as np
import pytest

from envs.worlds.serial_supply import DEMAND_PROBABILITIES, SerialSupply
from envs.worlds.serial_supply_optimum import SerialSystem, Start, rounded_normal


def test_optimum_over_an_infinite_horizon_is_that_of_example_6_1():
    """The cost is the book's, the base stocks those of its author's program stockpyl. Our grid has 0.05 units."""
    system = SerialSystem((1, 1, 2), (3.0, 2.0, 2.0), 37.12, rounded_normal(5, 1, 0.05), 0.05)
    cost, base_stocks = system.average_optimum()
    assert cost == pytest.approx(47.65, abs=0.02)
    assert base_stocks == pytest.approx([6.51, 12.01, 22.70], abs=0.05)


def test_whole_units_cost_a_little_more():
    cost, base_stocks = SerialSupply().system().average_optimum()
    assert base_stocks == [6, 12, 23]
    assert cost == pytest.approx(48.17, abs=0.005)


@pytest.mark.parametrize(
    ("stock", "periods"),
    [
        ((1, 1, 2, 1), 1),
        ((1, 1, 2, 1), 2),
        ((1, 1, 2, 1), 3),
        ((0, 2, 1, 0), 3),
        ((-1, 0, 0, 2), 3),
        ((-1, 1, 0, 1), 4),
    ],
)
def test_least_cost_equals_a_naive_recursion_over_all_stocks(stock, periods):
    demand, penalty, max_order = (0.2, 0.5, 0.3), 9.0, 4

    @cache
    def cost_to_go(shop: int, warehouse: int, factory: int, transit: int, left: int) -> float:
        if left == 0:
            return 0.0
        shipments = product(range(warehouse + 1), range(factory + 1), range(max_order + 1))
        return min(cost_of(shop, warehouse, factory, transit, left, shipped) for shipped in shipments)

    def cost_of(shop: int, warehouse: int, factory: int, transit: int, left: int, shipped: tuple[int, ...]) -> float:
        total = 0.0
        for units, probability in enumerate(demand):
            new_shop = shop + shipped[0] - units
            new_warehouse = warehouse + shipped[1] - shipped[0]
            new_factory = factory + transit - shipped[1]
            cost = 7 * max(new_shop, 0) + 4 * new_warehouse + 2 * new_factory + penalty * max(-new_shop, 0)
            total += probability * (cost + cost_to_go(new_shop, new_warehouse, new_factory, shipped[2], left - 1))
        return total

    system = SerialSystem((1, 1, 2), (3.0, 2.0, 2.0), penalty, demand)
    start = Start(stock[:3], ((), (), (stock[3],)))
    assert system.least_cost(periods, start) == pytest.approx(cost_to_go(*stock, periods), abs=1e-9)


def test_base_stock_policy_scores_its_average_cost():
    """Orders up to 6, 12 and 23 cost 48.17 a period. The optimum of 100 periods saves a period's cost at the end."""
    env = SerialSupply()
    scores = []
    for seed in range(250):
        obs, _ = env.reset(seed=seed)
        score = 0.0
        truncated = False
        while not truncated:
            shop, warehouse, factory, transit = map(int, obs)
            gaps = [6 - shop, 12 - shop - warehouse, 23 - shop - warehouse - factory - transit]
            obs, reward, _, truncated, _ = env.step(np.clip(gaps, 0, 10))
            score += reward
        scores.append(score)
    error = float(np.std(scores)) / math.sqrt(len(scores))
    assert np.mean(scores) == pytest.approx(-4817, abs=4 * error)
    assert error < 20
    assert env.optimum() == pytest.approx(-4768.3, abs=0.1)


def test_step_ships_no_more_than_the_stage_above_has():
    env = SerialSupply()
    env.action_space.seed(0)
    obs, _ = env.reset(seed=3)
    assert obs.tolist() == [1, 6, 6, 5]
    for t in range(100):
        order = env.action_space.sample()
        shop, warehouse, factory, transit = map(float, obs)
        obs, reward, terminated, truncated, info = env.step(order)
        to_shop = min(order[0], warehouse)
        to_warehouse = min(order[1], factory)
        expected = [
            shop + to_shop - info["demand"],
            warehouse - to_shop + to_warehouse,
            factory - to_warehouse + transit,
            order[2],
        ]
        assert obs.tolist() == expected
        assert min(obs[1:]) >= 0
        cost = 7 * max(obs[0], 0) + 4 * obs[1] + 2 * obs[2] + 37.12 * info["backorders"]
        assert reward == pytest.approx(-cost, rel=1e-5)
        assert info["backorders"] == max(-obs[0], 0)
        assert (terminated, truncated) == (False, t == 99)


def test_demand_is_a_rounded_normal_variable():
    env = SerialSupply()
    demands = []
    for seed in range(100):
        env.reset(seed=seed)
        demands += [env.step(np.zeros(3, np.int64))[4]["demand"] for _ in range(100)]
    shares = np.bincount(demands, minlength=11) / len(demands)
    middle = math.erf(0.5 / math.sqrt(2))  # P(4.5 < N(5, 1) < 5.5)
    assert DEMAND_PROBABILITIES[5] == pytest.approx(middle)
    assert sum(DEMAND_PROBABILITIES) == pytest.approx(1)
    assert shares == pytest.approx(DEMAND_PROBABILITIES, abs=0.02)
