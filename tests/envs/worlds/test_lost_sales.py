"""Tests of the lost-sales system against Zipkin 2008 and a naive recursion."""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.worlds import lost_sales_optimum
from envs.worlds.lost_sales import LostSales
from envs.worlds.lost_sales_optimum import LostSalesSolver

Policy = Callable[[LostSales, NDArray[np.float32]], int]


def episode_costs(env: LostSales, policy: Policy, episodes: int) -> NDArray[np.float64]:
    """Return the mean cost a period of each of a number of episodes."""
    costs = []
    for seed in range(episodes):
        obs, _ = env.reset(seed=seed)
        total = 0.0
        truncated = False
        while not truncated:
            obs, reward, _, truncated, _ = env.step(policy(env, obs))
            total -= reward
        costs.append(total / 200)
    return np.array(costs)


@pytest.mark.parametrize(
    ("penalty", "lead_time", "cost"),
    [(4, 1, 4.04), (4, 2, 4.40), (4, 3, 4.60), (4, 4, 4.73), (9, 1, 5.44), (9, 2, 6.09), (9, 3, 6.53)],
)
def test_average_costs_are_those_of_zipkin_table_3(penalty, lead_time, cost):
    result = LostSalesSolver(lead_time, penalty, 5.0).average_cost(1e-3)
    assert 0 <= result.high - result.low < 1e-3
    assert round(result.low, 2) == cost or round(result.high, 2) == cost


@pytest.mark.parametrize(("lead_time", "cost"), [(2, 878.0), pytest.param(4, 943.1, marks=pytest.mark.slow)])
def test_least_cost_of_an_episode(lead_time, cost):
    optimum = LostSales(lead_time=lead_time).optimum()
    assert optimum is not None
    assert round(optimum, 1) == -cost


@pytest.mark.parametrize(("lead_time", "penalty", "demand"), [(1, 1000.0, 1.0), (2, 1000.0, 8.0), (1, 4.0, 10.0)])
def test_more_levels_of_stock_do_not_change_the_least_cost(monkeypatch, lead_time, penalty, demand):
    start = (round(demand),) * lead_time
    cost = LostSalesSolver(lead_time, penalty, demand).least_cost(200, start)
    monkeypatch.setattr(lost_sales_optimum, "TAIL_DEVIATIONS", 8.0)
    assert LostSalesSolver(lead_time, penalty, demand).least_cost(200, start) == pytest.approx(cost, rel=1e-6)


def test_optimum_of_long_lead_times_is_not_known():
    assert LostSales(lead_time=5).optimum() is None


@pytest.mark.parametrize(("lead_time", "start"), [(1, (2,)), (2, (1, 1)), (3, (1, 0, 2))])
def test_least_cost_equals_a_naive_recursion(lead_time, start):
    penalty, mean, holding, max_order = 3.0, 1.5, 0.7, 3
    probabilities = [math.exp(-mean) * mean**d / math.factorial(d) for d in range(16)]

    @cache
    def cost_to_go(state: tuple[int, ...], periods: int) -> float:
        if periods == 0:
            return 0.0
        return min(cost_of_order(state, order, periods) for order in range(max_order + 1))

    def cost_of_order(state: tuple[int, ...], order: int, periods: int) -> float:
        total = 0.0
        for demand, probability in enumerate(probabilities):
            left = max(state[0] - demand, 0)
            arriving, *waiting = [*state[1:], order]
            cost = holding * left + penalty * max(demand - state[0], 0)
            total += probability * (cost + cost_to_go((left + arriving, *waiting), periods - 1))
        return total

    solver = LostSalesSolver(lead_time, penalty, mean, holding=holding, max_order=max_order)
    assert solver.least_cost(4, start) == pytest.approx(cost_to_go(start, 4), abs=1e-6)


def test_stationary_policy_of_the_solver_scores_the_optimum():
    env = LostSales(lead_time=2)
    orders = LostSalesSolver(2, 4.0, 5.0).average_cost().orders
    costs = 200 * episode_costs(env, lambda _, obs: int(orders[int(obs[0]), int(obs[1])]), 300)
    error = costs.std() / math.sqrt(len(costs))
    assert error < 5
    # The stationary policy orders to the end of an episode, so its cost is up to a few periods' above the optimum.
    assert 878.0 - 4 * error < costs.mean() < 878.0 + 10 + 4 * error


@pytest.mark.parametrize(
    ("policy", "cost"),
    [
        (lambda env, obs: int(env.np_random.integers(11)), 27.8),
        (lambda env, obs: 4, 5.24),
        (lambda env, obs: min(10, max(0, 25 - int(obs.sum()))), 5.17),
        (lambda env, obs: min(5, max(0, 24 - int(obs.sum()))), 4.88),
    ],
    ids=["random", "constant order", "base stock", "capped base stock"],
)
def test_baselines_cost_what_docs_state(policy, cost):
    costs = episode_costs(LostSales(lead_time=4), policy, 250)
    error = costs.std() / math.sqrt(len(costs))
    assert error < 0.05 * cost
    assert costs.mean() == pytest.approx(cost, abs=4 * error)


def test_step_follows_the_equations():
    env = LostSales(lead_time=3, penalty=2.5)
    env.action_space.seed(0)
    x, _ = env.reset(seed=5)
    assert x.tolist() == [5, 5, 5]
    for t in range(200):
        order = int(env.action_space.sample())
        following, reward, terminated, truncated, info = env.step(order)
        left = max(x[0] - info["demand"], 0)
        lost = max(info["demand"] - x[0], 0)
        assert following.tolist() == [left + x[1], x[2], order]
        assert reward == pytest.approx(-(left + 2.5 * lost))
        assert (terminated, truncated) == (False, t == 199)
        x = following
