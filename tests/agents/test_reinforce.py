"""Tests of REINFORCE."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from loops import CPU, toy_loop
from toy_envs import NumberedSteps, TwoArms

from agents.configs.reinforce import ReinforceConfig
from agents.core.settings import ConfigError
from agents.core.types import EnvSpaces, ValueScaling
from agents.memory.rollout import RolloutBatch
from agents.reinforce import Reinforce

SMALL = ReinforceConfig(hidden=8, batch_size=60, gamma=0.9, trace_decay=0.8)
VECTOR = EnvSpaces((3,), torch.float32, 4, 3)
IMAGE = EnvSpaces((84, 84), torch.uint8, 4, 3)


def make_agent(
    config: ReinforceConfig, num_envs: int, env: Any = NumberedSteps, seed: int = 1
) -> tuple[Reinforce, Any]:
    """Return an untrained agent and its loop over toy environments."""
    cls: Any = Reinforce
    agent: Any
    agent, loop = toy_loop(config, num_envs, env, seed=seed, cls=cls)
    return agent, loop


def test_gradient_on_two_armed_bandit_is_exact_policy_gradient():
    """For arms worth 0 and 1, and p the probability of the second arm, dJ/dlogits = p (1 - p) (-1, 1)."""
    config = dataclasses.replace(SMALL, baseline=False, standardize=False, entropy_weight=0.0)
    agent, _ = make_agent(config, 4, TwoArms)
    with torch.no_grad():
        agent.network.policy.bias.copy_(torch.tensor([0.3, -0.5]))
    p = float(agent.network(torch.zeros(1, 1, 1))[0].detach().exp()[0, 1])
    assert p == pytest.approx(1 / (1 + np.exp(0.8)), abs=1e-5)
    n = 100_000
    obs = torch.zeros(n, 1)
    is_first = torch.ones(n, dtype=torch.bool)
    action, _ = agent.act(obs, is_first, agent.initial_carry(n), explore=True)
    log_prob, _ = agent.acting_records.pop()
    reward = action.float()
    batch = RolloutBatch(
        obs=obs[:, None], action=action, log_prob=log_prob, value=0 * reward, advantage=reward, ret=reward
    )
    loss, _ = agent.loss(batch)
    loss.backward()
    gradient = agent.network.policy.bias.grad
    assert gradient is not None
    error = 4 * np.sqrt(p * (1 - p) / n)  # at least four standard errors
    assert (-gradient).numpy() == pytest.approx(p * (1 - p) * np.array([-1, 1]), abs=error)


def test_loss_equals_sum_over_rows():
    """The rows come from another policy, so that the probability ratio differs from 1."""
    config = dataclasses.replace(SMALL, value_weight=0.7, entropy_weight=0.3)
    agent, _ = make_agent(config, 2)
    rng = np.random.default_rng(0)
    obs = torch.from_numpy(rng.normal(size=(50, 1, 3)).astype(np.float32))
    action = torch.from_numpy(rng.integers(2, size=50))
    log_prob, played_value, advantage, ret = torch.from_numpy(rng.normal(size=(4, 50)).astype(np.float32))
    loss, _ = agent.loss(RolloutBatch(obs, action, log_prob, played_value, advantage, ret))
    log_pi, value = (output.detach().double().numpy() for output in agent.network(obs))
    total = 0.0
    for i in range(50):
        pi = np.exp(log_pi[i])
        assert pi.sum() == pytest.approx(1)
        a = float(advantage[i])
        ratio = pi[action[i]] / np.exp(float(log_prob[i]))
        entropy = -sum(p * np.log(p) for p in pi)
        total += -ratio * a + 0.7 * (value[i] - float(ret[i])) ** 2 - 0.3 * entropy
    assert float(loss.detach()) == pytest.approx(total / 50, rel=1e-4)


@pytest.mark.parametrize("standardize", [False, True])
def test_a_batch_is_one_gradient_step(standardize: bool, monkeypatch: pytest.MonkeyPatch):
    agent, _ = make_agent(dataclasses.replace(SMALL, standardize=standardize), 2)
    rng = np.random.default_rng(0)
    obs = torch.from_numpy(rng.normal(size=(50, 1, 3)).astype(np.float32))
    action = torch.from_numpy(rng.integers(2, size=50))
    log_prob, value, advantage, ret = torch.from_numpy(rng.normal(2, 3, size=(4, 50)).astype(np.float32))
    batches: list[RolloutBatch] = []
    gradient_step = agent.gradient_step

    def recording_step(batch: RolloutBatch) -> Any:
        batches.append(batch)
        return gradient_step(batch)

    monkeypatch.setattr(agent, "gradient_step", recording_step)
    agent.learn(RolloutBatch(obs, action, log_prob, value, advantage, ret))
    (batch,) = batches
    assert agent.updates == 1
    assert batch.action.tolist() == action.tolist()
    raw = advantage.numpy().astype(float)
    expected = (raw - raw.mean()) / raw.std(ddof=1) if standardize else raw
    assert batch.advantage.tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def test_agent_learns_the_better_arm():
    agent, loop = make_agent(dataclasses.replace(SMALL, lr=1e-2), 4, TwoArms)
    while agent.updates < 200:
        loop.step()
    assert agent.network(torch.zeros(1, 1, 1))[0].exp()[0, 1] > 0.9


def test_state_dict_restores_acting_records():
    agent, _ = make_agent(SMALL, 2)
    agent.act(torch.zeros(2, 3), torch.ones(2, dtype=torch.bool), agent.initial_carry(2), explore=True)
    state = agent.state_dict()
    assert [len(record) for record in state["acting_records"]] == [2]
    other, _ = make_agent(SMALL, 2, seed=2)
    other.load_state_dict(state)
    assert len(other.acting_records) == 1
    for restored, saved in zip(other.acting_records[0], agent.acting_records[0], strict=True):
        assert torch.equal(restored, saved)


@pytest.mark.parametrize("baseline", [False, True])
def test_all_values_are_0_without_a_baseline(baseline: bool):
    """The rollout computes advantages from these values, which then are the returns."""
    agent = Reinforce(dataclasses.replace(SMALL, baseline=baseline), VECTOR, seed=1, device=CPU)
    obs = torch.randn(3, 3)
    is_first = torch.ones(3, dtype=torch.bool)
    agent.act(obs, is_first, agent.initial_carry(3), explore=True)
    _, recorded_value = agent.acting_records[0]
    output, _ = agent.policy_output(obs, is_first, agent.initial_carry(3))
    for value in (recorded_value, output.value):
        assert value.any() == baseline


def test_value_scaling_is_that_of_the_settings():
    agent = Reinforce(dataclasses.replace(SMALL, reward_clip=1.0), VECTOR, seed=1, device=CPU)
    assert agent.value_scaling == ValueScaling(gamma=0.9, reward_clip=1.0)


def test_layer_norm_is_used():
    agent = Reinforce(dataclasses.replace(SMALL, norm="layer"), VECTOR, seed=1, device=CPU)
    assert any(isinstance(layer, torch.nn.LayerNorm) for layer in agent.network.modules())


@pytest.mark.parametrize(
    ("changes", "spaces", "message"),
    [
        ({"batch_size": 2}, VECTOR, "batch_size is 2; it must be at least num_envs, 3"),
        ({"convolutions": False}, VECTOR, "convolutions is false; this needs images and a frame_stack of 2"),
        (
            {"convolutions": False, "frame_stack": 2, "norm": "layer"},
            IMAGE,
            "norm is layer; without convolutions it must be none",
        ),
        ({"norm": "batch"}, VECTOR, "norm is batch; without a replay memory it must be none, layer or layers"),
        ({"dropout": 0.1}, VECTOR, "dropout is 0.1; without a replay memory it must be 0"),
    ],
)
def test_contradicting_settings_raise(changes, spaces, message):
    with pytest.raises(ConfigError, match=message):
        Reinforce(dataclasses.replace(SMALL, **changes), spaces, seed=1, device=CPU)
