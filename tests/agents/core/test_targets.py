"""Targets against a walk through one reward after another."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import NaiveEpisode

from agents.core.targets import generalized_advantage, max_value, n_step_return, td_target


@settings(max_examples=200, deadline=None)
@given(
    n=st.integers(1, 8),
    gamma=st.floats(0, 1, width=32),
    seed=st.integers(0, 2**32 - 1),
    p_end=st.sampled_from([0.0, 0.2, 0.7]),
)
def test_n_step_return(n, gamma, seed, p_end):
    rng = np.random.default_rng(seed)
    reward = rng.normal(size=(16, n)).astype(np.float32)
    terminated, truncated = rng.random((16, n)) < p_end, rng.random((16, n)) < p_end
    ret, discount, m = n_step_return(*map(torch.from_numpy, (reward, terminated, truncated)), gamma)
    for i in range(16):
        naive = NaiveEpisode([], [], list(reward[i]), list(terminated[i]), list(truncated[i]))
        expected = naive.n_step(0, n, gamma)
        assert float(ret[i]) == pytest.approx(expected[0], abs=1e-5)
        assert float(discount[i]) == pytest.approx(expected[1], abs=1e-5)
        assert int(m[i]) == expected[2]


def test_q_learning_solves_a_chain_exactly():
    """Value iteration by `max_value` and `td_target` on a 5-state chain reaches the Q* of dynamic programming."""
    gamma, states = 0.9, 5  # action 1 goes right, 0 stays; the step out of the last state pays 1 and ends
    q = torch.zeros(states, 2)
    for _ in range(200):
        value = max_value(q)
        right = torch.cat([value[1:], torch.zeros(1)])
        reward = torch.zeros(states)
        reward[-1] = 1.0
        discount = torch.full((states,), gamma)
        stay = td_target(torch.zeros(states), discount, value)
        discount[-1] = 0.0
        q = torch.stack([stay, td_target(reward, discount, right)], 1)
    steps_to_go = torch.arange(states - 1, -1, -1)
    assert torch.allclose(q[:, 1], gamma**steps_to_go, atol=1e-6)
    assert torch.allclose(q[:, 0], gamma ** (steps_to_go + 1), atol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.7, 1.0])
def test_the_generalised_advantage_is_a_sum_of_n_step_errors(decay):
    """(1 - lambda) sum_n lambda^(n-1) (R_n + gamma^n V - V): equation 16 of Schulman et al. before it is rearranged."""
    rng, gamma, rows = np.random.default_rng(0), 0.9, 60
    reward, value = rng.normal(size=rows).astype(np.float32), rng.normal(size=rows + 1).astype(np.float32)
    terminated = rng.random(rows) < 0.1
    truncated = ~terminated & (rng.random(rows) < 0.1)
    columns = (torch.from_numpy(x)[:, None] for x in (reward, terminated, truncated, value))
    found = generalized_advantage(*columns, gamma, decay)[:, 0]
    for t in range(rows):
        over = np.flatnonzero((terminated | truncated)[t:])
        longest = int(over[0]) + 1 if len(over) else rows - t  # the return of all n beyond is the same
        total = 0.0
        for n in range(1, longest + 1):
            ret = sum(gamma**k * reward[t + k] for k in range(n))
            bootstrap = 0.0 if terminated[t + n - 1] else gamma**n * value[t + n]
            weight = decay ** (n - 1) * (1.0 if n == longest else 1 - decay)
            total += weight * (ret + bootstrap - value[t])
        assert float(found[t]) == pytest.approx(total, abs=1e-4)
