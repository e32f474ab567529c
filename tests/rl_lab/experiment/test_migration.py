"""Tests that runs of older versions of `reinforce` are read as runs of the agent that makes their updates."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from identical import assert_identical

import rl_lab
from agents.configs.ppo import PPOConfig
from agents.configs.reinforce import ReinforceConfig
from agents.core.settings import ConfigError
from envs.make import resolve as resolve_env
from rl_lab import api
from rl_lab.cli.main import main
from rl_lab.experiment import config
from rl_lab.experiment.run import Run

OLD_RUN = Path(__file__).parents[2] / "data" / "old_runs" / "reinforce"


def old_settings(**changes: Any) -> dict[str, Any]:
    """Return the config.yaml of the old run, with other values for some settings."""
    return yaml.safe_load((OLD_RUN / "config.yaml").read_text()) | changes


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"epochs": 8, "minibatch_size": 64, "ratio_clip": 0.2, "standardize": "batch"}),
        ({"standardize": False}, {"standardize": "none"}),
        ({"minibatch_size": 0, "batch_size": 512}, {"minibatch_size": 512, "batch_size": 512, "epochs": 8}),
        ({"epochs": 1}, {"epochs": 1, "minibatch_size": 64, "ratio_clip": 0.2}),
        ({"epochs": 1, "minibatch_size": 0}, {"epochs": 1, "minibatch_size": 64, "ratio_clip": 0.2}),
        ({"epochs": 2, "ratio_clip": 0.0}, {"epochs": 2, "ratio_clip": 0.0}),
    ],
)
def test_old_reinforce_with_the_updates_of_ppo_is_ppo(changes: dict[str, Any], expected: dict[str, Any]):
    migrated = config.from_dict(old_settings(**changes), "config.yaml")
    assert migrated.agent == "ppo"
    assert isinstance(migrated.settings, PPOConfig)
    values = migrated.to_dict()
    assert (values["value_clip"], values["target_kl"]) == (0, 0)
    assert {name: values[name] for name in expected} == expected
    for name, value in old_settings(**changes).items():
        if name in values and name not in ("agent", *expected, *changes, "standardize"):
            assert values[name] == value, name


def test_old_reinforce_with_one_gradient_step_for_each_batch_is_reinforce():
    """These are the settings in which the preset karpathy differs from PPO."""
    settings = old_settings(
        epochs=1, minibatch_size=0, ratio_clip=0.0, baseline=False, batch_games=10, points_end_returns=True
    )
    migrated = config.from_dict(settings, "config.yaml")
    assert migrated.agent == "reinforce"
    assert isinstance(migrated.settings, ReinforceConfig)
    assert (migrated.settings.baseline, migrated.settings.batch_games) == (False, 10)
    assert migrated.settings.standardize is True


@pytest.mark.parametrize(
    ("name", "value"),
    [("baseline", False), ("batch_games", 3), ("points_end_returns", True), ("convolutions", False)],
)
def test_old_reinforce_that_no_agent_continues_is_refused_in_one_line(name: str, value: Any):
    with pytest.raises(ConfigError, match=f"with {name} {value}, epochs 8, .* ppo has no {name}") as error:
        config.from_dict(old_settings(**{name: value}), "config.yaml")
    assert "\n" not in str(error.value)


def test_current_runs_are_read_as_they_are():
    for agent in ("reinforce", "ppo"):
        resolved = config.resolve(agent, resolve_env("CartPole-v1"), {"lr": 0.5})
        assert config.from_dict(resolved.to_dict(), "here") == resolved


def test_wrong_values_in_an_old_run_are_refused():
    for changes in ({"epochs": [1]}, {"standardize": [True]}, {"minibatch_size": "many"}):
        with pytest.raises(ConfigError):
            config.from_dict(old_settings(**changes), "config.yaml")


@pytest.mark.parametrize("changes", [{}, {"standardize": False, "minibatch_size": 0}])
def test_resumed_run_of_old_reinforce_equals_an_uninterrupted_run_of_ppo(changes: dict[str, Any], train: Any):
    """The config.yaml of the stopped run is that of the old agent: its other files are those of `ppo`."""
    settings = {"epochs": 3, "minibatch_size": 32, "batch_size": 128, "ratio_clip": 0.3, "standardize": "batch"}
    if changes:
        settings |= {"standardize": "none", "minibatch_size": 128}
    uninterrupted = train("ppo", steps=1000, **settings)
    run = train("ppo", steps=500, **settings)
    old = yaml.safe_load((run.path / "config.yaml").read_text())
    del old["value_clip"], old["target_kl"]
    old |= {"agent": "reinforce", "standardize": True, "baseline": True, "batch_games": 0}
    old |= {"points_end_returns": False, "convolutions": True} | changes
    (run.path / "config.yaml").write_text(yaml.safe_dump(old))
    api.resume(run, steps=1000, quiet=True)
    assert Run(run.path).config.agent == "ppo"
    assert_identical(uninterrupted, run)


def test_commands_show_an_old_run_as_ppo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    folder = shutil.copytree(OLD_RUN, tmp_path / "old")
    for args in (
        ["eval", str(folder), "--episodes", "2"],
        ["watch", str(folder), "--terminal", "--episodes", "1", "--max-steps", "20"],
        ["resume", str(folder), "--steps", "500"],
        ["compare", str(folder)],
    ):
        main(args)
        output = capsys.readouterr().out
        assert "ppo" in output, args
        assert "reinforce" not in output, args


def test_config_file_of_an_old_run_trains_ppo(tmp_path: Path):
    path = str(OLD_RUN / "config.yaml")
    resolved = config.resolve("ppo", resolve_env("CartPole-v1"), {"seed": 9}, file=path)
    assert (resolved.settings.epochs, resolved.settings.standardize, resolved.run.seed) == (8, "batch", 9)
    with pytest.raises(ConfigError, match="config.yaml is the configuration of the agent ppo, not of reinforce"):
        config.resolve("reinforce", resolve_env("CartPole-v1"), {}, file=path)


@pytest.mark.parametrize("name", ["epochs", "minibatch_size", "ratio_clip", "n_epochs", "clip_coef"])
def test_removed_settings_name_ppo(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "settings.yaml"
    file.write_text(f"agent: reinforce\n{name}: 4\n")
    settings: dict[str, Any] = {name: 4}
    env_spec = resolve_env("CartPole-v1")
    with pytest.raises(ConfigError, match=f"unknown setting '{name}' in .*settings.yaml; the agent ppo has this"):
        config.resolve("reinforce", env_spec, {}, file=str(file))
    with pytest.raises(ConfigError, match=f"unknown setting '{name}' in the call; the agent ppo has this"):
        rl_lab.train("reinforce", env="CartPole-v1", runs_dir=str(tmp_path), **settings)
    flag = f"--{name.replace('_', '-')}"
    with pytest.raises(SystemExit) as stop:
        main(["train", "reinforce", "--env", "CartPole-v1", flag, "4"])
    assert stop.value.code == 2
    errors = capsys.readouterr().err
    assert f"unknown option {flag}; the agent ppo has this setting" in errors
    assert len(errors.splitlines()) == 1
