"""REINFORCE: its gradient on a bandit, its loss row by row, and what it learns."""

import dataclasses

import numpy as np
import pytest
import torch
from loops import CPU, toy_loop
from toy_envs import TwoArms

from agents.core.settings import ConfigError
from agents.core.types import EnvSpaces
from agents.memory.rollout import RolloutBatch
from agents.reinforce import Reinforce, ReinforceConfig

SMALL = ReinforceConfig(hidden=8, batch_size=60, minibatch_size=20, gamma=0.9, trace_decay=0.8)
VECTOR = EnvSpaces((3,), torch.float32, 4, 3)


def test_the_gradient_on_a_two_armed_bandit():
    """With arms worth 0 and 1 and p the probability of the second one, dJ/dlogits = p (1 - p) (-1, 1)."""
    config = dataclasses.replace(SMALL, baseline=False, standardize=False, entropy_weight=0.0, ratio_clip=0.0)
    agent, _ = toy_loop(config, 4, TwoArms, cls=Reinforce)
    with torch.no_grad():
        agent.network.policy.bias.copy_(torch.tensor([0.3, -0.5]))
    p = float(agent.network(torch.zeros(1, 1, 1))[0].detach().exp()[0, 1])
    assert p == pytest.approx(1 / (1 + np.exp(0.8)), abs=1e-5)
    n = 100_000
    obs, is_first = torch.zeros(n, 1), torch.ones(n, dtype=torch.bool)
    action, _ = agent.act(obs, is_first, agent.initial_carry(n), explore=True)
    log_prob, _ = agent.acting_records.pop()
    batch = RolloutBatch(obs[:, None], action, log_prob, action.float(), action.float())
    loss, _ = agent.loss(batch)
    loss.backward()
    error = 4 * np.sqrt(p * (1 - p) / n)  # four standard errors, and more
    assert (-agent.network.policy.bias.grad).numpy() == pytest.approx(p * (1 - p) * np.array([-1, 1]), abs=error)


@pytest.mark.parametrize("clip", [0.0, 0.2])
def test_the_loss_row_by_row(clip):
    """Rows played by another policy: the ratio weighs them, and beyond the clip they gain nothing."""
    config = dataclasses.replace(SMALL, ratio_clip=clip, value_weight=0.7, entropy_weight=0.3)
    agent, _ = toy_loop(config, 2, cls=Reinforce)
    rng = np.random.default_rng(0)
    obs = torch.from_numpy(rng.normal(size=(50, 1, 3)).astype(np.float32))
    action = torch.from_numpy(rng.integers(2, size=50))
    log_prob, advantage, ret = torch.from_numpy(rng.normal(size=(3, 50)).astype(np.float32))
    loss, _ = agent.loss(RolloutBatch(obs, action, log_prob, advantage, ret))
    log_pi, value = (x.detach().double().numpy() for x in agent.network(obs))
    total = 0.0
    for i in range(50):
        pi = np.exp(log_pi[i])
        assert pi.sum() == pytest.approx(1)
        ratio, a = pi[action[i]] / np.exp(float(log_prob[i])), float(advantage[i])
        if clip and a > 0:
            ratio = min(ratio, 1 + clip)
        elif clip:
            ratio = max(ratio, 1 - clip)
        entropy = -sum(p * np.log(p) for p in pi)
        total += -ratio * a + 0.7 * (value[i] - float(ret[i])) ** 2 - 0.3 * entropy
    assert float(loss.detach()) == pytest.approx(total / 50, rel=1e-4)


def test_it_learns_which_arm_pays():
    agent, loop = toy_loop(dataclasses.replace(SMALL, lr=1e-2), 4, TwoArms, cls=Reinforce)
    while agent.updates < 200:
        loop.step()
    assert agent.network(torch.zeros(1, 1, 1))[0].exp()[0, 1] > 0.9


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="batch_size is 2; it must be at least num_envs, 3"):
        Reinforce(dataclasses.replace(SMALL, batch_size=2), VECTOR, seed=1, device=CPU)
    with pytest.raises(ConfigError, match="convolutions is false; that is for images with a frame_stack of 2"):
        Reinforce(dataclasses.replace(SMALL, convolutions=False), VECTOR, seed=1, device=CPU)
