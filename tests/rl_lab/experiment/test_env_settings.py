"""Tests of the settings that decide how an environment is made."""

from __future__ import annotations

from pathlib import Path

import pytest

import rl_lab
from agents.core.settings import ConfigError
from envs.make import resolve
from envs.options import EnvOptions, WrapperSpec
from rl_lab.experiment.env_settings import env_options, settings_of
from rl_lab.experiment.run_config import RunConfig


def test_numbers_with_exponents_are_numbers():
    options = env_options(RunConfig(env_args={"gain": "1e-3", "name": "e3", "sizes": ["2E2", 1]}))
    assert options.env_args == {"gain": 1e-3, "name": "e3", "sizes": [200.0, 1]}


@pytest.mark.parametrize("name", ["id", "render_mode", "disable_env_checker"])
def test_arguments_that_the_lab_sets_are_refused(name):
    with pytest.raises(ConfigError, match=f"env_args holds {name}"):
        env_options(RunConfig(env_args={name: "human"}))


def test_pixels_are_images():
    with pytest.raises(ConfigError, match="obs_kind is planes; with view pixels it must be auto or image"):
        env_options(RunConfig(view="pixels", obs_kind="planes"))


@pytest.mark.parametrize(
    "options",
    [
        EnvOptions(),
        EnvOptions(env_args={"size": 3}, wrappers=(WrapperSpec("m:A", {"x": 1}), WrapperSpec("m:B"))),
        EnvOptions(pixels=True, crop="0:9,0:9", image="rgb", image_size=64, action_masks=False, obs_kind="image"),
    ],
)
def test_settings_of_options_give_these_options(options):
    assert env_options(RunConfig(**settings_of(options))) == options


def test_spec_is_saved_with_its_options_and_contradictions_are_refused(tmp_path: Path):
    env_spec = resolve("FrozenLake-v1", options=EnvOptions(env_args={"map_name": "8x8"}))
    common = {"steps": 20, "num_envs": 2, "wandb": "disabled", "eval_episodes": 1, "quiet": True}
    run = rl_lab.train("tabular_sarsa", env=env_spec, runs_dir=str(tmp_path), **common)
    assert run.config.run.env_args == {"map_name": "8x8"}
    assert run.env_spec.frame == (64,)
    with pytest.raises(ConfigError, match="must be those with which FrozenLake-v1 was resolved"):
        rl_lab.train("tabular_sarsa", env=env_spec, env_args={}, runs_dir=str(tmp_path), **common)
