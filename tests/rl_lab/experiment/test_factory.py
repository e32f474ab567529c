"""What a configuration builds."""

import os

import pytest

from envs.spec import EnvSpec
from rl_lab import api
from rl_lab.experiment import config, factory
from rl_lab.system import container


@pytest.mark.parametrize(("asked", "threads"), [(0, 3), (2, 2)])
def test_emulators_take_the_cores_that_the_process_may_use(asked, threads, monkeypatch, tmp_path):
    """Not the machine's, most of which are others' in a job of a cluster."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 4}, raising=False)
    monkeypatch.setattr(container, "CGROUP", tmp_path)
    monkeypatch.setattr(factory, "make_stream", lambda env_spec, num_envs, *, threads, vectorization: threads)
    env_spec = api.resolve_env("Pong")
    assert isinstance(env_spec, EnvSpec)
    assert (
        factory.make_envs(config.resolve("dqn", env_spec, {"env": "Pong", "emulator_threads": asked}), env_spec, 8)
        == threads
    )
