"""How people name runs."""

import pytest
import yaml

from envs.make import resolve as resolve_env
from rl_lab.errors import LabError
from rl_lab.experiment import config
from rl_lab.experiment.run import Run


@pytest.fixture
def runs(tmp_path):
    found = []
    for env, seed in (("CartPole-v1", 1), ("CartPole-v1", 2), ("Pong", 1)):
        env_spec = resolve_env(env)
        found.append(Run.create(config.resolve("dqn", env_spec, {"seed": seed, "runs_dir": str(tmp_path)}), env_spec))
    return tmp_path, found


def test_find_by_folder_part_and_latest(runs):
    root, (one, two, pong) = runs
    assert Run.find(one.path) == one
    assert Run.find(one, root) == one
    assert Run.find("Pong", root) == pong
    assert Run.find("-s2", root) == two
    latest = max((one, two, pong), key=lambda r: (r.path.name, r.path))
    assert Run.find("latest", root) == latest


def test_names_that_fit_none_or_many(runs, tmp_path):
    root, _ = runs
    with pytest.raises(LabError, match="2 runs in .* match 'CartPole'"):
        Run.find("CartPole", root)
    with pytest.raises(LabError, match="no run in .* is called 'Breakout'"):
        Run.find("Breakout", root)
    with pytest.raises(LabError, match="there are no runs in"):
        Run.find("latest", tmp_path / "nowhere")


def test_config_and_card_come_back(runs):
    _, (_, _, pong) = runs
    assert pong.env_spec == resolve_env("Pong")
    assert pong.config.to_dict() == yaml.safe_load((pong.path / "config.yaml").read_text())


def test_metrics_with_a_torn_last_line(runs):
    _, (run, *_) = runs
    path = run.path / "metrics.jsonl"
    path.write_text('{"global_step": 1}\n{"global_step": 2}\n{"global_st')
    assert [line["global_step"] for line in run.metrics()] == [1, 2]
    path.write_text('{"global_step": 1}\nnonsense\n{"global_step": 2}\n')
    with pytest.raises(LabError, match=r"metrics.jsonl is damaged at line 2"):
        run.metrics()


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    env_spec = resolve_env("CartPole-v1")
    with pytest.raises(LabError, match="no run folder can be made in"):
        Run.create(config.resolve("dqn", env_spec, {"runs_dir": str(tmp_path / "file")}), env_spec)
