"""Where settings come from, and how bad ones are refused."""

import math
import typing
from importlib.metadata import EntryPoint

import pytest
import yaml

from agents.core.settings import ConfigError
from envs.make import resolve as resolve_env
from rl_lab.errors import LabError
from rl_lab.experiment import config, registry
from rl_lab.experiment.run_config import RunConfig
from rl_lab.experiment.training_plan import plan_training
from rl_lab.experiment.config_layers import read_yaml
from rl_lab.experiment.registry import CONFIGS, agents


def test_layers_in_order(tmp_path, monkeypatch):
    layers = {
        "default": {"lr": 0.5, "gamma": 0.5, "batch_size": 5, "n_step": 5, "hidden": 5},
        "vector": {"gamma": 0.6, "batch_size": 6, "n_step": 6, "hidden": 6},
        "CartPole-v1": {"batch_size": 7, "n_step": 7, "hidden": 7},
        "presets": {"mine": {"default": {"n_step": 8, "hidden": 8}}},
    }
    (tmp_path / "dqn.yaml").write_text(yaml.safe_dump(layers))
    (tmp_path / "file.yaml").write_text("hidden: 9\nlr: 1e-3\n")
    entry = agents()["dqn"]
    monkeypatch.setitem(agents(), "dqn", type(entry)(entry.name, entry.paper, entry.load, tmp_path / "dqn.yaml"))
    env_spec = resolve_env("CartPole-v1")
    made = config.resolve("dqn", env_spec, {"seed": 3}, preset="mine", file=str(tmp_path / "file.yaml"))
    s = made.settings
    assert (s.gamma, s.batch_size, s.n_step, s.hidden, s.lr) == (0.6, 7, 8, 9, 1e-3)
    assert (made.run.seed, made.run.env, made.run.preset) == (3, "CartPole-v1", "mine")
    assert s.epsilon_end == type(s)().epsilon_end


@pytest.mark.parametrize("name", sorted(agents()))
@pytest.mark.parametrize("env", ["Pong", "Breakout", "CartPole-v1", "MountainCar-v0"])
def test_every_shipped_preset_resolves(name, env):
    env_spec = resolve_env(env)
    config.resolve(name, env_spec, {})
    presets, file = {}, name
    while file:  # up the files it extends
        data = read_yaml(CONFIGS / f"{file}.yaml")
        presets, file = data.get("presets", {}) | presets, data.get("extends")
    for preset, sections in presets.items():
        if {"default", env_spec.family, env_spec.name} & sections.keys():
            config.resolve(name, env_spec, {}, preset=preset)
        else:
            with pytest.raises(ConfigError, match=f"preset {preset} has no settings for {env}"):
                config.resolve(name, env_spec, {}, preset=preset)


def test_a_file_may_extend_another():
    """double_dqn < dueling_double_dqn, over DQN: the nearest file wins, a preset over all defaults."""
    pong, breakout = resolve_env("Pong"), resolve_env("Breakout")
    dqn, both = (config.resolve(name, pong, {}).settings for name in ("dqn", "dueling_double_dqn"))
    assert (both.n_step, both.lr) == (dqn.n_step, dqn.lr / 2)
    paper = config.resolve("dueling_double_dqn", breakout, {}, preset="paper").settings
    assert (paper.lr, paper.target_every, paper.replay_ratio) == (6.25e-5, 30_000, 8)


@pytest.mark.parametrize("agent", ["dqn", "double_dqn", "dueling_dqn", "dueling_double_dqn", "rainbow", "drqn"])
def test_a_papers_settings_are_the_same_on_every_game(agent):
    """What is tuned for Pong does not shine through the preset."""
    pong, breakout = (config.resolve(agent, resolve_env(env), {}, preset="paper") for env in ("Pong", "Breakout"))
    assert pong.settings == breakout.settings


