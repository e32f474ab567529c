"""Tests of run folders: how runs are found by name, and what their files return."""

import errno
import os
import time
from pathlib import Path

import pytest
import yaml

from envs.make import resolve as resolve_env
from rl_lab.errors import LabError
from rl_lab.experiment import config
from rl_lab.experiment.run import Run


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Run, Run, Run]:
    """Return two runs on CartPole, with seeds 1 and 2, and one on Pong, with seed 1, all in `tmp_path`."""
    created = []
    for env, seed in (("CartPole-v1", 1), ("CartPole-v1", 2), ("Pong", 1)):
        env_spec = resolve_env(env)
        settings = config.resolve("dqn", env_spec, {"seed": seed, "runs_dir": str(tmp_path)})
        created.append(Run.create(settings, env_spec))
    return created[0], created[1], created[2]


def test_find_by_folder_by_part_of_the_name_and_latest(runs: tuple[Run, Run, Run], tmp_path: Path):
    cartpole_1, cartpole_2, pong = runs
    assert Run.find(cartpole_1.path) == cartpole_1
    assert Run.find(cartpole_1, tmp_path) == cartpole_1
    assert Run.find("Pong", tmp_path) == pong
    assert Run.find("-s2", tmp_path) == cartpole_2
    latest = max(runs, key=lambda run: (run.path.name, run.path))
    assert Run.find("latest", tmp_path) == latest


def test_latest_is_the_newest_run_also_beside_a_pulled_one(runs: tuple[Run, Run, Run], tmp_path: Path):
    """The folder of a pulled run is called user-name, which sorts after every time."""
    pulled = runs[2].path.rename(runs[2].path.with_name("user-pong"))
    os.utime(pulled / "env.json", (0, 0))
    assert Run.find("latest", tmp_path) == runs[1]
    tomorrow = time.time() + 86400
    os.utime(pulled / "env.json", (tomorrow, tomorrow))
    assert Run.find("latest", tmp_path) == Run(pulled)


def test_find_raises_if_no_run_or_several_match(runs: tuple[Run, Run, Run], tmp_path: Path):
    with pytest.raises(LabError, match="2 runs in .* match 'CartPole'"):
        Run.find("CartPole", tmp_path)
    with pytest.raises(LabError, match="no run in .* is called 'Breakout'"):
        Run.find("Breakout", tmp_path)
    with pytest.raises(LabError, match="there are no runs in"):
        Run.find("latest", tmp_path / "nowhere")


def test_full_disk_leaves_no_run_folder(runs: tuple[Run, Run, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(LabError, match="no run folder can be made in .*: No space left on device"):
        Run.create(runs[0].config, runs[0].env_spec)
    assert len(list(tmp_path.glob("*/*/*"))) == len(runs)


def test_config_and_env_spec_are_read_from_the_folder(runs: tuple[Run, Run, Run]):
    pong = runs[2]
    assert pong.env_spec == resolve_env("Pong")
    assert pong.config.to_dict() == yaml.safe_load((pong.path / "config.yaml").read_text())


def test_card_is_deprecated(runs: tuple[Run, Run, Run]):
    with pytest.warns(DeprecationWarning, match=r"use Run\.env_spec"):
        card = runs[2].card
    assert card == runs[2].env_spec


def test_metrics_skips_an_incomplete_last_line_and_raises_for_an_earlier_one(runs: tuple[Run, Run, Run]):
    run = runs[0]
    path = run.path / "metrics.jsonl"
    path.write_text('{"global_step": 1}\n{"global_step": 2}\n{"global_st')
    assert [line["global_step"] for line in run.metrics()] == [1, 2]
    path.write_text('{"global_step": 1}\nnonsense\n{"global_step": 2}\n')
    with pytest.raises(LabError, match=r"metrics.jsonl is damaged at line 2"):
        run.metrics()


def test_create_raises_if_the_folder_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("")
    env_spec = resolve_env("CartPole-v1")
    settings = config.resolve("dqn", env_spec, {"runs_dir": str(tmp_path / "file")})
    with pytest.raises(LabError, match="no run folder can be made in"):
        Run.create(settings, env_spec)
