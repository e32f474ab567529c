"""What a configuration builds."""

import os

import pytest

from envs.card import EnvCard
from rl_lab import api, build, config, device


@pytest.mark.parametrize(("asked", "threads"), [(0, 3), (2, 2)])
def test_emulators_take_the_cores_that_the_process_may_use(asked, threads, monkeypatch, tmp_path):
    """Not the machine's, most of which are others' in a job of a cluster."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 4}, raising=False)
    monkeypatch.setattr(device, "CGROUP", tmp_path)
    monkeypatch.setattr(build, "make_stream", lambda card, num_envs, *, threads, vectorization: threads)
    card = api.resolve_env("Pong")
    assert isinstance(card, EnvCard)
    assert build.make_envs(config.resolve("dqn", card, {"env": "Pong", "emulator_threads": asked}), card, 8) == threads