def test_a_configuration_survives_yaml():
    made = config.resolve("dqn", resolve_env("Pong"), {"lr": 3e-5, "seed": 7})
    assert config.from_dict(yaml.safe_load(yaml.safe_dump(made.to_dict())), "here") == made


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
def test_bad_settings_are_refused_in_one_line(overrides, message):
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
        ("agent: ppo", "another agent than dqn"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        config.resolve("dqn", None, {}, file=str(path))
    assert "\n" not in str(error.value)
    assert "c.yaml" in str(error.value)


def test_unknown_names_get_the_nearest():
    with pytest.raises(LabError, match="unknown agent 'dqm'; nearest: dqn"):
        config.resolve("dqm", None, {})
    with pytest.raises(ConfigError, match="unknown preset 'papper'; there are: default"):
        config.resolve("dqn", None, {}, preset="papper")
    with pytest.raises(ConfigError, match="no-such-file.yaml cannot be read"):
        config.resolve("dqn", None, {}, file="no-such-file.yaml")


def test_whole_numbers_may_be_written_with_an_exponent(tmp_path):
    env_spec = resolve_env("CartPole-v1")
    file = tmp_path / "some.yaml"
    file.write_text("steps: 2e5\nlr: 1e-3\n")
    assert config.resolve("dqn", env_spec, {}, file=str(file)).run.steps == 200_000
    assert [config.parse_whole_number(x) for x in ("1e6", "2.5E+5", "1e-3", "1.5e0", "dqn", "10")] == [
        1_000_000,
        250_000,
        "1e-3",
        "1.5e0",
        "dqn",
        "10",
    ]
    with pytest.raises(ConfigError, match="steps is '1e-3'"):
        config.resolve("dqn", env_spec, {"steps": "1e-3"})


def wrong_values(hint):
    """Values of each wrong kind for a field: another type, and one beyond each end of its range."""
    if typing.get_origin(hint) is typing.Annotated:
        plain, *marks = typing.get_args(hint)
        for mark in marks:
            if mark.low > -math.inf:
                yield mark.low if mark.open_low else mark.low - 1
            if mark.high < math.inf:
                yield mark.high + 1
        yield from wrong_values(plain)
    elif typing.get_origin(hint) is typing.Literal:
        yield from ("nonsense", True, 3)
    elif hint is str:
        yield from (3, True)
    elif hint is int:
        yield from ("many", 1.5, True, None)
    elif hint is bool:
        yield from ("yes", 1, None)
    elif hint == float | None:
        yield from ("much", True, math.nan, math.inf)
    else:
        assert hint is float, hint
        yield from ("much", True, math.nan, math.inf, None)


@pytest.mark.parametrize("name", sorted(agents()))
def test_every_setting_of_every_agent_refuses_what_it_cannot_be(name):
    env_spec = resolve_env("CartPole-v1")
    settings = config.resolve(name, env_spec, {}).settings
    checked = 0
    for owner in (RunConfig, type(settings)):
        for field, hint in typing.get_type_hints(owner, include_extras=True).items():
            for value in wrong_values(hint) if field != "preset" else ():  # a preset is chosen by its own parameter
                with pytest.raises(ConfigError, match=rf"^{field} is ") as refusal:
                    config.resolve(name, env_spec, {field: value})
                assert repr(value) in str(refusal.value) or str(value) in str(refusal.value)
                assert "must be" in str(refusal.value)
                assert len(str(refusal.value).splitlines()) == 1
                checked += 1
    assert checked > 80


def test_an_old_id_is_itself_again_from_its_runs_configuration(tmp_path):
    env_spec = resolve_env("PongNoFrameskip-v0")
    explicit = plan_training(config.resolve("dqn", env_spec, {"env": "PongNoFrameskip-v0"}), env_spec).config
    assert (
        resolve_env("PongNoFrameskip-v0", None if explicit.run.protocol == "auto" else explicit.run.protocol)
        == env_spec
    )


def test_a_broken_package_costs_its_own_agent_only(monkeypatch, capsys):
    point = EntryPoint("worse_dqn", "no_such_module:Agent", "rl_lab.agents")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    registry.agents.cache_clear()
    try:
        assert "dqn" in registry.agents()
        assert "worse_dqn" not in registry.agents()
    finally:
        registry.agents.cache_clear()
    assert "WARNING: the agent 'worse_dqn' of no_such_module:Agent cannot be loaded" in capsys.readouterr().err
