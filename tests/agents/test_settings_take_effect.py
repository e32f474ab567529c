"""Tests that a setting of the updates has its effect in every agent, from the setting to the parameters."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from loops import CPU, toy_loop
from numpy.typing import NDArray
from toy_envs import NumberedSteps

from agents.a2c import A2C
from agents.configs.a2c import A2CConfig
from agents.configs.dqn import DQNConfig, DRQNConfig, RainbowConfig
from agents.configs.ppo import PPOConfig
from agents.configs.pqn import PQNConfig
from agents.configs.reinforce import ReinforceConfig
from agents.core.types import EnvSpaces
from agents.dqn import DQN
from agents.drqn import DRQN
from agents.memory.rollout import RolloutBatch
from agents.ppo import PPO
from agents.pqn import PQN
from agents.rainbow import Rainbow
from agents.reinforce import Reinforce

NUM_ENVS = 2
VALUE: dict[str, Any] = {"hidden": 8, "learning_starts": 32, "replay_size": 400, "target_every": 7}
ROLLOUT: dict[str, Any] = {"hidden": 8, "batch_size": 40}
AGENTS = [
    pytest.param(DQN, DQNConfig(**VALUE), id="dqn"),
    pytest.param(Rainbow, RainbowConfig(**VALUE, value_low=-5.0, value_high=5.0), id="rainbow"),
    pytest.param(DRQN, DRQNConfig(**VALUE, unroll=4), id="drqn"),
    pytest.param(Reinforce, ReinforceConfig(**ROLLOUT), id="reinforce"),
    pytest.param(A2C, A2CConfig(**ROLLOUT), id="a2c"),
    pytest.param(PPO, PPOConfig(**ROLLOUT), id="ppo"),
    pytest.param(PQN, PQNConfig(**ROLLOUT), id="pqn"),
]


class PaysAndFines(NumberedSteps):
    """`NumberedSteps` with the rewards 0, 3 and -3 in turn."""

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        obs, _, terminated, truncated, info = super().step(action)
        return obs, 3.0 * (self.step_number % 3 - 1), terminated, truncated, info


# --- Rewards ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [0.0, 1.5])
@pytest.mark.parametrize(("cls", "config"), AGENTS)
def test_memory_holds_rewards_clipped_to_both_sides(cls: Any, config: Any, clip: float):
    agent, loop = toy_loop(dataclasses.replace(config, reward_clip=clip), NUM_ENVS, PaysAndFines, cls=cls)
    raw: list[list[float]] = []
    observe = agent.observe

    def recording_observe(step: Any) -> Any:
        raw.append(step.reward.tolist())
        return observe(step)

    agent.observe = recording_observe
    for _ in range(19):
        loop.step()
    memory = agent.replay if hasattr(agent, "replay") else agent.rollout.memory
    stored = memory.state_dict()["rows"].fields["reward"][: len(raw)].tolist()
    expected = raw
    if clip:
        expected = [[max(-clip, min(clip, reward)) for reward in row] for row in raw]
    assert stored == expected
    assert {-3.0, 3.0} <= {reward for row in raw for reward in row}


# --- The gradient step ------------------------------------------------------------------------------------------------


def record_first_update(agent: Any, loop: Any) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Step a loop up to the first update of its agent, made by SGD.

    Returns:
        The change of the parameters, their gradient after clipping, and the agent steps before the update.
    """
    network = agent.online_network if hasattr(agent, "online_network") else agent.network
    agent.optimizer = torch.optim.SGD(network.parameters(), lr=123.0)
    found: list[tuple[NDArray[np.float64], NDArray[np.float64], int]] = []
    update = agent.update

    def flat(tensors: Any) -> NDArray[np.float64]:
        return torch.cat([tensor.detach().flatten() for tensor in tensors]).double().numpy().copy()

    def recording_update(batch: Any) -> Any:
        before = flat(network.parameters())
        metrics = update(batch)
        if not found:
            gradient = flat(param.grad for param in network.parameters())
            found.append((flat(network.parameters()) - before, gradient, agent.steps))
        return metrics

    agent.update = recording_update
    while not found:
        loop.step()
    return found[0]


