"""Tests of ids of modules, and of environments that are given as Python objects."""

import copy
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box
from gymnasium.wrappers import TimeLimit, TransformReward
from odd_envs import EPISODE, Plain

import rl_lab
from envs.errors import EnvError
from envs.gymnasium_envs import uses_processes
from envs.make import make_stream, resolve
from envs.registration import module_ids, register_object
from envs.spec import EnvSpec
from rl_lab.cli.main import main
from rl_lab.errors import LabError

TESTS = Path(__file__).parents[1]
SHORT: dict[str, Any] = {
    "steps": 60,
    "num_envs": 2,
    "eval_episodes": 2,
    "learning_starts": 20,
    "replay_size": 200,
    "hidden": 8,
    "wandb": "disabled",
    "quiet": True,
}


# --- Ids of modules ---------------------------------------------------------------------------------------------------

REGISTERS_BY_A_FUNCTION = """
import gymnasium
from odd_envs import Plain

class Mine(Plain):
    pass

def register_envs():
    gymnasium.register("Ours/Mine-v0", Mine)
    gymnasium.register("Ours/Named-v3", __name__ + ":Mine")
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that writes files of packages that can be imported until the end of the test."""
    registered = dict(gymnasium.registry)
    modules = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)

    def write(sources: dict[str, str]) -> None:
        for name, source in sources.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(source)

    yield write
    gymnasium.registry.clear()
    gymnasium.registry.update(registered)
    for name in set(sys.modules) - modules:
        if name.startswith("fake_"):
            del sys.modules[name]


def test_module_that_registers_by_a_function(packages):
    packages({"fake_module.py": REGISTERS_BY_A_FUNCTION})
    assert resolve("fake_module:Ours/Mine-v0").name == "fake_module:Ours/Mine-v0"
    assert module_ids("fake_module") == ["Ours/Mine-v0", "Ours/Named-v3"]


@pytest.mark.parametrize("submodule", ["gym", "gymnasium", "envs"])
def test_package_that_registers_by_a_function_of_a_submodule(submodule, packages):
    packages({"fake_package/__init__.py": "", f"fake_package/{submodule}.py": REGISTERS_BY_A_FUNCTION})
    assert module_ids("fake_package") == ["Ours/Mine-v0", "Ours/Named-v3"]
    for env_id in module_ids("fake_package"):
        del gymnasium.registry[env_id]
    assert resolve("fake_package:Ours/Mine-v0").num_actions == 2
    assert resolve(f"fake_package.{submodule}:Ours/Named-v3").num_actions == 2


def test_ids_of_a_module_are_those_of_its_environments():
    ids = module_ids("odd_envs")
    assert {"Plain-v0", "Board-v0"} <= set(ids)
    assert ids == sorted(ids)
    assert "CartPole-v1" not in ids
    assert module_ids("json") == []


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("no_such_module", "there is no module no_such_module"),
        ("a b", "'a b' is not the name of a module"),
        ("", "'' is not the name of a module"),
        ("odd_envs.nothing", "no_?.*module odd_envs.nothing"),
    ],
)
def test_module_that_does_not_exist_is_named(module, message):
    with pytest.raises(EnvError, match=message):
        module_ids(module)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def register_envs(): raise ValueError('x\\ny')", r"cannot register its environments: ValueError: x y \(.*:1"),
        ("def register_envs(): import nothing_at_all", "ModuleNotFoundError: No module named 'nothing_at_all'"),
        ("import sys\ndef register_envs(): sys.exit(3)", r"it called sys.exit\(3\)"),
        ("def register_envs(needed): pass", "TypeError: register_envs.. missing 1 required"),
    ],
)
def test_function_that_fails_is_named_in_one_line(source, message, packages):
    packages({"fake_module.py": source})
    with pytest.raises(EnvError, match=f"fake_module:X-v0: fake_module .*{message}") as error:
        resolve("fake_module:X-v0")
    assert "\n" not in str(error.value)


def test_submodule_that_fails_is_named(packages):
    packages({"fake_package/__init__.py": "", "fake_package/gym.py": "import nothing_at_all"})
    with pytest.raises(EnvError, match=r"fake_package.gym cannot register.*No module named 'nothing_at_all'"):
        module_ids("fake_package")


def test_unknown_id_lists_the_ids_that_a_function_registers(packages):
    packages({"fake_module.py": REGISTERS_BY_A_FUNCTION})
    with pytest.raises(EnvError, match="fake_module registers Ours/Mine-v0, Ours/Named-v3$"):
        resolve("fake_module:Ours/Other-v0")


# --- Environments as objects ------------------------------------------------------------------------------------------


class Counted(Plain):
    """The observation is the number of steps since it was made. The reward is the bonus."""

    observation_space = Box(0, np.inf, (2,), np.float32)

    def __init__(self, bonus: float = 0.0) -> None:
        super().__init__()
        self.bonus = bonus

    def obs(self) -> Any:
        """Return the number of steps."""
        return np.full(2, self.steps, np.float32)

    def reward(self, action: Any) -> float:
        """Return the bonus."""
        return self.bonus


