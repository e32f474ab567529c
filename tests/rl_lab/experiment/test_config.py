"""Tests of configurations: the order of layers, and the refusal of bad settings."""

import dataclasses
import math
import typing
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from agents.core.settings import ConfigError, Range
from envs.make import resolve as resolve_env
from rl_lab.errors import LabError
from rl_lab.experiment import config, registry
from rl_lab.experiment.config_layers import read_yaml
from rl_lab.experiment.registry import CONFIGS, agents
from rl_lab.experiment.run_config import RunConfig
from rl_lab.experiment.training_plan import plan_training


def test_later_layers_override_earlier_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    layers = {
        "default": {"lr": 0.5, "gamma": 0.5, "batch_size": 5, "n_step": 5, "hidden": 5},
        "vector": {"gamma": 0.6, "batch_size": 6, "n_step": 6, "hidden": 6},
        "CartPole-v1": {"batch_size": 7, "n_step": 7, "hidden": 7},
        "presets": {"mine": {"default": {"n_step": 8, "hidden": 8}}},
    }
    (tmp_path / "dqn.yaml").write_text(yaml.safe_dump(layers))
    (tmp_path / "file.yaml").write_text("hidden: 9\nlr: 1e-3\n")
    entry = agents()["dqn"]
    monkeypatch.setitem(agents(), "dqn", dataclasses.replace(entry, presets=tmp_path / "dqn.yaml"))
    env_spec = resolve_env("CartPole-v1")
    resolved = config.resolve("dqn", env_spec, {"seed": 3}, preset="mine", file=str(tmp_path / "file.yaml"))
    settings = resolved.settings
    assert (settings.gamma, settings.batch_size, settings.n_step, settings.hidden, settings.lr) == (0.6, 7, 8, 9, 1e-3)
    assert (resolved.run.seed, resolved.run.env, resolved.run.preset) == (3, "CartPole-v1", "mine")
    assert settings.epsilon_end == type(settings)().epsilon_end


@pytest.mark.parametrize(
    ("agent", "changes", "expected"),
    [
        ("reinforce", {"bounds": None}, True),
        ("reinforce", {}, True),
        ("ppo", {}, True),
        ("a2c", {}, True),
        ("pqn", {}, True),
        ("reinforce", {"bounds": None, "one_hot": True}, False),
        ("reinforce", {"bounds": None, "name": "CartPole-v1"}, True),
        ("ppo", {"bounds": None, "name": "CartPole-v1"}, False),  # tuned without normalisation
        ("reinforce", {"bounds": None, "family": "image", "dtype": "uint8"}, False),
        ("dqn", {}, True),
        ("drqn", {"bounds": None}, True),
        ("dqn", {"bounds": None, "one_hot": True}, False),
        ("dqn", {"name": "CartPole-v1"}, False),  # tuned without normalisation
    ],
)
def test_vectors_are_normalised_by_default(agent: str, changes: dict[str, Any], expected: bool):
    env_spec = dataclasses.replace(resolve_env("MountainCar-v0"), **changes)
    assert config.resolve(agent, env_spec, {}).settings.normalize_obs == expected
    assert config.resolve(agent, env_spec, {"norm_obs": not expected}).settings.normalize_obs != expected


@pytest.mark.parametrize("env", ["Pendulum-v1", "MountainCarContinuous-v0"])
def test_runs_of_all_agents_with_continuous_actions_are_comparable(env: str):
    """`compare` refuses runs of one environment whose evaluations differ in epsilon."""
    names = [entry.name for entry in agents().values() if entry.abilities.continuous_actions]
    assert {"ppo", "recurrent_ppo", "a2c", "reinforce", "sac", "td3"} <= set(names)
    env_spec = resolve_env(env)
    assert {config.resolve(name, env_spec, {}).run.eval_epsilon for name in names} == {0.0}


@pytest.mark.parametrize("agent", ["dqn", "drqn", "reinforce", "ppo", "recurrent_ppo", "a2c", "pqn"])
def test_run_of_an_older_version_is_not_normalised(agent: str):
    """Its config.yaml lacks the settings, and its network the statistics."""
    settings = config.from_dict({"agent": agent, "env": "MountainCar-v0"}, "here").settings
    assert (settings.normalize_obs, settings.normalize_reward, settings.reward_scale) == (False, False, 1.0)


@pytest.mark.parametrize("name", sorted(agents()))
@pytest.mark.parametrize("env", ["Pong", "Breakout", "CartPole-v1", "MountainCar-v0"])
def test_every_preset_resolves_or_names_its_environments(name: str, env: str):
    env_spec = resolve_env(env)
    config.resolve(name, env_spec, {})
    presets: dict[str, Any] = {}
    file = name
    while file:  # from the agent's file to the files that it extends
        data = read_yaml(CONFIGS / f"{file}.yaml")
        presets = data.get("presets", {}) | presets
        file = data.get("extends")
    for preset, sections in presets.items():
        if {"default", env_spec.family, env_spec.name} & sections.keys():
            config.resolve(name, env_spec, {}, preset=preset)
        else:
            with pytest.raises(ConfigError, match=f"preset {preset} has no settings for {env}"):
                config.resolve(name, env_spec, {}, preset=preset)


