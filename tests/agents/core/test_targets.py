"""Tests of returns, targets and advantages."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import NaiveEpisode

from agents.core.action_masks import ILLEGAL
from agents.core.targets import (
    action_gap,
    categorical_projection,
    epsilon_greedy_value,
    generalized_advantage,
    max_value,
    munchausen_bonus,
    n_step_return,
    soft_value,
    td_target,
)


@settings(max_examples=200, deadline=None)
@given(
    n=st.integers(1, 8),
    gamma=st.floats(0, 1, width=32),
    seed=st.integers(0, 2**32 - 1),
    p_end=st.sampled_from([0.0, 0.2, 0.7]),
)
def test_n_step_return_equals_sum_of_single_rewards(n: int, gamma: float, seed: int, p_end: float):
    rng = np.random.default_rng(seed)
    reward = rng.normal(size=(16, n)).astype(np.float32)
    terminated = rng.random((16, n)) < p_end
    truncated = rng.random((16, n)) < p_end
    ret, discount, m = n_step_return(
        torch.from_numpy(reward), torch.from_numpy(terminated), torch.from_numpy(truncated), gamma
    )
    for i in range(16):
        naive = NaiveEpisode([], [], list(reward[i]), list(terminated[i]), list(truncated[i]))
        expected = naive.n_step(0, n, gamma)
        assert float(ret[i]) == pytest.approx(expected[0], abs=1e-5)
        assert float(discount[i]) == pytest.approx(expected[1], abs=1e-5)
        assert int(m[i]) == expected[2]


def test_q_learning_targets_converge_to_q_star_of_chain():
    """In a chain of 5 states, action 1 moves to the next state and action 0 stays. Leaving the last state pays 1."""
    gamma, states = 0.9, 5
    q = torch.zeros(states, 2)
    for _ in range(200):
        value = max_value(q)
        next_value = torch.cat([value[1:], torch.zeros(1)])
        reward = torch.zeros(states)
        reward[-1] = 1.0
        discount = torch.full((states,), gamma)
        q_stay = td_target(torch.zeros(states), discount, value)
        discount[-1] = 0.0
        q_move = td_target(reward, discount, next_value)
        q = torch.stack([q_stay, q_move], 1)
    steps_to_go = torch.arange(states - 1, -1, -1)
    assert torch.allclose(q[:, 1], gamma**steps_to_go, atol=1e-6)
    assert torch.allclose(q[:, 0], gamma ** (steps_to_go + 1), atol=1e-6)


def test_categorical_projection_divides_probability_between_nearest_atoms():
    support = torch.tensor([0.0, 1.0, 2.0])
    probabilities = torch.tensor([[0.0, 1.0, 0.0]])
    projected = categorical_projection(torch.tensor([0.25]), torch.tensor([0.5]), probabilities, support)
    assert torch.allclose(projected, torch.tensor([[0.25, 0.75, 0.0]]))


def test_categorical_projection_clips_to_support():
    support = torch.tensor([0.0, 1.0, 2.0])
    probabilities = torch.tensor([[0.2, 0.3, 0.5]])
    projected = categorical_projection(torch.tensor([9.0]), torch.tensor([1.0]), probabilities, support)
    assert torch.allclose(projected, torch.tensor([[0.0, 0.0, 1.0]]))


@pytest.mark.parametrize("trace_decay", [0.0, 0.7, 1.0])
def test_generalized_advantage_is_weighted_sum_of_n_step_advantages(trace_decay: float):
    """Compare with (1 - lambda) sum_n lambda^(n-1) (R_n + gamma^n V - V), equation 16 of Schulman et al. 2016."""
    gamma, rows = 0.9, 60
    rng = np.random.default_rng(0)
    reward = rng.normal(size=rows).astype(np.float32)
    value = rng.normal(size=rows + 1).astype(np.float32)
    terminated = rng.random(rows) < 0.1
    truncated = ~terminated & (rng.random(rows) < 0.1)
    columns = [torch.from_numpy(x)[:, None] for x in (reward, terminated, truncated, value)]
    advantage = generalized_advantage(*columns, gamma=gamma, trace_decay=trace_decay)[:, 0]
    for t in range(rows):
        ends = np.flatnonzero((terminated | truncated)[t:])
        longest = int(ends[0]) + 1 if len(ends) else rows - t  # n-step returns of larger n are equal
        expected = 0.0
        for n in range(1, longest + 1):
            ret = sum(gamma**k * reward[t + k] for k in range(n))
            bootstrap = 0.0 if terminated[t + n - 1] else gamma**n * value[t + n]
            weight = trace_decay ** (n - 1) * (1.0 if n == longest else 1 - trace_decay)
            expected += weight * (ret + bootstrap - value[t])
        assert float(advantage[t]) == pytest.approx(expected, abs=1e-4)


def test_advantage_learning_keeps_the_best_value_and_increases_the_gap_of_a_chain():
    """The fixed point by dynamic programming: max_a Q is that of Q-learning, and a gap is 1 / (1 - alpha) as wide.

    For the best action the added term is 0. For another action a, Q(s, a) = T Q(s, a) + alpha (Q(s, a) - V(s)), so
    V(s) - Q(s, a) = (V(s) - T Q(s, a)) / (1 - alpha).
    """
    gamma, states, alpha = 0.9, 5, 0.8
    next_state = torch.tensor([[s, min(s + 1, states - 1)] for s in range(states)])
    reward = torch.zeros(states, 2)
    reward[-1, 1] = 1.0  # leaving the last state ends the episode
    discount = torch.full((states, 2), gamma)
    discount[-1, 1] = 0.0
    tables = []
    for weight in (0.0, alpha):
        q = torch.zeros(states, 2)
        for _ in range(2000):
            y = td_target(reward.flatten(), discount.flatten(), max_value(q)[next_state.flatten()])
            action = torch.arange(2).repeat(states)
            q = (y + weight * action_gap(q.repeat_interleave(2, 0), action)).view(states, 2)
        tables.append(q)
    plain, increased = tables
    value = torch.tensor([gamma ** (states - 1 - s) for s in range(states)])
    assert torch.allclose(plain.amax(1), value, atol=1e-4)
    assert torch.allclose(increased.amax(1), value, atol=1e-4)
    assert torch.allclose(value - increased[:, 0], (value - plain[:, 0]) / (1 - alpha), atol=1e-3)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), tau=st.sampled_from([0.03, 0.5, 2.0]))
def test_munchausen_terms_equal_their_sums_over_actions(seed: int, tau: float):
    """The oracle computes the softmax policy with Python floats, and leaves out an action that is illegal."""
    rng = np.random.default_rng(seed)
    q = rng.normal(size=(6, 4)).astype(np.float32)
    legal = rng.random((6, 4)) < 0.7
    legal[:, 0] = True
    masked = torch.where(torch.from_numpy(legal), torch.from_numpy(q), ILLEGAL)
    value = soft_value(masked, tau)
    bonus = munchausen_bonus(masked, torch.zeros(6, dtype=torch.int64), alpha=0.9, temperature=tau, low=-1.0)
    for i in range(6):
        values = [float(q[i, a]) for a in range(4) if legal[i, a]]
        weights = [math.exp((v - max(values)) / tau) for v in values]
        pi = [w / sum(weights) for w in weights]
        expected = sum(p * (v - tau * math.log(p)) for p, v in zip(pi, values, strict=True) if p > 0)
        assert float(value[i]) == pytest.approx(expected, abs=1e-4)
        log_pi = (values[0] - max(values)) / tau - math.log(sum(weights))
        assert float(bonus[i]) == pytest.approx(0.9 * min(max(tau * log_pi, -1.0), 0.0), abs=1e-4)


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_epsilon_greedy_value_is_the_mean_over_the_policy(epsilon: float):
    """The policy has the probability epsilon / 4 for each of 4 actions, and 1 - epsilon more for the greedy one."""
    q = np.random.default_rng(0).normal(size=(20, 4))
    value = epsilon_greedy_value(torch.from_numpy(q), epsilon)
    for i in range(20):
        policy = [epsilon / 4] * 4
        policy[int(q[i].argmax())] += 1 - epsilon
        assert float(value[i]) == pytest.approx(sum(p * x for p, x in zip(policy, q[i], strict=True)))


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_epsilon_greedy_value_leaves_out_illegal_actions(epsilon: float):
    q = torch.tensor([[1.0, ILLEGAL, 3.0, ILLEGAL]])
    value = epsilon_greedy_value(q, epsilon, has_masks=True)
    assert float(value) == pytest.approx((1 - epsilon) * 3 + epsilon * 2)


def naive_projection(ret: float, discount: float, next_p: list[float], support: list[float]) -> list[float]:
    """Return the projected distribution, one shifted atom at a time (Bellemare et al. 2017, algorithm 1)."""
    spacing = support[1] - support[0]
    projected = [0.0] * len(support)
    for atom, probability in zip(support, next_p, strict=True):
        shifted = min(max(ret + discount * atom, support[0]), support[-1])
        lower = min(int((shifted - support[0]) / spacing), len(support) - 2)
        upper_share = (shifted - support[lower]) / spacing
        projected[lower] += probability * (1 - upper_share)
        projected[lower + 1] += probability * upper_share
    return projected


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    low=st.floats(-8, 2),
    width=st.floats(0.5, 9),
    atoms=st.integers(2, 9),
    discount=st.sampled_from([0.0, 0.5, 0.97, 1.0]),
)
def test_categorical_projection_equals_naive_loop(seed: int, low: float, width: float, atoms: int, discount: float):
    rng = np.random.default_rng(seed)
    support = np.linspace(low, low + width, atoms)
    next_p = rng.dirichlet(np.ones(atoms), size=5)
    ret = rng.normal(size=5, scale=width)
    projected = categorical_projection(
        torch.from_numpy(ret), torch.full((5,), discount), torch.from_numpy(next_p), torch.from_numpy(support)
    )
    for i in range(5):
        expected = naive_projection(float(ret[i]), discount, next_p[i].tolist(), support.tolist())
        assert projected[i].tolist() == pytest.approx(expected, abs=1e-6)