class Doubled(gymnasium.RewardWrapper):
    """Doubles the reward. It does not record its arguments, so Gymnasium cannot make it again."""

    def __init__(self, env: gymnasium.Env, factor: float = 2.0) -> None:
        super().__init__(env)
        self.factor = factor

    def reward(self, reward: Any) -> Any:
        """Return the reward times the factor."""
        return self.factor * reward


def make_counted() -> gymnasium.Env:
    """Return an environment."""
    return Counted(3.0)


@pytest.fixture(autouse=True)
def registered():
    """Register Counted-v0, and remove all objects after the test."""
    entry_point: Any = Counted
    gymnasium.register("Counted-v0", entry_point, max_episode_steps=3)
    yield
    for env_id in [env_id for env_id in gymnasium.registry if env_id.startswith(("python/", "Counted-v0"))]:
        del gymnasium.registry[env_id]


OBJECTS: dict[str, tuple[Any, str, float, int]] = {  # object, name, reward, length of an episode
    "class": (lambda: Counted, "Counted", 0.0, EPISODE),
    "function": (lambda: make_counted, "make_counted", 3.0, EPISODE),
    "lambda": (lambda: lambda: Counted(4.0), "lambda", 4.0, EPISODE),
    "partial": (lambda: partial(Counted, 5.0), "partial", 5.0, EPISODE),
    "made by Gymnasium": (lambda: gymnasium.make("Counted-v0", bonus=6.0), "Counted", 6.0, 3),
    "made with wrappers": (
        lambda: TransformReward(TimeLimit(gymnasium.make("Counted-v0", bonus=6.0), 2), lambda r: float(r) + 1),
        "Counted",
        7.0,
        2,
    ),
    "in a wrapper without recorded arguments": (
        lambda: Doubled(gymnasium.make("Counted-v0", bonus=6.0), 3.0),
        "Counted",
        18.0,
        3,
    ),
    "without a spec": (lambda: Counted(7.0), "Counted", 7.0, EPISODE),
    "wrapped without a spec": (lambda: TimeLimit(Doubled(Counted(7.0)), 4), "Counted", 14.0, 4),
}


def first_episode(env_spec: EnvSpec) -> list[Any]:
    """Return observation, reward and end of each row of the first episode."""
    stream = make_stream(env_spec, 1, vectorization="sync")
    rows = [stream.reset(1)]
    while not rows[-1].is_last[0]:
        stream.send(np.zeros(1, np.int64))
        rows.append(stream.recv())
    stream.close()
    return rows


@pytest.mark.parametrize("name", OBJECTS)
def test_environment_of_an_object(name):
    make, id_name, reward, length = OBJECTS[name]
    env_id = register_object(make())
    assert env_id == f"python/{id_name}-v0"
    rows = first_episode(resolve(env_id))
    assert [float(row.reward[0]) for row in rows] == [0.0, *[reward] * length]
    assert [float(row.obs[0, 0]) for row in rows] == list(range(length + 1))


@pytest.mark.parametrize("name", ["made by Gymnasium", "in a wrapper without recorded arguments", "without a spec"])
def test_given_environment_is_not_touched(name):
    env = OBJECTS[name][0]()
    env.reset(seed=1)
    env.step(0)
    before = copy.deepcopy(env.unwrapped.__dict__)
    first_episode(resolve(register_object(env)))
    after = env.unwrapped.__dict__
    assert after.keys() == before.keys()
    assert (after["steps"], after["step_in_episode"], after["bonus"]) == (1, 1, before["bonus"])
    assert env.step(0)[0].tolist() == [2, 2]


def test_later_changes_of_a_given_environment_have_no_effect():
    env = Counted(7.0)
    env_id = register_object(env)
    env.bonus = -1.0
    assert float(first_episode(resolve(env_id))[1].reward[0]) == 7.0


def test_second_object_of_a_name_replaces_the_first(recwarn):
    first = register_object(lambda: Counted(1.0))
    second = register_object(lambda: Counted(2.0))
    assert first == second
    assert float(first_episode(resolve(second))[1].reward[0]) == 2.0
    assert [str(warning.message) for warning in recwarn if "Overriding" in str(warning.message)] == []


