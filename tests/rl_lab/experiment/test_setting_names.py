"""Tests of the names of settings: those of other libraries, in Python, in YAML files and on the command line."""

import dataclasses
import difflib
from pathlib import Path
from typing import Any

import pytest

from agents.core.settings import ConfigError
from envs.make import resolve as resolve_env
from rl_lab.cli.sweep_grid import GridOptions
from rl_lab.cli.sweep_options import MIN_SIMILARITY, RUN_SETTINGS
from rl_lab.cli.sweep_search import SearchOptions
from rl_lab.cli.training_options import parse_training_options
from rl_lab.experiment import config
from rl_lab.experiment.registry import agents
from rl_lab.experiment.setting_names import EQUIVALENT_NAMES, SIMILAR_NAMES, canonical_name

CARTPOLE = resolve_env("CartPole-v1")


def settings_of(agent: str) -> set[str]:
    """Return the names of all settings of the run and of an agent."""
    return RUN_SETTINGS | {field.name for field in dataclasses.fields(agents()[agent].load().config_class)}


@pytest.mark.parametrize(
    ("agent", "given", "expected"),
    [
        ("dqn", "learning_rate", "lr"),
        ("dqn", "total_timesteps", "steps"),
        ("dqn", "buffer_size", "replay_size"),
        ("dqn", "env_id", "env"),
        ("dqn", "n_envs", "num_envs"),
        ("dqn", "max_grad_norm", "grad_clip"),
        ("dqn", "start_e", "epsilon_start"),
        ("dqn", "exploration_final_eps", "epsilon_end"),
        ("dqn", "batch-size", "batch_size"),
        ("rainbow", "v_min", "value_low"),
        ("qr_dqn", "n_quantiles", "num_quantiles"),
        ("ppo", "clip_coef", "ratio_clip"),
        ("reinforce", "ent_coef", "entropy_weight"),
        ("ppo", "update_epochs", "epochs"),
        ("ppo", "clip_range_vf", "value_clip"),
        ("reinforce", "norm_obs", "normalize_obs"),
        ("dqn", "norm_reward", "normalize_reward"),
        ("sb3_dqn", "lr", "learning_rate"),
        ("sb3_dqn", "replay_size", "buffer_size"),
        ("sb3_dqn", "epsilon_end", "exploration_final_eps"),
        ("sb3_ppo", "update_epochs", "n_epochs"),
        ("dqn", "n_steps", "n_step"),
        ("sac", "n-steps", "n_step"),
        ("ppo", "n_steps", None),
        ("sb3_ppo", "n_steps", "n_steps"),
        ("sb3_ppo", "n_step", None),
        ("dqn", "exploration_fraction", None),
        ("dqn", "clip_range", None),
        ("reinforce", "clip_range", None),
    ],
)
def test_canonical_name(agent: str, given: str, expected: str | None):
    assert canonical_name(given, settings_of(agent)) == expected


@pytest.mark.parametrize("agent", sorted(agents()))
def test_no_agent_has_two_settings_of_one_row(agent: str):
    known = settings_of(agent)
    for names in EQUIVALENT_NAMES:
        assert len(known & set(names)) <= 1


def test_every_name_of_the_tables_leads_to_a_setting():
    every_setting = set.union(*(settings_of(agent) for agent in agents()))
    for names in EQUIVALENT_NAMES:
        assert names[0] in every_setting
    for nearest, _ in SIMILAR_NAMES.values():
        assert nearest in every_setting


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 1e-3, "lr": 1e-3}, "learning_rate and lr in the call are the same setting"),
        ({"exploration_fraction": 0.1}, "the nearest is 'epsilon_steps': agent steps until epsilon_end"),
        ({"target_network_frequency": 500}, "the nearest is 'target_every': it counts updates"),
        ({"learning_rat": 1e-3}, "unknown setting 'learning_rat' in the call; the nearest is 'learning_starts'"),
        ({"x" * 10_000: 1}, "unknown setting 'xxx"),
        ({"lr": "x" * 100_000}, "lr in the call is longer than 10,000 characters"),
        ({"lr": 10**400}, "lr is 1000"),
    ],
)
def test_an_unknown_name_is_one_line_that_names_the_nearest(settings: dict[str, Any], message: str):
    with pytest.raises(ConfigError) as error:
        config.resolve("dqn", CARTPOLE, settings)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 700


def test_names_of_other_libraries_are_accepted_in_python_and_in_files(tmp_path: Path):
    file = tmp_path / "settings.yaml"
    file.write_text("learning-rate: 3e-3\nenv_id: CartPole-v1\nbuffer_size: 500\n")
    resolved = config.resolve("dqn", CARTPOLE, {"total_timesteps": 700}, file=str(file))
    assert (resolved.run.steps, resolved.settings.lr, resolved.settings.replay_size) == (700, 3e-3, 500)


def test_names_of_other_libraries_are_accepted_on_the_command_line():
    args = "--env_id CartPole-v1 --learning-rate 3e-3 --total_timesteps=700 --buffer_size 500 --n-envs 2"
    training = parse_training_options("dqn", [str(arg) for arg in args.split()])
    assert training.env_spec == CARTPOLE
    assert (training.config.run.steps, training.config.run.num_envs) == (700, 2)
    assert (training.config.settings.lr, training.config.settings.replay_size) == (3e-3, 500)


def test_a_switch_with_the_name_of_a_setting_is_accepted_with_underscores():
    training = parse_training_options("rainbow", ["--env", "CartPole-v1", "--no_dueling", "--mask_velocity"])
    assert not training.config.settings.dueling
    assert training.config.run.mask_velocity


@pytest.mark.parametrize("agent", sorted(agents()))
def test_no_setting_looks_like_a_mistyped_option_of_a_sweep(agent: str):
    for options_class in (GridOptions, SearchOptions):
        names = {field.name for field in dataclasses.fields(options_class)}
        for setting in settings_of(agent) - RUN_SETTINGS - names:
            assert not difflib.get_close_matches(setting, names, 1, MIN_SIMILARITY), setting
