"""Tests of policy gradients with continuous actions: the loss, what is recorded, and learning of a known optimum."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from loops import CPU, toy_loop

from agents.a2c import A2C
from agents.configs.a2c import A2CConfig
from agents.configs.ppo import PPOConfig, RecurrentPPOConfig
from agents.configs.reinforce import ReinforceConfig
from agents.core.types import EnvSpaces
from agents.memory.rollout import RolloutBatch
from agents.ppo import PPO
from agents.recurrent_ppo import RecurrentPPO
from agents.reinforce import Reinforce

SPACES = EnvSpaces((3,), torch.float32, 0, 2, action_dim=2)
SMALL: dict[str, Any] = {"hidden": 8, "batch_size": 64, "lr": 1e-2, "lr_end": 1e-2}
AGENTS = [(PPO, PPOConfig(**SMALL)), (A2C, A2CConfig(**SMALL)), (Reinforce, ReinforceConfig(**SMALL))]


class Target(gymnasium.Env):
    """One step: the reward is -(a_0 - 0.5)^2 - (a_1 + 0.25)^2. The best action is (0.5, -0.25)."""

    observation_space = Box(-1, 1, (3,), np.float32)
    action_space = Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin an episode."""
        super().reset(seed=seed)
        return np.ones(3, np.float32), {}

    def step(self, action: Any) -> Any:
        """End the episode."""
        reward = -float((action[0] - 0.5) ** 2 + (action[1] + 0.25) ** 2)
        return np.ones(3, np.float32), reward, True, False, {}


@pytest.mark.parametrize(("cls", "config"), AGENTS)
def test_loss_equals_sum_over_agent_steps(cls: Any, config: Any):
    agent = cls(config, SPACES, seed=1, device=CPU)
    rng = np.random.default_rng(1)
    size = 20
    obs = torch.from_numpy(rng.normal(size=(size, config.frame_stack, 3)).astype(np.float32))
    action = torch.from_numpy(rng.normal(size=(size, 2)).astype(np.float32))
    log_prob, value, advantage, ret = torch.from_numpy(rng.normal(size=(4, size)).astype(np.float32))
    log_prob = log_prob - 3
    loss, metrics = agent.loss(RolloutBatch(obs, action, log_prob, value, advantage, ret))
    parameters, values = (output.detach().double().numpy() for output in agent.network(obs))
    assert parameters[:, 2:] == pytest.approx(0), "the standard deviation begins at 1 and depends on no state"
    policy_loss, value_loss = 0.0, 0.0
    for i in range(size):
        density = 1.0
        for d in range(2):
            density *= np.exp(-0.5 * (float(action[i, d]) - parameters[i, d]) ** 2) / np.sqrt(2 * np.pi)
        ratio = density / np.exp(float(log_prob[i]))
        clip = getattr(config, "ratio_clip", 0) or 1e9
        bounded = min(ratio, 1 + clip) if advantage[i] > 0 else max(ratio, 1 - clip)
        policy_loss -= bounded * float(advantage[i]) / size
        value_loss += (values[i] - float(ret[i])) ** 2 / size
    entropy = 2 * 0.5 * np.log(2 * np.pi * np.e)
    expected = policy_loss + config.value_weight * value_loss - config.entropy_weight * entropy
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-3)
    assert float(metrics["entropy"].detach()) == pytest.approx(entropy, rel=1e-5)


@pytest.mark.parametrize("squashed", [False, True])
def test_rows_keep_the_sampled_action_and_its_probability(squashed: bool):
    """Before the first update, the probability of every stored action is the recorded one."""
    agent, loop = toy_loop(PPOConfig(**SMALL, squashed=squashed, initial_std=2.0), 2, Target, cls=PPO)
    batches: list[RolloutBatch] = []

    def learn(batch: RolloutBatch) -> None:
        batches.append(batch)

    agent.learn = learn
    while not batches:
        loop.step()
    (batch,) = batches
    assert (batch.action.abs().max() > 1) != squashed
    with torch.no_grad():
        parameters, _ = agent.network.eval()(batch.obs)
    torch.testing.assert_close(agent.distribution.log_prob(parameters, batch.action), batch.log_prob)


@pytest.mark.parametrize(
    ("cls", "config"),
    [
        (PPO, PPOConfig(batch_size=128, minibatch_size=128)),
        (RecurrentPPO, RecurrentPPOConfig(batch_size=128, minibatch_size=128, unroll=4)),
        (A2C, A2CConfig(batch_size=32)),
    ],
)
@pytest.mark.parametrize("squashed", [False, True])
def test_the_best_action_of_one_step_is_learned(cls: Any, config: Any, squashed: bool):
    learning = {"hidden": 16, "lr": 1e-2, "lr_end": 1e-2, "entropy_weight": 0.0}
    config = dataclasses.replace(config, squashed=squashed, **learning)
    agent, loop = toy_loop(config, 16, Target, cls=cls)
    for _ in range(900):
        loop.step()
    obs = torch.ones(1, 3)
    output, _ = agent.policy_output(obs, torch.ones(1, dtype=torch.bool), agent.initial_carry(1))
    assert output.is_continuous
    assert output.action[0].tolist() == pytest.approx([0.5, -0.25], abs=0.1)
    assert output.action_std is not None
    assert float(output.action_std.detach().max()) < 0.5
    torch.testing.assert_close(output.scores, output.action)


def test_state_is_restored_exactly():
    agent, loop = toy_loop(PPOConfig(**SMALL), 2, Target, cls=PPO)
    for _ in range(150):
        loop.step()
    other = PPO(PPOConfig(**SMALL), agent.spaces, seed=9, device=CPU)
    other.load_state_dict(agent.state_dict())
    obs = torch.ones(2, 3)
    is_first = torch.ones(2, dtype=torch.bool)
    for name, weight in agent.network.state_dict().items():
        assert torch.equal(weight, other.network.state_dict()[name])
    mine, _ = agent.act(obs, is_first, agent.initial_carry(2), explore=True)
    theirs, _ = other.act(obs, is_first, other.initial_carry(2), explore=True)
    assert torch.equal(mine, theirs)
