"""Tests with environments that do something wrong or unusual (tests/odd_envs.py)."""

import os
import random
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import odd_envs
import pytest
from gymnasium.spaces import Box, Discrete

from envs.errors import EnvError, EnvFault
from envs.gymnasium_envs import make_vector_env
from envs.make import make_stream, resolve
from envs.stream import Row, Stream

TESTS = Path(__file__).parents[1]


def collect(stream: Stream, rows: int, seed: int = 1) -> list[Row]:
    """Return the first rows of a stream. Action i of row t is (t + i) mod A. The stream is closed."""
    try:
        result = [stream.reset(seed)]
        for t in range(rows):
            stream.send((t + np.arange(stream.num_envs)) % stream.num_actions)
            result.append(stream.recv())
        return result
    finally:
        stream.close()


@contextmanager
def registered(env_id: str, make: Any) -> Iterator[None]:
    """Register an environment inside the `with` block."""
    gymnasium.register(env_id, make)
    try:
        yield
    finally:
        del gymnasium.registry[env_id]


def assert_equal_rows(rows: list[Row], others: list[Row]) -> None:
    """Raise AssertionError unless all fields of all rows are equal."""
    assert len(rows) == len(others)
    for row, other in zip(rows, others, strict=True):
        for field, other_field in zip(row, other, strict=True):
            np.testing.assert_array_equal(field, other_field)


# --- One line for what an environment does wrong ----------------------------------------------------------------------


NOTEBOOK_CELL = """
class InNotebook(Good):
    def step(self, action):
        if self.fails:
            raise ValueError("no")
        return super().step(action)
"""


def test_an_environment_of_a_notebook_is_described(monkeypatch: pytest.MonkeyPatch):
    """Its class has neither a file nor a module with a file, and ipykernel names its cell after no file either."""

    class Good(gymnasium.Env):
        observation_space = Box(0, 1, (2,), np.float32)
        action_space = Discrete(2)
        fails = False

        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
            return np.zeros(2, np.float32), {}

        def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
            return np.zeros(3, np.float32), 0.0, False, False, {}

    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    names: dict[str, Any] = {"Good": Good, "__name__": "__main__"}
    exec(compile(NOTEBOOK_CELL, "/tmp/ipykernel_12/345.py", "exec"), names)
    cls = names["InNotebook"]
    with registered("InNotebook-v0", cls), pytest.raises(EnvError, match=r"shape \(3,\).*\(__main__\)"):
        resolve("InNotebook-v0")
    cls.fails = True
    with (
        registered("InNotebook-v0", cls),
        pytest.raises(EnvError, match=r"ValueError: no \(line 5 of a notebook cell\)"),
    ):
        resolve("InNotebook-v0")


@pytest.mark.parametrize("name", [*odd_envs.ODD_RESULTS, *odd_envs.ODD_ERRORS, *odd_envs.REFUSED_SPACES])
def test_environment_that_is_wrong_from_the_start_is_refused_in_one_line(name):
    _, message = (odd_envs.ODD_RESULTS | odd_envs.ODD_ERRORS | odd_envs.REFUSED_SPACES)[name]
    with pytest.raises(EnvError, match=message) as error:
        resolve(f"odd_envs:{name}-v0")
    assert "\n" not in str(error.value)
    assert f"{name}-v0" in str(error.value)


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize("name", odd_envs.LATER)
def test_environment_that_goes_wrong_later_is_a_fault_in_one_line(name, vectorization):
    _, message = odd_envs.LATER[name]
    stream = make_stream(resolve(f"odd_envs:{name}-v0"), 2, vectorization=vectorization)
    with pytest.raises(EnvFault, match=message) as error:
        collect(stream, 100)
    assert "\n" not in str(error.value)


def test_traceback_of_a_worker_reaches_the_main_process():
    stream = make_stream(resolve("odd_envs:RaisesLater-v0"), 2, vectorization="async")
    with pytest.raises(EnvFault) as error:
        collect(stream, 100)
    assert "RuntimeError: the simulator crashed" in "".join(error.value.__notes__)


