"""Tests of a collector in the process of the test, without Ray."""

from __future__ import annotations

import torch

from agents.dqn import DQN
from envs.make import resolve as resolve_env
from rl_lab.distributed.chunk import to_arrays
from rl_lab.distributed.collector import Collector
from rl_lab.experiment import config, factory

CPU = torch.device("cpu")


def test_a_collector_normalises_observations_by_the_statistics_of_the_learner():
    """The statistics arrive with the weights. The greedy actions are those of the learner's network."""
    env_spec = resolve_env("CartPole-v1")
    settings = {"num_envs": 4, "normalize_obs": True, "normalize_reward": True, "epsilon_end": 0.0, "hidden": 8}
    resolved = config.resolve("dqn", env_spec, settings)
    learner = factory.make_agent(resolved, env_spec, CPU)
    assert isinstance(learner, DQN)
    assert learner.normalization is not None
    rng = torch.Generator().manual_seed(0)
    learner.normalization.update(0.05 + 0.1 * torch.randn(100, 4, generator=rng))

    collector = Collector(resolved.to_dict(), env_spec.to_dict(), 2, seed=1)
    chunk = collector.collect(to_arrays(learner.network.state_dict()), steps=10**9, num_rows=40)
    obs = torch.from_numpy(chunk.rows["obs"]).flatten(0, 1)[:, None]  # [40 * 2, 1, 4]
    action = torch.from_numpy(chunk.rows["action"]).flatten()
    with torch.no_grad():
        expected = learner.network(obs).argmax(1)
        learner.normalization.mean.zero_()
        without_mean = learner.network(obs).argmax(1)
    assert torch.equal(action, expected)
    assert not torch.equal(action, without_mean)
