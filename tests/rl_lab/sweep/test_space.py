"""Search spaces."""

import pytest

from agents.core.settings import ConfigError
from rl_lab import api
from rl_lab.errors import LabError
from rl_lab.experiment.config import Config, replace_settings, resolve
from rl_lab.experiment.config_layers import read_yaml
from rl_lab.experiment.registry import BUILT_IN_AGENTS
from rl_lab.sweep.search_tuner import clip_to_space
from rl_lab.sweep.space import DEFAULT_SPACES, read_space


def resolve_config(agent: str, env: str = "CartPole-v1") -> Config:
    return resolve(agent, api.resolve_env(env), {})


@pytest.mark.parametrize("entry", BUILT_IN_AGENTS, ids=lambda entry: entry.name)
def test_every_agent_has_a_default_space_of_valid_settings(entry):
    env = "FrozenLake-v1" if entry.name.startswith("tabular") else "CartPole-v1"
    config = resolve_config(entry.name, env)
    space = read_space(config, "", only_changeable=False)
    assert space.keys() == read_yaml(DEFAULT_SPACES)[entry.name].keys()
    for _ in range(20):
        sample = {name: domain.sample() for name, domain in space.items()}
        replace_settings(config, sample, "a sample")  # raises an error for an invalid value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr: 3", "lr is 3"),
        ("lr: []", r"lr is \[]"),
        ("lr: {low: 1, high: 1}", "lr is"),
        ("lr: {low: 0, high: 1, log: true}", "lr is"),
        ("lr: {low: 1e-4, high: 1e-3, step: 2}", "lr is"),
        ("lr: {low: -1, high: 1}", "lr is -1"),
        ("lrr: [1]", "nearest is 'lr'"),
        ("n_step: [1, 0]", "n_step is 0"),
        ("", "must hold a mapping"),
        ("{}", "has no search space"),
    ],
)
def test_read_space_raises_for_invalid_spaces(text, message, tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(text)
    with pytest.raises((ConfigError, LabError), match=message):
        read_space(resolve_config("dqn"), str(path), only_changeable=False)


def test_population_based_training_varies_only_settings_that_may_change_during_a_run(tmp_path):
    config = resolve_config("dqn")
    assert set(read_space(config, "", only_changeable=True)) == {"lr", "target_every", "epsilon_end"}
    path = tmp_path / "space.yaml"
    path.write_text("hidden: [64, 128]")
    with pytest.raises(LabError, match="varies hidden; pbt changes"):
        read_space(config, str(path), only_changeable=True)


def test_clip_to_space_limits_and_rounds_numbers(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text("lr: {low: 1e-4, high: 1e-3}\ntarget_every: {low: 10, high: 20}\ngamma: [0.9, 0.99]")
    space = read_space(resolve_config("dqn"), str(path), only_changeable=True)
    too_large = {"trial": "x", "settings": {"lr": 1.2e-3, "target_every": 23.7, "gamma": 0.99}}
    assert clip_to_space(space, too_large) == {
        "trial": "x",
        "settings": {"lr": 1e-3, "target_every": 20, "gamma": 0.99},
    }
    too_small = {"trial": "x", "settings": {"lr": 5e-5, "target_every": 12.4, "gamma": 0.99}}
    assert clip_to_space(space, too_small)["settings"] == {"lr": 1e-4, "target_every": 12, "gamma": 0.99}
