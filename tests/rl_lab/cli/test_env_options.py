"""Tests of the options that decide how an environment is made, on the command line, in files and in Python."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import pytest
import yaml
from identical import TENSOR_FILES, assert_equal_tensors, replay_rows
from safetensors.torch import load_file

import rl_lab
from agents.core.settings import ConfigError
from rl_lab import api, checkpoint
from rl_lab.cli.main import main
from rl_lab.experiment.env_settings import env_options_from
from rl_lab.experiment.run import Run

SMALL_RUN = [
    "--steps=60",
    "--num-envs=2",
    "--eval-episodes=1",
    "--wandb=disabled",
    "--learning-starts=20",
    "--replay-size=200",
    "--hidden=8",
]
MODULE = '''
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete

class Maze(gymnasium.Env):
    """The observation is the bonus. The reward is the bonus and 0.001 for each step. It draws from its generator."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, bonus=0.0, sizes=(), level="easy", options=None, when=None, render_mode=None):
        self.bonus = float(bonus)
        self.sizes, self.level, self.options = sizes, level, options
        self.render_mode = render_mode
        self.observation_space = Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = Discrete(2)

    def obs(self):
        return np.array([self.bonus, self.np_random.random()], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.obs(), {}

    def step(self, action):
        self.t += 1
        return self.obs(), self.bonus, self.t == 5, False, {}

    def render(self):
        return np.full((50, 60, 3), 10 * self.t, np.uint8)

class Scale(gymnasium.RewardWrapper):
    def __init__(self, env, factor=2.0, shift=0.0):
        super().__init__(env)
        self.factor, self.shift = factor, shift

    def reward(self, reward):
        return self.factor * reward + self.shift

class Own(gymnasium.Env):
    """A wrapper that is no gymnasium.Wrapper and has no spec."""

    def __init__(self, env):
        self.env = env
        self.observation_space, self.action_space = env.observation_space, env.action_space

    def reset(self, *, seed=None, options=None):
        return self.env.reset(seed=seed)

    def step(self, action):
        return self.env.step(action)

class Parts(Maze):
    def __init__(self):
        super().__init__()
        self.observation_space = Dict(a=Box(-1, 1, (3,)), board=Box(0, 3, (4, 4), np.uint8), pair=Discrete(2))

    def obs(self):
        return self.observation_space.sample()

class Picture(Maze):
    def __init__(self):
        super().__init__()
        self.observation_space = Box(0, 255, (40, 50, 3), np.uint8)

    def obs(self):
        return np.zeros((40, 50, 3), np.uint8)

def not_an_env(env):
    return 3

gymnasium.register("Maze-v0", Maze)
gymnasium.register("Parts-v0", Parts)
gymnasium.register("Picture-v0", Picture)
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a working folder with the module `fake_mazes`."""
    registered = dict(gymnasium.registry)
    (tmp_path / "fake_mazes.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("fake_mazes", None)
    gymnasium.registry.clear()
    gymnasium.registry.update(registered)


def train(*args: str, env: str = "fake_mazes:Maze-v0") -> Run:
    """Train for a moment by the command line, and return the run."""
    before = set(Path("runs").glob("*/*/*"))
    main(["train", "dqn", f"--env={env}", *SMALL_RUN, *args])
    (path,) = set(Path("runs").glob("*/*/*")) - before
    return Run(path)


def config_of(run: Run) -> dict[str, Any]:
    """Return the content of config.yaml."""
    return yaml.safe_load((run.path / "config.yaml").read_text())


def options_of(run: Run) -> dict[str, Any]:
    """Return the options in env.json."""
    return json.loads((run.path / "env.json").read_text())["options"]


def mean_of(run: Run) -> float:
    """Return the mean score of an evaluation."""
    return api.evaluate(run, episodes=2).mean


def error_of(args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the line of an error. The command must end with exit code 2, and leave no run folder."""
    with pytest.raises(SystemExit) as stop:
        main(args)
    captured = capsys.readouterr()
    assert stop.value.code == 2
    line = captured.err.strip()
    assert "\n" not in line
    assert line.startswith("rl_lab: ")
    assert not list(Path("runs").glob("*/*/*"))
    return line


# --- Arguments of the constructor -------------------------------------------------------------------------------------


def test_values_of_env_args_are_yaml_and_are_saved(folder):
    run = train(
        "--env-arg", "bonus=1.5", "--env-arg=sizes=[1, two, null]", "--env-arg", "level=", "--env-arg=options=a=b"
    )
    expected = {"bonus": 1.5, "sizes": [1, "two", None], "level": None, "options": "a=b"}
    assert config_of(run)["env_args"] == expected
    assert options_of(run)["env_args"] == expected
    assert run.env_spec.options.env_args == expected
    assert mean_of(run) == pytest.approx(5 * 1.5)


def test_last_value_of_an_argument_counts(folder):
    assert config_of(train("--env-arg=bonus=1", "--env-arg=bonus=2"))["env_args"] == {"bonus": 2}


def test_env_args_are_added_to_those_of_a_file_and_wrappers_replace_them(folder):
    settings = {
        "env": "fake_mazes:Maze-v0",
        "env_args": {"bonus": 1, "level": "hard"},
        "wrappers": ["fake_mazes:Scale"],
    }
    Path("settings.yaml").write_text(yaml.safe_dump(settings))
    of_file = train("--config=settings.yaml")
    assert config_of(of_file)["env_args"] == {"bonus": 1, "level": "hard"}
    assert mean_of(of_file) == pytest.approx(10)
    merged = train("--config=settings.yaml", "--env-arg=bonus=3")
    assert config_of(merged)["env_args"] == {"bonus": 3, "level": "hard"}
    from_python = rl_lab.train(
        "dqn", env="fake_mazes:Maze-v0", config_file="settings.yaml", env_args={"bonus": 4}, steps=10, quiet=True
    )
    assert config_of(from_python)["env_args"] == {"bonus": 4, "level": "hard"}
    assert mean_of(merged) == pytest.approx(30)
    replaced = train("--config=settings.yaml", "--wrapper=fake_mazes:Scale: {factor: 5}")
    assert config_of(replaced)["wrappers"] == [{"fake_mazes:Scale": {"factor": 5}}]
    assert mean_of(replaced) == pytest.approx(25)


def test_config_of_a_run_trains_in_the_same_environment(folder):
    run = train("--env-arg=bonus=3", "--wrapper=fake_mazes:Scale", "--obs-kind=vector")
    again = train(f"--config={run.path / 'config.yaml'}")
    assert config_of(again) == config_of(run)
    assert again.env_spec == run.env_spec
    assert mean_of(again) == pytest.approx(30)


# --- Wrappers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrappers", "score"),
    [
        (["fake_mazes:Scale"], 2),
        (["fake_mazes:Scale: {factor: 3}"], 3),
        (["fake_mazes:Scale: {factor: 3}", "fake_mazes:Scale: {factor: 1, shift: 7}"], 3 + 7),
        (["fake_mazes:Scale: {factor: 1, shift: 7}", "fake_mazes:Scale: {factor: 3}"], 3 * (1 + 7)),
        (["fake_mazes:Own", "fake_mazes:Scale"], 2),
        (["fake_mazes:Own"], 1),
        (["gymnasium.wrappers:TimeLimit: {max_episode_steps: 2}"], 2 / 5),
    ],
)
def test_first_wrapper_is_the_innermost(wrappers, score, folder):
    run = train("--env-arg=bonus=1", *[f"--wrapper={wrapper}" for wrapper in wrappers])
    assert mean_of(run) == pytest.approx(5 * score)
    assert config_of(run)["wrappers"] == [yaml.safe_load(wrapper) for wrapper in wrappers]
    assert [wrapper["name"] for wrapper in options_of(run)["wrappers"]] == [name.split(": ")[0] for name in wrappers]