def test_extending_file_overrides_the_extended_one_and_presets_override_all_defaults():
    """dueling_double_dqn.yaml extends double_dqn.yaml, which extends dqn.yaml."""
    pong = resolve_env("Pong")
    breakout = resolve_env("Breakout")
    dqn = config.resolve("dqn", pong, {}).settings
    dueling_double_dqn = config.resolve("dueling_double_dqn", pong, {}).settings
    assert (dueling_double_dqn.n_step, dueling_double_dqn.lr) == (dqn.n_step, dqn.lr / 2)
    paper = config.resolve("dueling_double_dqn", breakout, {}, preset="paper").settings
    assert (paper.lr, paper.target_every, paper.replay_ratio) == (6.25e-5, 7_500, 8)


def paper_settings(agent: str) -> Any:
    """Return the settings of the preset `paper` on Atari."""
    return config.resolve(agent, resolve_env("Breakout"), {}, preset="paper").settings


def test_paper_preset_of_dqn_counts_in_agent_steps_as_the_code_of_its_authors():
    """run_gpu of DQN 3.0: eps_endt 1,000,000 after learn_start 50,000; target_q 10,000; update_freq 4."""
    settings = paper_settings("dqn")
    assert settings.epsilon_hold == settings.learning_starts == 50_000
    assert settings.epsilon_steps - settings.epsilon_hold == 1_000_000
    agent_steps_per_update = settings.batch_size / settings.replay_ratio
    assert agent_steps_per_update == 4
    assert settings.target_every * agent_steps_per_update == 10_000


def test_paper_presets_of_dueling_agents_clip_gradients():
    """Wang et al. 2015, section 4.2. The gradient of DQN itself is not clipped."""
    clips = {agent: paper_settings(agent).grad_clip for agent in ("dqn", "double_dqn", "dueling_dqn", "rainbow")}
    assert clips == {"dqn": 0, "double_dqn": 0, "dueling_dqn": 10, "rainbow": 10}


@pytest.mark.parametrize(
    "agent", ["dqn", "double_dqn", "dueling_dqn", "dueling_double_dqn", "rainbow", "qr_dqn", "drqn"]
)
def test_paper_preset_is_the_same_on_every_game(agent: str):
    """The preset overrides every setting that is tuned for Pong."""
    pong = config.resolve(agent, resolve_env("Pong"), {}, preset="paper")
    breakout = config.resolve(agent, resolve_env("Breakout"), {}, preset="paper")
    assert pong.settings == breakout.settings


def test_from_dict_inverts_to_dict_after_yaml():
    resolved = config.resolve("dqn", resolve_env("Pong"), {"lr": 3e-5, "seed": 7})
    assert config.from_dict(yaml.safe_load(yaml.safe_dump(resolved.to_dict())), "here") == resolved


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"leraning_starts": 3}, "unknown setting 'leraning_starts' in the call; the nearest is 'learning_starts'"),
        ({"lr": -1}, "lr is -1.0; it must be greater than 0"),
        ({"lr": "abc"}, "lr is 'abc' in the call; it must be a number"),
        ({"n_step": 0}, "n_step is 0; it must be at least 1"),
        ({"gamma": 2}, "gamma is 2.0; it must be from 0 to 1"),
        ({"steps": 4, "num_envs": 8}, "num_envs is 8; it must be at most steps, 4"),
        ({"device": "tpu"}, "device is 'tpu'; it must be one of auto, cpu, cuda, mps"),
        ({"seed": 2**31}, "seed is 2147483648; it must be from 0 to"),
    ],
)
def test_resolve_raises_in_one_line_for_bad_settings(overrides: dict[str, Any], message: str):
    with pytest.raises(ConfigError) as error:
        config.resolve("dqn", resolve_env("CartPole-v1"), overrides)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr: [1", "is not valid YAML"),
        ("- 1\n- 2", "must hold a mapping of settings, not list"),
        ("", "must hold a mapping"),
        ("gama: 1", "the nearest is 'gamma'"),
        ("agent: ppo", "is the configuration of the agent ppo, not of dqn"),
    ],
)
def test_resolve_raises_in_one_line_for_bad_files(tmp_path: Path, text: str, message: str):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        config.resolve("dqn", None, {}, file=str(path))
    assert "\n" not in str(error.value)
    assert "c.yaml" in str(error.value)


def test_unknown_names_are_refused_with_the_nearest_known_ones():
    with pytest.raises(LabError, match="unknown agent 'dqm'; nearest: dqn"):
        config.resolve("dqm", None, {})
    with pytest.raises(ConfigError, match="unknown preset 'papper'; there are: default"):
        config.resolve("dqn", None, {}, preset="papper")
    with pytest.raises(ConfigError, match="no-such-file.yaml cannot be read"):
        config.resolve("dqn", None, {}, file="no-such-file.yaml")