@pytest.mark.parametrize(("cls", "config"), AGENTS)
def test_learning_rate_of_an_update_is_that_of_the_schedule(cls: Any, config: Any):
    config = dataclasses.replace(config, lr=1e-2, lr_end=1e-3, lr_steps=1000, grad_clip=0.0)
    change, gradient, steps = record_first_update(*toy_loop(config, NUM_ENVS, cls=cls))
    lr = 1e-2 + (1e-3 - 1e-2) * steps / 1000
    assert 0 < steps < 100
    assert np.abs(gradient).max() > 1e-3
    assert change == pytest.approx(-lr * gradient, rel=1e-2, abs=1e-7)


@pytest.mark.parametrize(("cls", "config"), AGENTS)
def test_gradient_of_an_update_is_no_longer_than_grad_clip(cls: Any, config: Any):
    def step_length(grad_clip: float) -> float:
        clipped = dataclasses.replace(config, lr=1.0, lr_steps=0, grad_clip=grad_clip)
        change, _, _ = record_first_update(*toy_loop(clipped, NUM_ENVS, cls=cls))
        return float(np.linalg.norm(change))

    unclipped = step_length(0.0)
    assert unclipped > 1e-3
    assert step_length(unclipped / 10) == pytest.approx(unclipped / 10, rel=1e-2)
    assert step_length(2 * unclipped) == pytest.approx(unclipped, rel=1e-2)


# --- Prioritised replay and the target network ------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "beta"), [(0, 0.4), (250, 0.55), (1000, 1.0), (3000, 1.0)])
@pytest.mark.parametrize(
    ("cls", "config"),
    [pytest.param(DQN, DQNConfig(**VALUE), id="dqn"), pytest.param(DRQN, DRQNConfig(**VALUE, unroll=1), id="drqn")],
)
def test_exponent_of_importance_weights_rises_to_1(cls: Any, config: Any, steps: int, beta: float):
    """For weights w and probabilities P of sampling, w_i / w_j = (P_i / P_j)^-beta."""
    config = dataclasses.replace(config, priority_alpha=0.7, priority_beta=0.4, priority_beta_steps=1000)
    agent, loop = toy_loop(config, NUM_ENVS, cls=cls)
    for _ in range(100):
        loop.step()
    agent.steps = steps
    batch = agent.sample()
    cells = batch.cell.flatten().numpy()
    priorities = agent.replay.priorities.values.numpy()[cells]
    assert priorities.max() > 1.2 * priorities.min()
    weights = batch.weight.numpy()
    assert weights == pytest.approx((priorities / priorities.min()) ** -beta, rel=1e-4)


def test_loss_weights_scale_the_gradient_of_each_transition():
    """With all weight on one transition, the update is that of a batch which holds this transition only."""
    agent, loop = toy_loop(DQNConfig(**VALUE, grad_clip=0.0), NUM_ENVS)
    for _ in range(30):
        loop.step()
    agent.optimizer = torch.optim.SGD(agent.online_network.parameters(), lr=1.0)
    batch = agent.sample()
    single = type(batch)(*(field[3:4] for field in batch))
    share = torch.zeros(len(batch.cell))
    share[3] = len(batch.cell)
    other = copy.deepcopy(agent)
    agent.update(batch._replace(weight=share))
    other.update(single)
    for param, other_param in zip(agent.network.parameters(), other.network.parameters(), strict=True):
        assert torch.allclose(param, other_param, atol=1e-6)


def test_target_network_is_copied_after_every_target_every_updates():
    """Between two copies, the target network stays as it is."""
    agent, loop = toy_loop(DQNConfig(**VALUE), NUM_ENVS)
    copies = []
    target = copy.deepcopy(agent.target_network.state_dict())
    while agent.updates < 30:
        updates = agent.updates
        loop.step()
        assert agent.updates <= updates + 1
        new_target = agent.target_network.state_dict()
        if any(not torch.equal(new_target[name], target[name]) for name in target):
            copies.append(agent.updates)
            online = agent.online_network.state_dict()
            assert all(torch.equal(new_target[name], online[name]) for name in target)
        target = copy.deepcopy(new_target)
    assert copies == [7, 14, 21, 28]


