"""Tests of trading a mean-reverting price against closed forms and numerical integration."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.stats import norm

from envs.worlds.mean_reversion import MeanReversion
from envs.worlds.mean_reversion_optimum import solve


def scores(policy: Callable[[float, int], int], episodes: int) -> NDArray[np.float64]:
    """Return the scores of a policy, a function from price and position to the next position."""
    env = MeanReversion()
    totals = []
    for seed in range(episodes):
        obs, _ = env.reset(seed=seed)
        total = 0.0
        truncated = False
        while not truncated:
            action = 1 + policy(float(obs[0]), int(obs[1]))
            obs, reward, _, truncated, _ = env.step(action)
            total += reward
        totals.append(total)
    return np.array(totals)


def test_optimum_is_the_published_one():
    assert MeanReversion().optimum() == pytest.approx(22.95, abs=0.05)


def test_optimal_policy_trades_beyond_a_price_of_2_05_and_otherwise_holds():
    solution = solve(0.95, 0.5, 250)
    inside = np.abs(solution.prices) < 2
    outside = np.abs(solution.prices) > 2.1
    np.testing.assert_array_equal(solution.positions[inside], np.tile([-1, 0, 1], (inside.sum(), 1)))
    expected = -np.sign(solution.prices[outside])[:, None].repeat(3, 1)
    np.testing.assert_array_equal(solution.positions[outside], expected)


@pytest.mark.parametrize(("decay", "cost"), [(0.5, 0.5), (0.9, 0.3), (0.0, 0.2)])
def test_profit_of_one_step_is_the_closed_form(decay, cost):
    """One step earns E[((1 - decay) |x| - cost)^+], x ~ N(0, s^2)."""
    deviation = 1 / math.sqrt(1 - decay**2)
    edge = cost / (1 - decay) / deviation
    expected = 2 * ((1 - decay) * deviation * norm.pdf(edge) - cost * norm.sf(edge))
    assert solve(decay, cost, 1).profit == pytest.approx(expected, abs=1e-3)


def test_profit_of_two_steps_is_that_of_numerical_integration():
    decay, cost = 0.6, 0.4

    def last_value(price: float, position: int) -> float:
        return max(new * (decay - 1) * price - cost * abs(new - position) for new in (-1, 0, 1))

    def value_of_position(price: float, new: int) -> float:
        def integrand(x: float) -> float:
            return math.exp(-((x - decay * price) ** 2) / 2) * last_value(x, new)

        following, _ = quad(integrand, -8, 8, epsabs=1e-4)
        return new * (decay - 1) * price - cost * abs(new) + following / math.sqrt(2 * math.pi)

    def first_value(price: float) -> float:
        return max(value_of_position(price, new) for new in (-1, 0, 1))

    prices = np.linspace(-5, 5, 41)
    weights = norm.pdf(prices, scale=1 / math.sqrt(1 - decay**2))
    expected = sum(weight * first_value(price) for price, weight in zip(prices, weights, strict=True)) / weights.sum()
    assert solve(decay, cost, 2).profit == pytest.approx(expected, abs=2e-3)


def test_policy_with_thresholds_scores_the_optimum():
    totals = scores(lambda price, position: -int(np.sign(price)) if abs(price) > 2.05 else position, 400)
    error = totals.std() / math.sqrt(len(totals))
    assert error < 1.5
    assert totals.mean() == pytest.approx(22.94, abs=4 * error)


def test_ignoring_costs_scores_what_the_closed_form_says():
    """The gross profit is 250 * 0.05 E|x|. A stationary price changes its sign with probability arccos(0.95) / pi."""
    gross = 250 * 0.05 * math.sqrt(2 / math.pi / (1 - 0.95**2))
    trades = 0.5 + 249 * math.acos(0.95) / math.pi
    assert gross - trades == pytest.approx(6.21, abs=0.1)
    totals = scores(lambda price, _: -int(np.sign(price)), 400)
    error = totals.std() / math.sqrt(len(totals))
    assert totals.mean() == pytest.approx(gross - trades, abs=4 * error)


def test_never_trading_scores_zero():
    assert (scores(lambda price, position: 0, 3) == 0).all()


def test_first_price_is_stationary_and_costs_count_units():
    env = MeanReversion(cost=0.25)
    first_prices = [float(env.reset(seed=seed)[0][0]) for seed in range(2000)]
    assert np.std(first_prices) == pytest.approx(1 / math.sqrt(1 - 0.95**2), rel=0.06)
    price = float(env.reset(seed=0)[0][0])
    position = 0
    for action, units in [(2, 1), (0, 2), (0, 0), (1, 1), (1, 0)]:
        obs, reward, *_ = env.step(action)
        assert reward == pytest.approx((action - 1) * (float(obs[0]) - price) - 0.25 * units, abs=1e-5)
        price, position = float(obs[0]), int(obs[1])
        assert position == action - 1
