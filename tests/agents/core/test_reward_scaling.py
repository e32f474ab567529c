"""Tests of the rewards that agents learn from, against loops over episodes in numpy."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from loops import toy_loop
from oracles import RandomRows
from torch import nn
from toy_envs import ContinuousSteps, NumberedSteps

from agents.configs.dqn import DQNConfig, DRQNConfig
from agents.configs.reinforce import ReinforceConfig
from agents.configs.sac import SACConfig
from agents.configs.shared import RewardConfig
from agents.configs.td3 import TD3Config
from agents.core.reward_scaling import RewardScaling, add_return_moments
from agents.core.types import StepResult, ValueScaling
from agents.dqn import DQN
from agents.drqn import DRQN
from agents.reinforce import Reinforce
from agents.sac import SAC
from agents.td3 import TD3

NUM_ENVS = 3
GAMMA = 0.9


def make_scaling(config: RewardConfig) -> RewardScaling:
    """Return a new scaling for three environments."""
    network = add_return_moments(nn.Linear(1, 1), config)
    return RewardScaling(config, gamma=GAMMA, num_envs=NUM_ENVS, network=network)


def random_rows(num_rows: int = 80, factor: float = 50.0) -> list[StepResult]:
    """Return rows whose episodes terminate, are truncated, or lose a life, with large rewards."""
    rows = RandomRows.make(np.random.default_rng(0), NUM_ENVS, num_rows, 0.1, 0.1, 0.2).steps
    return [row._replace(reward=factor * row.reward) for row in rows]


class Expected(NamedTuple):
    """Learned rewards of each row, and the deviation of the returns after each row."""

    rewards: list[np.ndarray]
    deviations: list[float]


def normalized_rewards(rows: list[StepResult], scale: float, limit: float) -> Expected:
    """Return the normalised rewards, from a list of all discounted returns so far."""
    running = [0.0] * NUM_ENVS
    all_returns: list[float] = []
    expected = Expected([], [])
    for row in rows:
        for i in range(NUM_ENVS):
            if row.is_first[i]:
                running[i] = 0.0
            running[i] = GAMMA * running[i] + float(row.reward[i])
            if not row.is_last[i]:
                all_returns.append(running[i])
        deviation = float(np.sqrt(np.var(all_returns) + 1e-8))
        expected.deviations.append(deviation)
        expected.rewards.append((scale * row.reward.double().numpy() / deviation).clip(-limit, limit))
    return expected


@pytest.mark.parametrize(
    ("scale", "clip", "limit"),
    [(1.0, 0.0, 10.0), (1.0, 0.5, 0.5), (1.0, 30.0, 10.0), (2.5, 0.0, 10.0), (100.0, 0.0, 10.0)],
)
def test_normalised_rewards_are_divided_by_the_deviation_of_all_returns(scale: float, clip: float, limit: float):
    scaling = make_scaling(RewardConfig(reward_scale=scale, normalize_reward=True, reward_clip=clip))
    rows = random_rows()
    expected = normalized_rewards(rows, scale, limit)
    learned = [scaling(row).reward for row in rows]
    for reward, expected_reward in zip(learned, expected.rewards, strict=True):
        assert reward.dtype == torch.float32
        assert reward.numpy() == pytest.approx(expected_reward, rel=1e-5)
    if limit == 0.5 or scale == 100:
        assert any(float(reward.abs().max()) == limit for reward in learned[40:])
    value_scaling = scaling.value_scaling()
    assert value_scaling == (GAMMA, limit, pytest.approx(scale / expected.deviations[-1], rel=1e-9))


def test_rewards_do_not_depend_on_their_unit():
    """Rewards in another unit are normalised to equal rewards."""
    settings = RewardConfig(normalize_reward=True)
    scaling, other = make_scaling(settings), make_scaling(settings)
    for row, other_row in zip(random_rows(factor=1.0), random_rows(factor=1000.0), strict=True):
        assert torch.allclose(scaling(row).reward, other(other_row).reward, rtol=1e-4)


def test_restored_scaling_goes_on_with_the_running_episodes():
    settings = RewardConfig(normalize_reward=True)
    scaling, restored = make_scaling(settings), make_scaling(settings)
    rows = random_rows()
    for row in rows[:40]:
        scaling(row)
    assert scaling.moments is not None
    assert restored.moments is not None
    restored.moments.load_state_dict(scaling.moments.state_dict())
    restored.load_state_dict(copy.deepcopy(scaling.state_dict()))
    for row in rows[40:]:
        assert torch.equal(restored(row).reward, scaling(row).reward)


@pytest.mark.parametrize(("scale", "clip"), [(1.0, 0.0), (1.0, 2.0), (0.1, 0.0), (0.1, 2.0)])
def test_rewards_are_scaled_and_then_clipped(scale: float, clip: float):
    scaling = make_scaling(RewardConfig(reward_scale=scale, reward_clip=clip))
    for row in random_rows():
        expected = row.reward.numpy() * np.float32(scale)
        if clip:
            expected = expected.clip(-clip, clip)
        learned = scaling(row)
        assert learned.reward.numpy() == pytest.approx(expected, rel=1e-6)
        assert learned._replace(reward=row.reward) == row
    assert scaling.value_scaling() == ValueScaling(GAMMA, clip, scale)
    assert scaling.state_dict() == {}


VALUE_SETTINGS = {"hidden": 8, "learning_starts": 20, "replay_size": 400, "gamma": GAMMA, "target_every": 5}
CONTINUOUS_SETTINGS: dict[str, Any] = {
    "hidden": 8,
    "learning_starts": 20,
    "replay_size": 400,
    "gamma": GAMMA,
    "batch_size": 16,
    "replay_ratio": 16,
}
NORMALIZED: dict[str, Any] = {"normalize_reward": True, "reward_scale": 3.0}
AGENTS = [
    pytest.param(DQN, DQNConfig(**VALUE_SETTINGS, **NORMALIZED), id="dqn"),
    pytest.param(DQN, DQNConfig(**VALUE_SETTINGS, **NORMALIZED, target_tau=0.1), id="dqn with tau"),
    pytest.param(DRQN, DRQNConfig(**VALUE_SETTINGS, **NORMALIZED, unroll=4), id="drqn"),
    pytest.param(Reinforce, ReinforceConfig(hidden=8, gamma=GAMMA, batch_size=48, **NORMALIZED), id="reinforce"),
    pytest.param(SAC, SACConfig(**CONTINUOUS_SETTINGS, **NORMALIZED), id="sac"),
    pytest.param(TD3, TD3Config(**CONTINUOUS_SETTINGS, **NORMALIZED), id="td3"),
]


def env_of(cls: Any) -> Any:
    """Return a toy environment whose actions the agent can choose."""
    return ContinuousSteps if cls in (SAC, TD3) else NumberedSteps


def observed_rows(agent: Any, loop: Any, num_rows: int) -> list[StepResult]:
    """Step a loop, and return the rows that the agent has observed."""
    rows: list[StepResult] = []
    observe = agent.observe
    agent.observe = lambda step: (rows.append(step), observe(step))[1]
    for _ in range(num_rows):
        loop.step()
    return rows


@pytest.mark.parametrize(("cls", "config"), AGENTS)
def test_agents_store_normalised_rewards(cls: Any, config: Any):
    agent, loop = toy_loop(config, NUM_ENVS, env_of(cls), cls=cls)
    rows = observed_rows(agent, loop, 16)
    expected = normalized_rewards(rows, scale=3.0, limit=10.0)
    memory = agent.rollout.memory if cls is Reinforce else agent.replay
    stored = memory.state_dict()["rows"].fields["reward"][: len(rows)].numpy()
    assert stored == pytest.approx(np.stack(expected.rewards), rel=1e-5)
    assert agent.value_scaling.reward_scale == pytest.approx(3.0 / expected.deviations[-1], rel=1e-9)


@pytest.mark.parametrize(("cls", "config"), AGENTS)
def test_present_scale_travels_with_the_weights(cls: Any, config: Any):
    """A viewer loads the weights only. With Polyak averaging it acts with the target network."""
    agent, loop = toy_loop(config, NUM_ENVS, env_of(cls), cls=cls)
    observed_rows(agent, loop, 60)
    assert agent.updates > 0
    viewer, _ = toy_loop(config, 1, env_of(cls), cls=cls, seed=2)
    viewer.start_from(agent.network.state_dict())
    assert viewer.value_scaling.reward_scale != 3.0
    assert viewer.value_scaling == agent.value_scaling


@pytest.mark.parametrize(("cls", "config"), AGENTS)
def test_a_state_without_the_returns_is_accepted(cls: Any, config: Any):
    """Checkpoints that were written without normalize_reward have no such state."""
    plain = dataclasses.replace(config, normalize_reward=False)
    agent, _ = toy_loop(plain, NUM_ENVS, env_of(cls), cls=cls)
    assert "reward_scaling" not in agent.state_dict()
    other, _ = toy_loop(plain, NUM_ENVS, env_of(cls), cls=cls, seed=2)
    other.load_state_dict(agent.state_dict())
    assert other.value_scaling == ValueScaling(GAMMA, 0.0, 3.0)
