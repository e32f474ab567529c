"""Tests of repeated random actions against naive lists, and of their state in the carry."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.configs.dqn import DQNConfig
from agents.core.action_masks import ILLEGAL
from agents.core.exploration import MAX_STEPS, RepeatedActions
from agents.core.types import EnvSpaces
from agents.dqn import DQN

CPU = torch.device("cpu")
SPACES = EnvSpaces(obs_shape=(3,), dtype=torch.float32, num_actions=5, num_envs=4)


def test_durations_follow_the_zeta_distribution():
    generator = torch.Generator().manual_seed(1)
    repeated = RepeatedActions(2.0, generator)
    n = 200_000
    zeros = torch.zeros(n, dtype=torch.int64)
    q = torch.zeros(n, 2)
    carry = (zeros, zeros)
    _, (steps_left, _) = repeated(zeros, zeros, q, torch.ones(n, dtype=torch.bool), carry, 1.0)
    durations = steps_left.numpy() + 1
    weights = [k**-2.0 for k in range(1, MAX_STEPS + 1)]
    for k in (1, 2, 3, 10):
        expected = weights[k - 1] / sum(weights)
        assert (durations == k).mean() == pytest.approx(expected, abs=4 * (expected / n) ** 0.5)
    assert durations.max() <= MAX_STEPS


def test_actions_equal_those_of_a_naive_loop():
    """Rows of three environments: repeat until the duration is over, an episode begins or the action is illegal."""
    rng = np.random.default_rng(3)
    repeated = RepeatedActions(1.2, torch.Generator().manual_seed(5))
    draws = torch.Generator().manual_seed(5)
    cumulative = np.cumsum(np.arange(1, MAX_STEPS + 1) ** -1.2)
    cumulative /= cumulative[-1]
    carry = repeated.initial_carry(3)
    left = [0, 0, 0]
    kept = [0, 0, 0]
    for _ in range(300):
        greedy = rng.integers(4, size=3)
        random = rng.integers(4, size=3)
        is_first = rng.random(3) < 0.1
        legal = rng.random((3, 4)) < 0.8
        legal[np.arange(3), greedy] = True
        legal[np.arange(3), random] = True
        q = torch.where(torch.from_numpy(legal), 1.0, ILLEGAL)
        action, carry = repeated(
            torch.from_numpy(greedy), torch.from_numpy(random), q, torch.from_numpy(is_first), carry, 0.3
        )
        draw = torch.rand((2, 3), generator=draws).numpy()
        for i in range(3):
            if left[i] > 0 and not is_first[i] and legal[i, kept[i]]:
                left[i] -= 1
                expected = kept[i]
            elif draw[0, i] < 0.3:
                kept[i] = int(random[i])
                left[i] = sum(share < draw[1, i] for share in cumulative[:-1].astype(np.float32))
                expected = kept[i]
            else:
                left[i] = 0
                expected = int(greedy[i])
            assert int(action[i]) == expected


def test_agent_repeats_actions_and_its_carry_holds_them():
    config = DQNConfig(hidden=8, epsilon_start=1.0, epsilon_end=1.0, epsilon_zeta=1.1)
    agent = DQN(config, SPACES, seed=1, device=CPU)
    carry = agent.initial_carry(4)
    rows = []
    for t in range(400):
        action, carry = agent.act(torch.zeros(4, 3), torch.full((4,), t == 0), carry, explore=True)
        rows.append(action)
    actions = torch.stack(rows)
    same = (actions[1:] == actions[:-1]).float().mean()
    assert same > 0.6  # independent actions would be the same in a fifth of the rows


def test_greedy_actions_are_not_changed():
    agent = DQN(DQNConfig(hidden=8, epsilon_start=1.0, epsilon_zeta=2.0), SPACES, seed=1, device=CPU)
    obs = torch.rand(4, 3)
    action, carry = agent.act(obs, torch.ones(4, dtype=torch.bool), agent.initial_carry(4), explore=False)
    output, _ = agent.policy_output(obs, torch.ones(4, dtype=torch.bool), agent.initial_carry(4))
    assert torch.equal(action, output.action)
    assert len(carry) == len(agent.initial_carry(4))
