"""Tests of PQN."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from loops import CPU, record_batches, toy_loop
from toy_envs import NumberedSteps, TwoArms

from agents.configs.pqn import PQNConfig
from agents.core.types import EnvSpaces, StepResult
from agents.memory.rollout import RolloutBatch
from agents.nn.encoders import build_encoder
from agents.pqn import PQN

GAMMA = 0.9
LAMBDA = 0.7
NUM_ENVS = 3
SMALL = PQNConfig(
    hidden=8, batch_size=24, minibatch_size=8, gamma=GAMMA, trace_decay=LAMBDA, epsilon_steps=500, lr=1e-2, lr_end=1e-2
)


def lambda_return(rows: list[tuple[StepResult, list[float]]], t: int, i: int, newest: int) -> float:
    """Return R_t of environment i by the recursion of Peng's Q(lambda), which ends with the row `newest`.

    Args:
        rows: Each row, with max_a Q(s, a) when the row was played.
        t: Number of the row.
        i: Number of the environment.
        newest: Number of the newest row.
    """
    step = rows[t][0]
    reward = float(step.reward[i])
    if step.terminated[i]:
        return reward
    next_value = rows[t + 1][1][i]
    if step.truncated[i] or t + 1 == newest:
        return reward + GAMMA * next_value
    return reward + GAMMA * ((1 - LAMBDA) * next_value + LAMBDA * lambda_return(rows, t + 1, i, newest))


def test_returns_follow_the_recursion_of_q_lambda():
    agent, loop = toy_loop(SMALL, NUM_ENVS, NumberedSteps, cls=PQN)
    rows, batches = record_batches(agent, loop, 10)
    begin = 0
    for batch, newest in batches:
        agent_steps = [(t, i) for t in range(begin, newest) for i in range(NUM_ENVS) if not rows[t][0].is_last[i]]
        expected = [lambda_return(rows, t, i, newest) for t, i in agent_steps]
        assert sorted(batch.ret.tolist()) == pytest.approx(sorted(expected), abs=1e-3)
        begin = newest
    assert any(step.terminated.any() for step, _ in rows)


def test_recorded_values_are_maxima_of_the_acting_network():
    agent = PQN(SMALL, EnvSpaces((3,), torch.float32, 4, 5), seed=1, device=CPU)
    obs = torch.randn(5, 3)
    agent.act(obs, torch.ones(5, dtype=torch.bool), agent.initial_carry(5), explore=True)
    _, value = agent.acting_records[0]
    with torch.no_grad():
        q = agent.network(obs[:, None]).numpy()
    assert value.numpy() == pytest.approx(q.max(1), abs=1e-6)


def test_loss_is_half_the_mean_squared_error_of_the_chosen_actions():
    agent = PQN(SMALL, EnvSpaces((3,), torch.float32, 4, 2), seed=1, device=CPU)
    rng = np.random.default_rng(0)
    obs = torch.from_numpy(rng.normal(size=(30, 1, 3)).astype(np.float32))
    action = torch.from_numpy(rng.integers(4, size=30))
    ret = torch.from_numpy(rng.normal(size=30).astype(np.float32))
    zeros = torch.zeros(30)
    loss, _ = agent.loss(RolloutBatch(obs, action, zeros, zeros, zeros, ret))
    with torch.no_grad():
        q = agent.network(obs).tolist()
    expected = np.mean([(q[i][int(action[i])] - float(ret[i])) ** 2 / 2 for i in range(30)])
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 1.0])
def test_share_of_random_actions_is_epsilon(epsilon: float):
    """A random action equals the greedy one in a fourth of the cases."""
    config = dataclasses.replace(SMALL, epsilon_start=epsilon, epsilon_end=epsilon)
    n = 20_000
    agent = PQN(dataclasses.replace(config, batch_size=n), EnvSpaces((3,), torch.float32, 4, n), seed=1, device=CPU)
    obs = torch.randn(n, 3)
    is_first = torch.ones(n, dtype=torch.bool)
    greedy, _ = agent.act(obs, is_first, agent.initial_carry(n), explore=False)
    action, _ = agent.act(obs, is_first, agent.initial_carry(n), explore=True)
    assert float((action != greedy).float().mean()) == pytest.approx(0.75 * epsilon, abs=0.015)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_layers_norm_follows_every_layer_of_an_image_encoder(dtype: torch.dtype):
    """The input of each ReLU has mean 0 and variance 1 over channels and pixels, as the initial scale is 1."""
    encoder = build_encoder(
        EnvSpaces((84, 84), torch.uint8, 4, 2), dataclasses.replace(SMALL, frame_stack=2), dtype=dtype
    )
    inputs: list[torch.Tensor] = []
    for module in encoder.modules():
        if isinstance(module, torch.nn.ReLU):
            module.register_forward_pre_hook(lambda _, args: inputs.append(args[0].detach().float().flatten(1)))
    encoder(torch.randint(0, 256, (6, 2, 84, 84), dtype=torch.uint8))
    assert len(inputs) == 4
    for values in inputs:
        assert values.mean(1).numpy() == pytest.approx(np.zeros(6), abs=0.02)
        assert values.std(1).numpy() == pytest.approx(np.ones(6), abs=0.1)


def test_agent_learns_the_better_arm():
    agent, loop = toy_loop(dataclasses.replace(SMALL, norm="none"), 4, TwoArms, cls=PQN)
    while agent.updates < 600:
        loop.step()
    with torch.no_grad():
        q = agent.network(torch.zeros(1, 1, 1))[0]
    assert float(q[1]) == pytest.approx(1.0, abs=0.15)
    assert float(q[0]) == pytest.approx(0.0, abs=0.15)