def test_worker_that_ends_is_named_with_its_exit_code():
    stream = make_stream(resolve("odd_envs:DiesLater-v0"), 2, vectorization="async")
    with pytest.raises(EnvFault, match="DiesLater-v0: the process of environment 0 ended with exit code 0"):
        collect(stream, 100)


def test_worker_that_ends_in_a_reset_is_named_too():
    stream = make_stream(resolve("odd_envs:DiesInReset-v0"), 2, vectorization="async")
    stream.reset(1)
    with pytest.raises(EnvFault, match="DiesInReset-v0: the process of environment 0 ended with exit code 3"):
        collect(stream, 1)


def test_scores_are_summed_in_float64():
    stream = make_stream(resolve("odd_envs:LargeScores-v0"), 1)
    stream.reset(1)
    for _ in range(3):
        stream.send(np.zeros(1, np.int64))
        stream.recv()
    assert [episode.score for episode in stream.pop_episodes()] == [3 * 16_777_217]
    stream.close()


@pytest.mark.parametrize("env_id", [":", "::", ":x", "x:", "a:b:c", ".x:y", "a b:C-v0", "odd_envs:"])
def test_malformed_id_is_refused_with_the_right_form(env_id):
    with pytest.raises(EnvError, match="is not the id of an environment; write Name-v0 or module:Name-v0"):
        resolve(env_id)


