"""Tests of the regulator: the integral of the cost, and the optimum by a general Riccati solver and by simulation."""

import gymnasium
import numpy as np
import pytest
from scipy.linalg import solve_discrete_are

from envs.worlds.regulator import Regulator


def play(env: gymnasium.Env, gain: float, seed: int) -> tuple[float, float]:
    """Return the score of the policy u = -gain x, and x at the start."""
    obs, _ = env.reset(seed=seed)
    start = float(obs[0])
    score = 0.0
    truncated = False
    while not truncated:
        obs, reward, _, truncated, _ = env.step(np.array([-gain * obs[0]]))
        score += float(reward)
    return score, start


@pytest.mark.parametrize("dt", [0.01, 0.3, 1.0])
def test_reward_is_the_integral_of_the_cost(dt: float):
    """The integral is a sum over small steps of time, with the position in the middle of each."""
    env = Regulator(dt=dt)
    rng = np.random.default_rng(1)
    obs, _ = env.reset(seed=1)
    x = float(obs[0])
    for _ in range(5):
        u = float(rng.uniform(-1, 1))
        obs, reward, *_ = env.step(np.array([u]))
        steps = 10_000
        middle = x + u * dt * (np.arange(steps) + 0.5) / steps
        assert reward == pytest.approx(-((middle**2 + u**2) * dt / steps).sum(), rel=1e-6)
        x += u * dt
        assert float(obs[0]) == pytest.approx(x, abs=1e-6)


@pytest.mark.parametrize("dt", [0.01, 0.1, 1.0])
def test_optimum_is_that_of_a_general_riccati_solver(dt: float):
    """Ten units of time are nearly an infinite horizon, so the costs are equal up to about exp(-20)."""
    q, r, s = dt, dt + dt**3 / 3, dt**2 / 2
    p = solve_discrete_are([[1.0]], [[dt]], [[q]], [[r]], s=[[s]])[0, 0]
    assert Regulator(dt=dt).optimum() == pytest.approx(-p / 3, rel=1e-3)


def test_no_constant_gain_is_better_than_the_optimum():
    env = Regulator(dt=0.5)
    optimum = env.optimum()
    assert optimum is not None
    costs = {}
    for gain in np.linspace(0.3, 1.5, 25):
        ratios = []
        for seed in range(3):
            score, start = play(env, gain, seed)
            ratios.append(score / start**2)  # the cost is in proportion to x^2 at the start
        costs[gain] = np.mean(ratios) / 3
    assert max(costs.values()) <= optimum + 1e-9
    assert max(costs.values()) == pytest.approx(optimum, rel=1e-2)


def test_discrete_actions_are_evenly_spaced():
    env = Regulator(levels=5)
    env.reset(seed=1)
    received = [env.step(action)[-1]["u"] for action in range(5)]
    assert received == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert env.optimum() is None


@pytest.mark.parametrize(("dt", "steps"), [(1.0, 10), (0.01, 1000), (0.3, 33)])
def test_an_episode_takes_ten_units_of_time(dt: float, steps: int):
    env = Regulator(dt=dt)
    env.reset(seed=1)
    ends = [env.step(np.zeros(1))[3] for _ in range(steps)]
    assert ends.index(True) == steps - 1