# --- Observations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "env", "frame"),
    [
        ((), "Picture-v0", [84, 84]),
        (("--image=rgb",), "Picture-v0", [3, 84, 84]),
        (("--image-size", "36"), "Picture-v0", [36, 36]),
        (("--image=rgb", "--image-size=64"), "Picture-v0", [3, 64, 64]),
        (("--obs-kind=vector",), "Picture-v0", [40 * 50 * 3]),
        (("--obs_kind=planes",), "Picture-v0", [3, 40, 50]),
        (("--obs-key=a,pair",), "Parts-v0", [5]),
        (("--obs-key", "board"), "Parts-v0", [1, 4, 4]),
        ((), "Parts-v0", [4 * 5 + 16]),
        (("--view=pixels", "--crop=0:40,0:40", "--image-size=40"), "Maze-v0", [40, 40]),
        (("--view=pixels", "--image=rgb"), "Maze-v0", [3, 84, 84]),
    ],
)
def test_options_decide_the_observations(args, env, frame, folder):
    run = train("--filters=2", "--vectorization=sync", *args, env=f"fake_mazes:{env}")
    assert json.loads((run.path / "env.json").read_text())["frame"] == frame
    api.evaluate(run, episodes=1)


def test_size_of_the_images_of_an_atari_game(folder):
    run = train("--image=rgb", "--image-size=40", "--filters=2", "--eval-max-steps=20", env="Pong")
    assert run.env_spec.frame == (3, 40, 40)