# --- Agents that learn from rollouts ----------------------------------------------------------------------------------


def random_rollout(size: int) -> RolloutBatch:
    """Return random agent steps for vectors of three numbers and two actions."""
    rng = np.random.default_rng(0)
    obs = torch.from_numpy(rng.normal(size=(size, 1, 3)).astype(np.float32))
    action = torch.from_numpy(rng.integers(2, size=size))
    log_prob, value, advantage, ret = torch.from_numpy(rng.normal(size=(4, size)).astype(np.float32))
    return RolloutBatch(obs, action, log_prob, value, 5 * advantage + 3, ret)


def record_minibatches(agent: Any, batch: RolloutBatch) -> list[RolloutBatch]:
    """Let an agent learn from a batch, and return the minibatch of each update."""
    minibatches: list[RolloutBatch] = []
    update = agent.update

    def recording_update(minibatch: RolloutBatch) -> Any:
        minibatches.append(minibatch)
        return update(minibatch)

    agent.update = recording_update
    agent.learn(batch)
    return minibatches


@pytest.mark.parametrize(
    ("cls", "config"),
    [pytest.param(PPO, PPOConfig(**ROLLOUT), id="ppo"), pytest.param(PQN, PQNConfig(**ROLLOUT), id="pqn")],
)
def test_every_epoch_uses_every_agent_step_once_in_a_new_order(cls: Any, config: Any):
    config = dataclasses.replace(config, epochs=3, minibatch_size=10)
    agent = cls(config, EnvSpaces((3,), torch.float32, 2, NUM_ENVS), seed=1, device=CPU)
    batch = random_rollout(40)
    minibatches = record_minibatches(agent, batch)
    assert agent.updates == len(minibatches) == 3 * 4
    orders = []
    for epoch in range(3):
        returns = torch.cat([minibatch.ret for minibatch in minibatches[4 * epoch : 4 * epoch + 4]]).tolist()
        assert sorted(returns) == sorted(batch.ret.tolist())
        orders.append(returns)
    assert orders[0] != orders[1] != orders[2]


@pytest.mark.parametrize("standardize", [False, True])
def test_reinforce_standardizes_the_advantages_of_a_batch(standardize: bool):
    config = ReinforceConfig(**ROLLOUT, standardize=standardize)
    agent = Reinforce(config, EnvSpaces((3,), torch.float32, 2, NUM_ENVS), seed=1, device=CPU)
    batch = random_rollout(40)
    minibatches = record_minibatches(agent, batch)
    advantages = np.concatenate([minibatch.advantage.numpy().astype(float) for minibatch in minibatches])
    expected = batch.advantage.numpy().astype(float)
    if standardize:
        expected = (expected - expected.mean()) / expected.std(ddof=1)
    assert np.sort(advantages) == pytest.approx(np.sort(expected), abs=1e-5)


@pytest.mark.parametrize(
    ("cls", "config"),
    [
        pytest.param(PPO, PPOConfig(**ROLLOUT), id="ppo"),
        pytest.param(A2C, A2CConfig(**ROLLOUT), id="a2c"),
        pytest.param(Reinforce, ReinforceConfig(**ROLLOUT), id="reinforce"),
    ],
)
def test_policy_scale_is_a_factor_on_the_weights_of_the_policy_layer_only(cls: Any, config: Any):
    def initial_weights(scale: float) -> dict[str, torch.Tensor]:
        agent, _ = toy_loop(dataclasses.replace(config, policy_scale=scale), NUM_ENVS, cls=cls)
        return agent.network.state_dict()

    plain = initial_weights(1.0)
    scaled = initial_weights(0.25)
    for name, weight in plain.items():
        factor = 0.25 if name == "policy.weight" else 1.0
        assert torch.allclose(scaled[name], factor * weight)
    assert plain["policy.weight"].abs().max() > 0.01
