"""Names of folders, groups and W&B runs that every system accepts."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.make import resolve
from rl_lab import cli
from rl_lab.experiment import config as configuration
from rl_lab.experiment.run import Run
from rl_lab.system.portable_name import portable_name
from rl_lab.tracking.wandb_sink import wandb_id_file, wandb_run_id

FORBIDDEN = set("\\/:*?\"<>|;&$`'!#~()[]{}=,%^@ \t\n\r\0\x7f")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("minatar:MinAtar/Breakout-v1", "minatar-MinAtar-Breakout-v1"),
        ("ALE/Pong-v5", "ALE-Pong-v5"),
        ("CartPole-v1", "CartPole-v1"),
        ("LunarLander-v3?wind_power=1.5&x=<a|b>", "LunarLander-v3-wind_power-1.5-x-a-b"),
        ("../..", "unnamed"),
        ("..", "unnamed"),
        ("--help", "help"),
        (".hidden.", "hidden"),
        ("K\u00e4fer-v0", "K\u00e4fer-v0"),
    ],
)
def test_awkward_characters_become_hyphens(name: str, expected: str):
    assert portable_name(name) == expected


@given(st.text(st.characters(exclude_categories=())))
def test_every_name_becomes_one_part_of_a_path(name: str):
    result = portable_name(name)
    assert Path(result).name == result
    assert not FORBIDDEN & set(result)
    assert not any(char.isspace() for char in result)
    assert result[0] not in "-."
    assert result[-1] not in "-."
    assert portable_name(result) == result


def create(runs_dir: Path, name: str) -> Run:
    """Create the folder of a run on an environment with this name."""
    env_spec = dataclasses.replace(resolve("CartPole-v1"), name=name)
    settings: dict[str, Any] = {"env": name, "runs_dir": str(runs_dir), "group": "study"}
    return Run.create(configuration.resolve("dqn", None, settings), env_spec)


def test_folder_of_a_run_has_a_portable_name_and_older_folders_are_found(tmp_path: Path):
    run = create(tmp_path, "minatar:MinAtar/Breakout-v1")
    assert run.path.relative_to(tmp_path).parts[:2] == ("minatar-MinAtar-Breakout-v1", "dqn")
    older = tmp_path / "minatar:MinAtar-Breakout-v1" / "dqn" / "20250101-000000-s1"
    older.parent.mkdir(parents=True)
    run.path.rename(older)
    newer = create(tmp_path, "minatar:MinAtar/Breakout-v1")
    assert {found.path for found in Run.of_group("study", tmp_path)} == {older, newer.path}
    assert Run.find("20250101", tmp_path).path == older
    assert Run.find("minatar:MinAtar", tmp_path).path == older
    assert Run.find("minatar-MinAtar", tmp_path).path == newer.path


@pytest.mark.parametrize("name", ["minatar:MinAtar/Breakout-v1", "K\u00e4fer-v0", "\u74b0\u5883-v0"])
def test_wandb_id_is_the_name_of_an_artifact_and_stays(tmp_path: Path, name: str):
    run = create(tmp_path, name)
    run_id = wandb_run_id(run)
    assert re.fullmatch(r"dqn-[A-Za-z0-9_.-]+-s1-[0-9a-f]{6}", run_id)
    assert wandb_run_id(run) == run_id == wandb_id_file(run).read_text()


def test_default_group_has_a_portable_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    """The name of the group is an argument of `compare` and part of a file name."""
    groups: list[str] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rl_lab.experiment.seed_group.plan_jobs", lambda *_: [])
    monkeypatch.setattr("rl_lab.experiment.seed_group.train_group", lambda *_, group, **__: groups.append(group))
    cli.main(["train", "dqn", "--env", "gymnasium.envs.classic_control:CartPole-v1", "--seeds", "1..2"])
    assert re.fullmatch(r"dqn-gymnasium.envs.classic_control-CartPole-v1-\d{8}-\d{6}", groups[0])