def test_unknown_id_of_a_module_lists_what_the_module_registers():
    with pytest.raises(
        EnvError, match=r"is not registered: .*; odd_envs registers Bits-v0, Board-v0, .* and [0-9]+ more"
    ):
        resolve("odd_envs:Missing-v0")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import nothing_at_all", "cannot be imported: ModuleNotFoundError: No module named 'nothing_at_all'"),
        ("import sys; sys.exit(0)", r"cannot be imported: it called sys.exit\(0\)"),
        ("x = (", r"cannot be imported: SyntaxError: .*broken_module.py:1\)"),
        ("raise OSError(5, 'disk')", r"cannot be imported: OSError: .* \(.*broken_module.py:1\)"),
    ],
)
def test_module_that_cannot_be_imported_is_named_in_one_line(source, message, tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("broken_module", None)
    with pytest.raises(EnvError, match=message) as error:
        resolve("broken_module:X-v0")
    assert "\n" not in str(error.value)


INFOS = {  # pairs of functions that return an info
    "shapes": (lambda: {"path": np.zeros(2)}, lambda: {"path": np.zeros(3)}),
    "none": (lambda: {"winner": 1}, lambda: {"winner": None}),
    "text": (lambda: {"winner": 1}, lambda: {"winner": "black"}),
    "dict": (lambda: {"team": {"score": 1}}, lambda: {"team": 1}),
    "lives": (lambda: {"lives": np.array([3, 2])}, lambda: {"lives": np.array([3, 3])}),
    "large": (lambda: {"seed": 10**30}, dict),
    "unpicklable": (lambda: {"lock": threading.Lock()}, dict),
}


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize("name", INFOS)
def test_infos_may_hold_anything(name, vectorization):
    """Gymnasium's vector environments join the infos of all environments, and send them between processes."""
    infos = INFOS[name]

    class Env(odd_envs.Plain):
        def info(self) -> Any:
            return infos[self.np_random.integers(2)]()

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return super().reset(seed=seed)[0], self.info()

        def step(self, action: Any) -> Any:
            return *super().step(action)[:4], self.info()

    with registered("Infos-v0", Env):
        rows = collect(make_stream(resolve("Infos-v0"), 2, vectorization=vectorization), 12)
    assert [row.reward.tolist() for row in rows[1:4]] == [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize(
    ("dtype", "obs"),
    [
        (np.uint16, np.array([1, 2])),
        (np.uint16, [1, 2]),
        (np.int8, np.array([1.0, 2.0])),
        (np.int64, np.array([1.0, 2.0])),
        (np.bool_, np.array([1, 0])),
    ],
)
def test_whole_numbers_may_be_of_another_type_than_their_space(dtype, obs, vectorization):
    class Env(odd_envs.Plain):
        observation_space = Box(0, 1 if dtype == np.bool_ else 9, (2,), dtype)

        def obs(self) -> Any:
            return obs

    with registered("Types-v0", Env):
        rows = collect(make_stream(resolve("Types-v0"), 2, vectorization=vectorization), 6)
    for row in rows:
        np.testing.assert_array_equal(row.obs, np.array([obs, obs], np.float32))


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_resets_have_no_options(vectorization):
    """Gymnasium's vector environments pass an empty dict if they reset only some of their environments."""

    class Env(odd_envs.Plain):
        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            if options is not None:
                self.start = options["start"]
            return super().reset(seed=seed)

        def step(self, action: Any) -> Any:
            obs, reward, _, _, info = super().step(action)
            return obs, reward, self.np_random.random() < 0.3, False, info

    with registered("Options-v0", Env):
        stream = make_stream(resolve("Options-v0"), 2, vectorization=vectorization)
    stream.reseed_after = 1
    rows = collect(stream, 40)
    assert any(row.is_first.sum() == 1 for row in rows)


@pytest.mark.parametrize("num_envs", [1, 2])
@pytest.mark.parametrize("space", ["observation_space", "action_space"])
def test_spaces_that_a_constructor_draws_are_refused_in_one_line(space, num_envs):
    class Env(odd_envs.Plain):
        def __init__(self) -> None:
            super().__init__()
            size = random.randint(2, 1_000_000)
            drawn = {"observation_space": Box(-1, 1, (size,), np.float32), "action_space": Discrete(size % 90_000 + 2)}
            setattr(self, space, drawn[space])

    with registered("Drawn-v0", Env), pytest.raises(EnvError, match="its spaces must always be the same") as error:
        make_stream(resolve("Drawn-v0"), num_envs)
    assert "\n" not in str(error.value)


def test_bounds_that_a_constructor_draws_are_accepted():
    class Env(odd_envs.Plain):
        def __init__(self) -> None:
            super().__init__()
            self.observation_space = Box(-1, random.uniform(1, 9), (2,), np.float32)

    with registered("Drawn-v0", Env):
        collect(make_stream(resolve("Drawn-v0"), 3), 6)


# --- Spaces -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", odd_envs.SUPPORTED_SPACES)
def test_observations_are_changed_only_as_the_spec_says(name):
    cls, dtype, shape, transformations = odd_envs.SUPPORTED_SPACES[name]
    env_spec = resolve(f"odd_envs:{name}-v0")
    assert (env_spec.dtype, env_spec.frame, env_spec.transformations) == (dtype, shape, transformations)
    for transformation in transformations:
        assert transformation in str(env_spec)
    row = collect(make_stream(env_spec, 2, vectorization="sync"), 1)[0]
    assert row.obs.shape == (2, *shape)
    assert row.obs.dtype == dtype
    if dtype == "float32" and isinstance(cls.observation_space, Box):
        assert np.isin(row.obs, np.arange(256)).all() == (cls.observation_space.dtype == np.uint8)


@pytest.mark.parametrize(
    ("shape", "high", "is_image"),
    [
        ((36, 36), 255, True),
        ((36, 36, 3), 255, True),
        ((35, 84), 255, False),
        ((84, 84), 1, False),
        ((7, 7, 3), 255, False),
    ],
)
def test_image_has_the_full_range_and_two_long_sides(shape, high, is_image):
    class Env(odd_envs.Plain):
        observation_space = Box(0, high, shape, np.uint8)

    with registered("Shape-v0", Env):
        env_spec = resolve("Shape-v0")
    assert env_spec.family == ("image" if is_image else "planes")
    assert env_spec.frame[-2:] == ((84, 84) if is_image else shape[:2])


@pytest.mark.parametrize(
    ("dtype", "bound", "is_bounded"),
    [
        (np.float32, np.finfo(np.float32).max, False),
        (np.float64, np.finfo(np.float64).max, False),
        (np.float64, float(np.finfo(np.float32).max), False),
        (np.float16, np.finfo(np.float16).max, False),
        (np.int32, np.iinfo(np.int32).max, False),
        (np.int64, np.iinfo(np.int64).max, False),
        (np.float32, np.inf, False),
        (np.uint8, 255, True),
        (np.float32, 1e6, True),
    ],
)
def test_largest_number_of_a_type_is_no_bound(dtype, bound, is_bounded):
    low = 0 if dtype == np.uint8 else -bound

    class Env(odd_envs.Plain):
        observation_space = Box(low, bound, (2,), dtype)

    with registered("Bounds-v0", Env):
        env_spec = resolve("Bounds-v0")
    assert (env_spec.bounds is not None) == is_bounded


class Named(odd_envs.Plain):
    """Four actions with names."""

    action_space = Discrete(4)
    names: object = ("NOOP", "UP", "DOWN", "GO")

    def get_action_meanings(self):
        """Return the names."""
        return self.names


class OnlyTwo(gymnasium.ActionWrapper):
    """Offers the actions NOOP and GO."""

    def __init__(self, env):
        super().__init__(env)
        self.action_space = Discrete(2)

    def action(self, action):
        """Return the action of the wrapped environment."""
        return (0, 3)[int(action)]


class Reversed(gymnasium.ActionWrapper):
    """Offers the same number of actions in another order, so the names would be wrong."""

    def action(self, action):
        """Return the action of the wrapped environment."""
        return 3 - int(action)


def _named(names):
    """Return an environment with these names of four actions."""
    env = Named()
    env.names = names
    return env


@pytest.mark.parametrize(
    ("make", "actions"),
    [
        (Named, ("NOOP", "UP", "DOWN", "GO")),
        (lambda: OnlyTwo(Named()), ("0", "1")),
        (lambda: Reversed(Named()), ("0", "1", "2", "3")),
        (lambda: _named(["LEFT", "RIGHT"]), ("0", "1", "2", "3")),
        (lambda: _named(["A", "A", "B", "C"]), ("0", "1", "2", "3")),
        (lambda: _named([1, 2, 3, 4]), ("1", "2", "3", "4")),
        (lambda: _named(None), ("0", "1", "2", "3")),
    ],
)
def test_names_of_actions_are_used_only_if_they_fit(make, actions):
    with registered("Named-v0", make):
        assert resolve("Named-v0").actions == actions


# --- Randomness -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize("name", odd_envs.GLOBAL_RANDOM)
def test_seed_governs_environments_that_draw_from_global_generators(name, vectorization):
    env_spec = resolve(f"odd_envs:{name}-v0")
    assert env_spec.global_random
    assert env_spec.reproducible
    assert "draws from the global random generators" in str(env_spec)
    rows = collect(make_stream(env_spec, 2, vectorization=vectorization), 20)
    random.random()  # what else the process draws must not matter
    assert_equal_rows(rows, collect(make_stream(env_spec, 2, vectorization="sync"), 20))
    other_seed = collect(make_stream(env_spec, 2, vectorization=vectorization), 20, seed=2)
    assert not np.array_equal(rows[0].obs, other_seed[0].obs)
    assert not np.array_equal(rows[0].obs[0], rows[0].obs[1])


@pytest.mark.parametrize("name", odd_envs.GLOBAL_RANDOM)
def test_environment_with_global_generators_is_restored_exactly(name):
    env_spec = resolve(f"odd_envs:{name}-v0")
    stream = make_stream(env_spec, 2)
    expected = collect(make_stream(env_spec, 2), 30)
    stream.reset(1)
    for t in range(17):
        stream.send((t + np.arange(2)) % 2)
        stream.recv()
    saved = {key: value.copy() for key, value in stream.state().items()}
    stream.close()

    restored = make_stream(env_spec, 2)
    try:
        row = restored.restore(1, saved)
        np.testing.assert_array_equal(row.obs, expected[17].obs)
        for t in range(17, 30):
            restored.send((t + np.arange(2)) % 2)
            np.testing.assert_array_equal(restored.recv().obs, expected[t + 1].obs)
    finally:
        restored.close()


def test_two_streams_of_one_process_do_not_disturb_each_other():
    """An evaluation must not change what the training environments draw."""
    env_spec = resolve("odd_envs:NumpyRandom-v0")
    expected = collect(make_stream(env_spec, 2), 10)
    stream = make_stream(env_spec, 2)
    rows = [stream.reset(1)]
    for t in range(10):
        collect(make_stream(env_spec, 1), 3, seed=99)
        stream.send((t + np.arange(2)) % 2)
        rows.append(stream.recv())
    stream.close()
    assert_equal_rows(rows, expected)


def test_constructor_that_draws_is_governed_by_the_seed_of_the_stream():
    env_spec = resolve("odd_envs:RandomLayout-v0")
    assert env_spec.reproducible
    first = collect(make_stream(env_spec, 2, seed=5), 2)
    again = collect(make_stream(env_spec, 2, seed=5), 2)
    other = collect(make_stream(env_spec, 2, seed=6), 2)
    np.testing.assert_array_equal(first[0].obs, again[0].obs)
    assert not np.array_equal(first[0].obs, other[0].obs)


@pytest.mark.parametrize("name", odd_envs.NOT_REPRODUCIBLE)
def test_environment_that_no_seed_reaches_has_a_warning(name):
    env_spec = resolve(f"odd_envs:{name}-v0")
    assert not env_spec.reproducible
    assert f"{name}-v0 differs after the same seed" in env_spec.warnings()[0]
    assert resolve("odd_envs:Plain-v0").warnings() == []
    assert resolve("CartPole-v1").warnings() == []


def test_global_generators_of_the_caller_are_given_back_after_a_trial():
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002  # the global generator is meant
    expected = (random.Random(3).random(), np.random.RandomState(3).random())
    resolve("odd_envs:NumpyRandom-v0")
    assert (random.random(), np.random.random()) == expected  # noqa: NPY002


# --- Processes --------------------------------------------------------------------------------------------------------


def test_workers_leave_the_signal_handler_of_the_main_process_alone():
    mine = signal.getsignal(signal.SIGINT)
    env_spec = resolve("odd_envs:Plain-v0")
    make_vector_env(env_spec, 2, "async").close()
    assert signal.getsignal(signal.SIGINT) is mine


def test_script_without_a_main_guard_is_not_run_again_by_workers(tmp_path):
    """The environment is defined in the script, both as a class and as a name of the main module."""
    script = tmp_path / "script.py"
    script.write_text(
        """
import gymnasium
import numpy as np
from odd_envs import Plain
from envs.make import make_stream, resolve

print("script runs")


class Mine(Plain):
    def reward(self, action):
        return 7.0


gymnasium.register("Mine-v0", Mine)
gymnasium.register("Named-v0", "__main__:Mine")
for name in ("Mine-v0", "Named-v0"):
    stream = make_stream(resolve(name), 2, vectorization="async")
    stream.reset(1)
    stream.send(np.zeros(2, np.int64))
    print(name, stream.recv().reward.tolist())
    stream.close()
"""
    )
    environment = os.environ | {"PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"}
    result = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert result.stderr == ""
    assert result.stdout.splitlines() == ["script runs", "Mine-v0 [7.0, 7.0]", "Named-v0 [7.0, 7.0]"]


def test_environment_that_cannot_be_pickled_is_refused_in_one_line():
    lock = __import__("threading").Lock()

    class Env(odd_envs.Plain):
        def __init__(self):
            super().__init__()
            assert lock

    with registered("Lock-v0", Env):
        env_spec = resolve("Lock-v0")
        with pytest.raises(EnvError, match="Lock-v0 cannot run in processes of its own: .*; use vectorization sync"):
            make_stream(env_spec, 2, vectorization="async")