def test_environment_that_cannot_be_copied_names_the_way_out():
    class Locked(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.lock = threading.Lock()

    with pytest.raises(EnvError, match=r"Locked cannot be copied \(TypeError: .*\); .* as in env=lambda: Locked\(\)"):
        register_object(Locked())
    assert resolve(register_object(lambda: Locked())).num_actions == 2


@pytest.mark.parametrize("value", [3, None, ["CartPole-v1"], np.zeros(2)])
def test_something_else_is_refused(value):
    with pytest.raises(EnvError, match="env is a .*; it must be an id, an EnvSpec, an environment or a callable"):
        register_object(value)


def test_callable_that_makes_no_environment_is_refused_in_one_line():
    with pytest.raises(EnvError, match=r"python/lambda-v0 cannot be made: ") as error:
        resolve(register_object(lambda: 3))
    assert "\n" not in str(error.value)


def test_given_environment_keeps_its_render_mode():
    env_id = register_object(gymnasium.make("CartPole-v1", render_mode="rgb_array"))
    env = gymnasium.make(env_id, render_mode="rgb_array")
    env.reset(seed=1)
    assert isinstance(env.render(), np.ndarray)
    env.close()


def test_object_that_cannot_be_pickled_runs_in_this_process():
    """Images would otherwise be made in a process for each environment."""
    lock = threading.Lock()

    class Pictures(Plain):
        observation_space = Box(0, 255, (40, 40), np.uint8)

        def reward(self, action: Any) -> float:
            with lock:
                return 1.0

    env_spec = resolve(register_object(Pictures))
    assert env_spec.family == "image"
    assert not env_spec.picklable
    assert not uses_processes(env_spec, "auto")
    assert "python/Pictures-v0 cannot be made in another process, so all environments run in this one" in (
        env_spec.warnings()
    )
    assert len(first_episode(env_spec)) == EPISODE + 1
    assert uses_processes(resolve("odd_envs:Grey-v0"), "auto")


# --- Training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*OBJECTS, "EnvSpec", "id"])
def test_train_resume_and_evaluate_an_object(name, tmp_path):
    if name in OBJECTS:
        env, _, reward, length = OBJECTS[name][0](), *OBJECTS[name][1:]
        given: dict[str, Any] = {"env": env}
    else:
        env = {"EnvSpec": resolve("Counted-v0"), "id": "Counted-v0"}[name]
        reward, length, given = 0.0, 3, {}
    run = rl_lab.train("dqn", env=env, runs_dir=str(tmp_path), **SHORT)
    evaluation = rl_lab.evaluate(run, episodes=2, **given)
    assert evaluation.returns == [reward * length] * 2
    extended = rl_lab.resume(run, steps=90, quiet=True, **given)
    assert extended.config.run.steps == 90
    assert extended.env_spec.id == run.env_spec.id


def test_object_of_another_name_is_refused(tmp_path):
    run = rl_lab.train("dqn", env=Counted, runs_dir=str(tmp_path), **SHORT)
    with pytest.raises(LabError, match="was trained on python/Counted-v0, not on python/make_counted-v0"):
        rl_lab.evaluate(run, env=make_counted)


SCRIPT = """
import sys

import numpy as np
from odd_envs import Plain

import rl_lab


class Maze(Plain):
    def __init__(self, bonus=2.0):
        super().__init__()
        self.bonus = bonus

    def reward(self, action):
        return self.bonus


def run_all(folder, env):
    settings = dict(steps=60, num_envs=2, eval_episodes=1, learning_starts=20, wandb="disabled", quiet=True)
    if sys.argv[1] == "train":
        rl_lab.train("dqn", env=env, runs_dir=folder, **settings)
    elif sys.argv[1] == "resume":
        run = rl_lab.resume("latest", steps=90, env=env, runs_dir=folder, quiet=True)
        print(rl_lab.evaluate(run, episodes=2, env=env).returns)
    else:
        rl_lab.resume("latest", steps=120, runs_dir=folder, quiet=True)


if __name__ == "__main__":
    run_all(sys.argv[2], {"class": Maze, "lambda": lambda: Maze(), "instance": Maze(5.0)}[sys.argv[3]])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "score"), [("class", 10.0), ("lambda", 10.0), ("instance", 25.0)])
def test_object_is_given_again_in_another_process(kind, score, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)

    def run_script(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(script), command, str(tmp_path / "runs"), kind],
            env={"PYTHONPATH": f"{TESTS}:{TESTS.parent}", "OMP_NUM_THREADS": "1"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    trained = run_script("train")
    assert trained.returncode == 0, trained.stderr
    resumed = run_script("resume")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.splitlines()[-1] == f"[{score}, {score}]"
    without = run_script("without")
    assert without.returncode == 1
    name = "lambda" if kind == "lambda" else "Maze"
    assert without.stderr.splitlines()[-1] == (
        f"envs.errors.EnvError: python/{name}-v0 was given as a Python object, so it can be made in Python only: pass"
        " the object again to rl_lab.resume, evaluate or show, as env=..."
    )


def test_command_line_says_that_an_object_is_needed(tmp_path, monkeypatch, capsys):
    run = rl_lab.train("dqn", env=Counted, runs_dir=str(tmp_path), **SHORT)
    del gymnasium.registry["python/Counted-v0"]
    for command in (["resume", str(run.path), "--steps", "90"], ["eval", str(run.path)]):
        with pytest.raises(SystemExit) as stop:
            main(command)
        assert stop.value.code == 2
        error = capsys.readouterr().err.strip()
        assert error.startswith("rl_lab: python/Counted-v0 was given as a Python object")
        assert "\n" not in error