# --- Errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--env-arg", "bonus"], "env-arg is 'bonus'; it must be NAME=VALUE, such as render_size=64"),
        (["--env-arg=a-b=3"], "env-arg is 'a-b=3'; it must be NAME=VALUE"),
        (["--env-arg==3"], "env-arg is '=3'; it must be NAME=VALUE"),
        (["--env-arg=bonus=[1"], "which is not YAML"),
        (["--env-arg=bonus=!!python/object:os.system x"], "which is not YAML"),
        (["--env-arg=speed=3"], "Maze-v0 cannot be made: .* unexpected keyword argument 'speed'"),
        (["--env-arg=bonus=fast"], "Maze-v0 cannot be made: ValueError: could not convert string to float: 'fast'"),
        (["--env-arg=when=2020-01-01"], "env_args and wrappers must consist of numbers, texts, lists and mappings"),
        (["--env-arg=options={1: 2}"], "env_args and wrappers must consist of numbers, texts, lists and mappings"),
        (["--env-arg=options=!!set {a}"], "env_args and wrappers must consist of numbers"),
        (["--env-arg=options=&a [*a]"], "env_args and wrappers must consist of numbers"),
        (["--env-arg=bonus=.nan"], "env_args and wrappers must consist of numbers"),
        (["--env-arg"], "--env-arg"),
        (["--wrapper=fake_mazes"], "wrapper is 'fake_mazes'; it must be module:Class$"),
        (["--wrapper=fake mazes:Scale"], "it must be module:Class"),
        (["--wrapper="], "wrapper is None; it must be module:Class, or module:Class: {argument: value}"),
        (["--wrapper=[1]"], r"wrapper is \[1\]; it must be module:Class, or"),
        (["--wrapper={a: {b: 1}, c: {d: 1}}"], "it must be module:Class, or module:Class: {argument: value}"),
        (["--wrapper=fake_mazes:Scale: 0"], "it must be module:Class, or module:Class: {argument: value}"),
        (["--wrapper=fake_mazes:Scale: {1: 2}"], "it must be module:Class, or module:Class: {argument: value}|consist"),
        (["--wrapper={x"], "wrapper is '{x', which is not YAML"),
        (["--wrapper=fake_mazes:Missing"], "the wrapper fake_mazes:Missing cannot be used: AttributeError"),
        (["--wrapper=no_module:Scale"], "the wrapper no_module:Scale cannot be used: ModuleNotFoundError: No module"),
        (
            ["--wrapper=fake_mazes:not_an_env"],
            "the wrapper fake_mazes:not_an_env returned a int; it must return an env",
        ),
        (["--wrapper=fake_mazes:MODULE"], "fake_mazes:MODULE cannot be used: AttributeError"),
        (
            ["--wrapper=fake_mazes:Scale: {speed: 3}"],
            r"the wrapper fake_mazes:Scale\(speed=3\) cannot be used: TypeError: .*unexpected keyword argument 'speed'",
        ),
        (["--obs-kind=picture"], "obs_kind is 'picture'; it must be one of auto, image, planes, vector"),
        (["--obs-kind", "image"], r"Maze-v0 has observations of shape \(2,\); images and planes need two"),
        (["--obs-key=goal"], "obs_key is 'goal'; the observation of Maze-v0 has one part only"),
        (["--image=blue"], "image is 'blue'; it must be one of grey, rgb"),
        (["--image-size=35"], "image_size is 35; it must be from 36 to 1024"),
        (["--image-size", "1025"], "image_size is 1025; it must be from 36 to 1024"),
        (["--image-size=large"], "image_size is 'large'; it must be a whole number"),
        (["--crop=0:40,0:40"], "crop is '0:40,0:40'; it is for view pixels only"),
        (["--view=pixels", "--crop=0:40"], "crop is '0:40'; it must be top:bottom,left:right in pixels"),
        (["--view=pixels", "--crop=60:70,0:10"], "crop is '60:70,0:10'; the picture has 50 x 60 pixels"),
        (["--view=pixel"], "view is 'pixel'; it must be one of grey, binary, pixels"),
    ],
)
def test_wrong_option_is_an_error_in_one_line(args, message, folder, capsys):
    line = error_of(["train", "dqn", "--env=fake_mazes:Maze-v0", *SMALL_RUN, *args], capsys)
    assert re.search(message, line), line


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"env_args": [1]}, r"env_args is \[1\]; it must be "),
        ({"env_args": {1: 2}}, "env_args is {1: 2}; it must be a mapping of names of arguments to values"),
        ({"wrappers": "fake_mazes:Scale"}, "wrappers is 'fake_mazes:Scale'; it must be "),
        ({"wrappers": [{"fake_mazes:Scale": [1]}]}, "it must be module:Class, or module:Class: {argument: value}"),
        ({"action_masks": 3}, "action_masks is 3; it must be true or false"),
        ({"image_size": 2.5}, "image_size is 2.5"),
    ],
)
def test_wrong_setting_of_a_file_is_an_error_in_one_line(settings, message, folder, capsys):
    Path("settings.yaml").write_text(yaml.safe_dump({"env": "fake_mazes:Maze-v0", **settings}))
    line = error_of(["train", "dqn", "--config=settings.yaml", *SMALL_RUN], capsys)
    assert re.search(message, line), line


