"""Tests of the construction of environments from a configuration."""

import os
from pathlib import Path
from typing import Any

import pytest

from rl_lab import api
from rl_lab.experiment import config, factory
from rl_lab.system import container


@pytest.mark.parametrize(("setting", "threads"), [(0, 3), (2, 2)])
def test_emulator_threads_default_to_the_cores_that_the_process_may_use(
    setting: int, threads: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    def return_threads(env_spec: Any, num_envs: int, *, threads: int, vectorization: str, seed: int) -> int:
        return threads

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 4}, raising=False)
    monkeypatch.setattr(container, "CGROUP", tmp_path)
    monkeypatch.setattr(factory, "make_stream", return_threads)
    env_spec = api.resolve_env("Pong")
    resolved = config.resolve("dqn", env_spec, {"env": "Pong", "emulator_threads": setting})
    assert factory.make_envs(resolved, env_spec, 8) == threads
