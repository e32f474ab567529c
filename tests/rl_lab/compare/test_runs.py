"""Finding runs by name."""

import os
from pathlib import Path

import pytest

from rl_lab.compare.runs import find_runs
from rl_lab.errors import LabError
from rl_lab.sweep.sweep import Sweep


def test_find_runs_by_folder_pattern_group_agent_env_or_part_of_path(make_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs_dir = str(tmp_path / "runs")
    first = make_run(seed=1)
    second = make_run(seed=2, group="study-1")
    other = make_run("double_dqn", env="Acrobot-v1")

    def find(*names: str) -> set[Path]:
        return {run.path.resolve() for run in find_runs(names, runs_dir).runs}

    assert find(str(first.path)) == {first.path}
    assert find(f"{runs_dir}/CartPole-v1") == {first.path, second.path}
    assert find("CartPole-v1/dqn") == {first.path, second.path}
    assert find(f"{runs_dir}/*/*/*") == find("*/*/*") == {first.path, second.path, other.path}
    assert find("study-1") == {second.path}
    assert find("-s1") == {first.path, other.path}
    assert find("dqn") == {first.path, second.path}, "a complete path component wins over a part: not double_dqn"
    assert find("double_dqn") == find("double") == {other.path}
    assert find("study-1", str(second.path)) == {second.path}
    with pytest.raises(LabError, match="no run matches 'nothing'"):
        find("nothing")


def test_find_runs_by_part_of_path_below_a_relative_runs_dir(make_run, tmp_path, monkeypatch):
    run = make_run(seed=1)
    monkeypatch.chdir(tmp_path)
    assert find_runs(["dqn"], "runs").runs == find_runs(["-s1"], "runs").runs == [run]


def test_find_runs_in_folders_with_the_characters_of_patterns(make_run, tmp_path, monkeypatch):
    """A folder "a[1]" is found by its own name, although the pattern matches "a1" only."""
    run = make_run(seed=1)
    odd = run.path.with_name("a[1]")
    run.path.rename(odd)
    runs_dir = tmp_path / "runs [old]"
    (tmp_path / "runs").rename(runs_dir)
    odd = runs_dir / odd.relative_to(tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    for name in (str(odd), "CartPole-v1/dqn/a[1]", "CartPole-v1/*", "a[1]"):
        assert [found.path for found in find_runs([name], str(runs_dir)).runs] == [odd], name


def test_find_runs_names_folders_that_cannot_be_listed(make_run, tmp_path, monkeypatch):
    run = make_run(seed=1)
    private = make_run(seed=2).path
    scandir = os.scandir

    def refuse_private(path):
        if Path(path) == private:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse_private)
    for name in ("dqn", "CartPole-v1", str(tmp_path / "runs")):
        found = find_runs([name], str(tmp_path / "runs"))
        assert found.runs == [run]
        assert found.problems == [f"{private} is left out: it cannot be read: Permission denied"]
    with pytest.raises(LabError, match=r"no run matches 'nothing'.*Permission denied"):
        find_runs(["nothing"], str(tmp_path / "runs"))


def test_find_runs_ignores_config_files_of_wandb_and_includes_damaged_runs(make_run, tmp_path):
    make_run(seed=1)
    damaged = make_run(seed=2)
    (damaged.path / "env.json").write_text("[]")
    wandb_files = tmp_path / "runs/CartPole-v1/dqn/wandb/files"
    wandb_files.mkdir(parents=True)
    (wandb_files / "config.yaml").write_bytes(b"\xff")
    assert len(find_runs(["CartPole-v1"], str(tmp_path / "runs")).runs) == 2


def test_find_runs_by_group_that_yaml_quotes(make_run, tmp_path):
    """YAML writes a group that looks like a date with quotes."""
    group = make_run(seed=9, group="2026-11-21").config.run.group
    assert len(find_runs([str(group)], str(tmp_path / "runs")).runs) == 1


def test_find_runs_of_sweeps_by_their_folders(make_run, tmp_path):
    """The run folders of a sweep lie beside runs/sweeps, so they are found by the group of the sweep."""
    runs_dir = str(tmp_path / "runs")
    first = make_run(seed=1, group="first")
    second = make_run(seed=2, group="second")
    make_run(seed=3)
    for group in ("first", "second"):
        Sweep("grid", "20260101-000000", group, runs_dir, 1.0, 0.0, 3, {"trials": []}).write()
    assert find_runs([f"{runs_dir}/sweeps"], runs_dir).runs == [first, second]
    assert find_runs(["sweeps/second"], runs_dir).runs == [second]


def test_find_runs_finds_demos_by_name(tmp_path):
    runs_dir = str(tmp_path / "runs")
    assert [run.path.name for run in find_runs(["demo:cartpole", "demo"], runs_dir).runs] == ["cartpole", "pong"]
    with pytest.raises(LabError, match="there is no demo 'nothing'"):
        find_runs(["demo:nothing"], runs_dir)