@pytest.mark.parametrize("value", [(1, 2), {1, 2}, object(), {"a": {1: 2}}, b"x", float("nan")])
def test_argument_that_a_file_would_change_is_refused(value):
    with pytest.raises(ConfigError, match="env_args and wrappers must consist of .*: env=lambda: ..."):
        env_options_from({"env_args": {"x": value}})
    with pytest.raises(ConfigError, match="env_args and wrappers must consist of .*: env=lambda: ..."):
        env_options_from({"wrappers": [{"a:B": {"x": value}}]})


@pytest.mark.parametrize("value", [1, 2.5, True, None, "x", [1, [2]], {"a": {"b": []}}, float("inf"), 10**30])
def test_argument_that_a_file_holds_is_accepted(value):
    assert env_options_from({"env_args": {"x": value}}).env_args == {"x": value}


# --- Groups, resume and lists -----------------------------------------------------------------------------------------


def test_resume_with_arguments_and_wrappers_is_exact(folder):
    settings: dict[str, Any] = {
        "env_args": {"bonus": 0.5},
        "wrappers": ["fake_mazes:Own", {"fake_mazes:Scale": {"factor": 3, "shift": 0.25}}],
        "num_envs": 2,
        "learning_starts": 20,
        "replay_size": 500,
        "hidden": 8,
        "eval_every": 0,
        "log_every": 50,
        "wandb": "disabled",
        "quiet": True,
    }
    short = rl_lab.train("dqn", env="fake_mazes:Maze-v0", steps=100, **settings)
    long = rl_lab.train("dqn", env="fake_mazes:Maze-v0", steps=200, **settings)
    extended = rl_lab.resume(short, steps=200, quiet=True)
    assert extended.env_spec.to_dict() == long.env_spec.to_dict()
    folders = [checkpoint.generations(run.path)[0] for run in (long, extended)]
    for file in TENSOR_FILES:
        assert_equal_tensors(load_file(folders[0] / file), load_file(folders[1] / file))
    assert_equal_tensors(replay_rows(folders[0]).fields, replay_rows(folders[1]).fields)


@pytest.mark.slow
def test_seeds_of_a_group_are_trained_in_the_same_environment(folder):
    arguments = ["--env-arg=bonus=0.5", "--env-arg=sizes=[1, 2]", "--wrapper=fake_mazes:Scale: {factor: 3}"]
    tests = Path(__file__).parents[2]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "rl_lab",
            "train",
            "dqn",
            "--env=fake_mazes:Maze-v0",
            *SMALL_RUN,
            *arguments,
            "--seeds=1,2",
        ],
        env={**os.environ, "PYTHONPATH": str(tests.parent)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    runs = sorted(
        (Run(path.parent) for path in folder.glob("runs/*/*/*/config.yaml")), key=lambda run: run.config.run.seed
    )
    assert [run.config.run.seed for run in runs] == [1, 2]
    for run in runs:
        assert config_of(run)["env_args"] == {"bonus": 0.5, "sizes": [1, 2]}
        assert config_of(run)["wrappers"] == [{"fake_mazes:Scale": {"factor": 3}}]
        assert mean_of(run) == pytest.approx(5 * 0.5 * 3)


def test_list_envs_shows_the_ids_of_a_module(folder, capsys):
    main(["list", "envs", "fake_mazes"])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["fake_mazes:Maze-v0", "fake_mazes:Parts-v0", "fake_mazes:Picture-v0"]


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("json", "json registers no environments"),
        ("no_module", "no_module: there is no module no_module in the current folder"),
        ("a b", "'a b' is not the name of a module"),
    ],
)
def test_list_envs_of_a_wrong_module_is_an_error_in_one_line(module, message, folder, capsys):
    assert message in error_of(["list", "envs", module], capsys)