def test_numbers_of_numpy_are_stored_as_numbers_of_python():
    """A loop over seeds may be one over np.arange. config.yaml holds Python's numbers only."""
    settings = {"seed": np.int64(3), "steps": np.int32(50), "target": np.float32(0.5), "lr": np.float64(0.25)}
    values = config.resolve("dqn", None, {"env": "CartPole-v1", **settings}).to_dict()
    assert yaml.safe_load(yaml.safe_dump(values)) == values
    assert {name: values[name] for name in settings} == {"seed": 3, "steps": 50, "target": 0.5, "lr": 0.25}
    with pytest.raises(ConfigError, match="seed is 3.0; it must be a whole number"):
        config.resolve("dqn", None, {"env": "CartPole-v1", "seed": np.float64(3)})


def test_whole_numbers_may_have_an_exponent(tmp_path: Path):
    env_spec = resolve_env("CartPole-v1")
    file = tmp_path / "some.yaml"
    file.write_text("steps: 2e5\nlr: 1e-3\n")
    assert config.resolve("dqn", env_spec, {}, file=str(file)).run.steps == 200_000
    assert config.parse_whole_number("1e6") == 1_000_000
    assert config.parse_whole_number("2.5E+5") == 250_000
    for text in ("1e-3", "1.5e0", "dqn", "10"):
        assert config.parse_whole_number(text) == text
    with pytest.raises(ConfigError, match="steps is '1e-3'"):
        config.resolve("dqn", env_spec, {"steps": "1e-3"})


def wrong_values(hint: Any) -> Iterator[Any]:
    """Yield values that a field must refuse: values of other types, and one beyond each end of its range."""
    if typing.get_origin(hint) is typing.Annotated:
        plain, *marks = typing.get_args(hint)
        for mark in marks:
            if isinstance(mark, Range):
                yield from values_beyond(mark)
        yield from wrong_values(plain)
    elif typing.get_origin(hint) is typing.Literal:
        yield from ("nonsense", True, 3)
    elif hint is str:
        yield from (3, True)
    elif typing.get_origin(hint) in (dict, list):
        yield from (3, "x", True, None)
    elif hint is int:
        yield from ("many", 1.5, True, None)
    elif hint is bool:
        yield from ("yes", 1, None)
    elif hint == float | None:
        yield from ("much", True, math.nan, math.inf)
    else:
        assert hint is float, hint
        yield from ("much", True, math.nan, math.inf, None)


def values_beyond(allowed: Range) -> Iterator[float]:
    """Yield one value beyond each end of a range."""
    if allowed.low > -math.inf:
        yield allowed.low if allowed.open_low else allowed.low - 1
    if allowed.high < math.inf:
        yield allowed.high + 1


@pytest.mark.parametrize("name", sorted(agents()))
def test_every_setting_refuses_values_of_wrong_type_or_out_of_range(name: str):
    env_spec = resolve_env("CartPole-v1")
    resolved = config.resolve(name, env_spec, {})
    checked = 0
    for owner in (RunConfig, type(resolved.settings)):
        for field, hint in typing.get_type_hints(owner, include_extras=True).items():
            if field == "preset":  # `resolve` has a parameter for it
                continue
            for value in wrong_values(hint):
                with pytest.raises(ConfigError, match=rf"^{field} is ") as refusal:
                    config.replace_settings(resolved, {field: value}, "the call")
                assert repr(value) in str(refusal.value) or str(value) in str(refusal.value)
                assert "must be" in str(refusal.value)
                assert len(str(refusal.value).splitlines()) == 1
                checked += 1
    assert checked > 80


def test_plan_keeps_an_old_gym_id_resolvable():
    """The environment of PongNoFrameskip-v0 is found again from the name and the protocol in config.yaml."""
    env_spec = resolve_env("PongNoFrameskip-v0")
    settings = config.resolve("dqn", env_spec, {"env": "PongNoFrameskip-v0"})
    protocol = plan_training(settings, env_spec).config.run.protocol
    assert protocol == "auto"
    assert resolve_env("PongNoFrameskip-v0") == env_spec


def test_plan_has_no_auto_settings_for_device_and_precision():
    env_spec = resolve_env("CartPole-v1")
    plan = plan_training(config.resolve("dqn", env_spec, {"precision": "bfloat16", "device": "cpu"}), env_spec)
    assert plan.config.run.device == "cpu"
    assert plan.config.run.precision == "float32"  # only image encoders compute in bfloat16


def test_plan_of_an_agent_that_is_not_resumable_needs_no_disk_space():
    env_spec = resolve_env("CartPole-v1")
    plans = {name: plan_training(config.resolve(name, env_spec, {}), env_spec) for name in ("dqn", "sb3_dqn")}
    assert plans["dqn"].checkpoint_bytes > plans["dqn"].replay_bytes > 0
    assert plans["sb3_dqn"].checkpoint_bytes == 0


def test_broken_package_disables_only_its_own_agent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    point = EntryPoint("worse_dqn", "no_such_module:Agent", "rl_lab.agents")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    registry.agents.cache_clear()
    try:
        assert "dqn" in registry.agents()
        assert "worse_dqn" not in registry.agents()
    finally:
        registry.agents.cache_clear()
    assert "WARNING: the agent 'worse_dqn' of no_such_module:Agent cannot be loaded" in capsys.readouterr().err
