"""Tests of PPO."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from loops import CPU, toy_loop
from toy_envs import TwoArms

from agents.configs.ppo import PPOConfig
from agents.core.types import EnvSpaces
from agents.memory.rollout import RolloutBatch
from agents.ppo import PPO

SPACES = EnvSpaces((3,), torch.float32, 4, 2)
SMALL = PPOConfig(hidden=8, batch_size=60, minibatch_size=20, lr=1e-2, lr_end=1e-2)


def make_agent(**changes: Any) -> PPO:
    """Return an untrained agent."""
    return PPO(dataclasses.replace(SMALL, **changes), SPACES, seed=1, device=CPU)


def random_batch(size: int, seed: int = 0) -> RolloutBatch:
    """Return random agent steps, whose actions another policy than the agent's has drawn."""
    rng = np.random.default_rng(seed)
    obs = torch.from_numpy(rng.normal(size=(size, 1, 3)).astype(np.float32))
    action = torch.from_numpy(rng.integers(4, size=size))
    log_prob, value, advantage, ret = torch.from_numpy(rng.normal(size=(4, size)).astype(np.float32))
    return RolloutBatch(obs, action, log_prob - 1.5, value, advantage, ret)


@pytest.mark.parametrize("value_clip", [0.0, 0.3])
def test_loss_equals_sum_over_agent_steps(value_clip: float):
    """Each term is computed for one agent step at a time."""
    agent = make_agent(ratio_clip=0.1, value_clip=value_clip, value_weight=0.7, entropy_weight=0.2)
    batch = random_batch(40)
    loss, metrics = agent.loss(batch)
    log_pi, value = (output.detach().double().numpy() for output in agent.network(batch.obs))
    total = 0.0
    kl = 0.0
    for i in range(40):
        pi = np.exp(log_pi[i])
        advantage = float(batch.advantage[i])
        ratio = pi[batch.action[i]] / np.exp(float(batch.log_prob[i]))
        kl += (ratio - 1 - np.log(ratio)) / 40
        bounded_ratio = min(ratio, 1.1) if advantage > 0 else max(ratio, 0.9)
        squared_error = (value[i] - float(batch.ret[i])) ** 2
        if value_clip:
            old = float(batch.value[i])
            clipped = min(max(value[i], old - value_clip), old + value_clip)
            squared_error = max(squared_error, (clipped - float(batch.ret[i])) ** 2)
        entropy = -sum(p * np.log(p) for p in pi)
        total += -bounded_ratio * advantage + 0.7 * squared_error - 0.2 * entropy
    assert float(loss.detach()) == pytest.approx(total / 40, rel=1e-4)
    assert float(metrics["kl"].detach()) == pytest.approx(kl, rel=1e-4)


@pytest.mark.parametrize(("steps", "size"), [(100, 8), (65, 8), (383, 256), (5, 8)])
def test_sizes_of_minibatches_differ_by_at_most_one(steps: int, size: int):
    agent = make_agent()
    sizes = [len(minibatch.action) for minibatch in agent.shuffled_minibatches(random_batch(steps), size)]
    assert len(sizes) == max(1, round(steps / size))
    assert sum(sizes) == steps
    assert max(sizes) - min(sizes) <= 1


def record_updates(agent: PPO, monkeypatch: pytest.MonkeyPatch) -> list[RolloutBatch]:
    """Return a list to which the agent adds the minibatch of each update."""
    minibatches: list[RolloutBatch] = []
    update = agent.update

    def recording_update(minibatch: RolloutBatch) -> Any:
        minibatches.append(minibatch)
        return update(minibatch)

    monkeypatch.setattr(agent, "update", recording_update)
    return minibatches


def test_every_epoch_uses_every_agent_step_once(monkeypatch: pytest.MonkeyPatch):
    agent = make_agent(epochs=3, standardize="none")
    minibatches = record_updates(agent, monkeypatch)
    batch = random_batch(57)
    agent.learn(batch)
    assert [len(minibatch.action) for minibatch in minibatches] == [19] * 9
    orders = []
    for epoch in range(3):
        advantages = torch.cat([minibatch.advantage for minibatch in minibatches[3 * epoch : 3 * epoch + 3]])
        assert sorted(advantages.tolist()) == sorted(batch.advantage.tolist())
        orders.append(advantages.tolist())
    assert orders[0] != orders[1] != orders[2]


@pytest.mark.parametrize("standardize", ["none", "batch", "minibatch"])
def test_advantages_are_standardized_over_the_batch_or_each_minibatch(
    standardize: str, monkeypatch: pytest.MonkeyPatch
):
    agent = make_agent(epochs=1, standardize=standardize)
    minibatches = record_updates(agent, monkeypatch)
    batch = random_batch(60)
    agent.learn(batch)
    advantages = [minibatch.advantage.numpy().astype(float) for minibatch in minibatches]
    raw = batch.advantage.numpy().astype(float)
    if standardize == "none":
        assert sorted(np.concatenate(advantages)) == pytest.approx(sorted(raw))
    elif standardize == "batch":
        assert sorted(np.concatenate(advantages)) == pytest.approx(
            sorted((raw - raw.mean()) / raw.std(ddof=1)), abs=1e-5
        )
    else:
        assert [a.mean() for a in advantages] == pytest.approx([0, 0, 0], abs=1e-5)
        assert [a.std(ddof=1) for a in advantages] == pytest.approx([1, 1, 1], abs=1e-5)


def test_a_minibatch_of_one_agent_step_stays_finite():
    agent = make_agent(minibatch_size=1, standardize="minibatch", epochs=1)
    agent.learn(random_batch(5))
    assert all(torch.isfinite(weight).all() for weight in agent.network.parameters())


def test_no_further_epoch_when_the_policy_has_moved_by_more_than_target_kl():
    """The bound lies between the divergence of the first pass and that of the second, measured without a bound."""
    batch = random_batch(60)
    with torch.no_grad():  # draw the actions from the policy itself, so that the divergence begins at 0
        log_pi, _ = make_agent().network(batch.obs)
    batch = batch._replace(log_prob=log_pi.gather(1, batch.action[:, None]).squeeze(1))

    def kl_of_epochs(epochs: int) -> float:
        """Return the mean divergence of the updates of the last of `epochs` passes."""
        agent = make_agent(epochs=epochs)
        kls = []
        update = agent.update

        def recording_update(minibatch: RolloutBatch) -> Any:
            metrics = update(minibatch)
            kls.append(float(metrics["kl"]))
            return metrics

        agent.update = recording_update  # type: ignore[method-assign]
        agent.learn(batch)
        return float(np.mean(kls[-3:]))

    first, second = kl_of_epochs(1), kl_of_epochs(2)
    assert first < second
    agent = make_agent(epochs=10, target_kl=(first + second) / 2)
    agent.learn(batch)
    assert agent.updates == 6
    agent = make_agent(epochs=10, target_kl=first / 2)
    agent.learn(batch)
    assert agent.updates == 3


def test_agent_learns_the_better_arm():
    agent, loop = toy_loop(SMALL, 4, TwoArms, cls=PPO)
    while agent.updates < 200:
        loop.step()
    assert agent.network(torch.zeros(1, 1, 1))[0].exp()[0, 1] > 0.9
