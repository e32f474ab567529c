"""Tests of A2C."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from loops import record_batches, toy_loop
from toy_envs import NumberedSteps, TwoArms

from agents.a2c import A2C
from agents.configs.a2c import A2CConfig
from agents.core.types import StepResult
from agents.memory.rollout import RolloutBatch

GAMMA = 0.9
NUM_ENVS = 3
ROWS = 5
SMALL = A2CConfig(hidden=8, batch_size=ROWS * NUM_ENVS, gamma=GAMMA)


def n_step_return(rows: list[tuple[StepResult, list[float]]], t: int, i: int, newest: int) -> float:
    """Return R of row t of environment i, which ends with its episode or with the row `newest`."""
    ret = 0.0
    discount = 1.0
    while t < newest:
        step = rows[t][0]
        ret += discount * float(step.reward[i])
        discount *= GAMMA
        t += 1
        if step.terminated[i]:
            return ret
        if step.truncated[i]:
            break
    return ret + discount * rows[t][1][i]


def test_returns_are_n_step_returns_up_to_the_end_of_the_batch():
    """The oracle adds up the rewards of each agent step in a loop, and ends a return where its episode ends."""
    agent, loop = toy_loop(SMALL, NUM_ENVS, NumberedSteps, cls=A2C)
    rows, batches = record_batches(agent, loop, 20)
    begin = 0
    for batch, newest in batches:
        assert newest - begin == ROWS
        agent_steps = [(t, i) for t in range(begin, newest) for i in range(NUM_ENVS) if not rows[t][0].is_last[i]]
        expected = [n_step_return(rows, t, i, newest) for t, i in agent_steps]
        assert sorted(batch.ret.tolist()) == pytest.approx(sorted(expected), abs=1e-4)
        assert (batch.advantage + batch.value).tolist() == pytest.approx(batch.ret.tolist(), abs=1e-5)
        begin = newest
    assert any(step.terminated.any() for step, _ in rows)


def test_a_batch_is_one_gradient_step_on_the_mean_of_grad_log_pi_times_advantage():
    """The gradient of the policy layer's bias is compared with the formula, for actions of the current policy."""
    agent, _ = toy_loop(A2CConfig(hidden=8, entropy_weight=0.0), 4, NumberedSteps, cls=A2C)
    rng = np.random.default_rng(0)
    obs = torch.from_numpy(rng.normal(size=(50, 1, 3)).astype(np.float32))
    with torch.no_grad():
        log_pi, value = agent.network(obs)
    action = torch.from_numpy(rng.integers(log_pi.shape[1], size=50))
    advantage = torch.from_numpy(rng.normal(size=50).astype(np.float32))
    log_prob = log_pi.gather(1, action[:, None]).squeeze(1)
    loss, _ = agent.loss(RolloutBatch(obs, action, log_prob, value, advantage, value + advantage))
    loss.backward()
    bias = agent.network.policy.bias.grad
    assert bias is not None
    pi = log_pi.exp().numpy()
    one_hot = np.eye(pi.shape[1])[action.numpy()]
    expected = -((one_hot - pi) * advantage.numpy()[:, None]).mean(0)
    assert bias.numpy() == pytest.approx(expected, abs=1e-5)


def test_agent_learns_the_better_arm():
    agent, loop = toy_loop(A2CConfig(hidden=8, batch_size=20, lr=1e-2, lr_end=1e-2), 4, TwoArms, cls=A2C)
    while agent.updates < 400:
        loop.step()
    assert agent.network(torch.zeros(1, 1, 1))[0].exp()[0, 1] > 0.9
