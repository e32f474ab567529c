"""A wrapper around an environment of a user: errors become one line, results are checked, global generators are seeded.

Gymnasium does not check what an environment returns after its first step. A wrong shape may be broadcast, a number out
of range may wrap around, and a missing `info` fails far away. `GuardedEnv` finds such results where they arise.
"""

from __future__ import annotations

import inspect
import os
import sysconfig
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from envs.errors import EnvFault
from envs.global_random import GlobalState, seed_global_generators
from envs.observation_layout import PartPath, name_of, used_arrays

RESULTS_OF_STEP = ("an observation", "a reward", "terminated", "truncated", "an info")
MAX_MESSAGE = 300  # characters of an exception's message that are shown

# Frames of a traceback in these folders are not the user's code.
_LIBRARY_FOLDERS = tuple(
    str(Path(folder).resolve()) + os.sep
    for folder in (
        Path(__file__).parent,
        Path(__file__).parents[1] / "rl_lab",
        Path(gymnasium.__file__).parent,
        Path(np.__file__).parent,
        sysconfig.get_path("stdlib"),
    )
)


class GuardedEnv(gymnasium.Wrapper):
    """Raises `EnvFault` with one line if the environment raises, exits or returns something invalid.

    A seeded reset also seeds the global generators of Python and NumPy. With `own_generators`, the environment has
    global generators of its own: their states are exchanged before and after each call. So what the environment draws
    depends only on its own seeds and actions, and not on the other environments of the process.
    """

    def __init__(self, env: gymnasium.Env, name: str, *, obs_key: str = "", own_generators: bool = False) -> None:
        """Wrap an environment.

        Args:
            env: The environment, without other wrappers of this project.
            name: Its name, for messages.
            obs_key: The parts of its observations that are used (`EnvOptions.obs_key`). The others are not checked.
            own_generators: Give the environment global generators of its own. This takes about 0.1 ms a step, and is
                needed only if the environment draws from them.
        """
        super().__init__(env)
        self._name = name
        self._arrays = used_arrays(env.observation_space, obs_key)
        self._generators = GlobalState.read() if own_generators else None
        self._outer_generators: GlobalState | None = None  # those of the process, during a call of the environment

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the environment, and check what it returns. Raises EnvFault."""
        if self._generators is not None:
            self._enter_generators()
        try:
            if seed is not None:
                seed_global_generators(seed)
            # A reset of some environments of a vector environment has the options {}, a reset of all of them None.
            result = self.env.reset(seed=seed, options=options or None)
        except (Exception, SystemExit) as error:
            raise env_fault(f"{self._name} fails in reset", error, self.env) from None
        finally:
            if self._generators is not None:
                self._leave_generators()
        if not isinstance(result, tuple) or len(result) != 2:
            raise self._invalid("reset", f"returned {_value_text(result)}; it must return an observation and an info")
        obs, info = result
        self._check_observation("reset", obs)
        self._check_info("reset", info)
        return obs, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step the environment, and check what it returns. Raises EnvFault."""
        if self._generators is not None:
            self._enter_generators()
        try:
            result = self.env.step(action)
        except (Exception, SystemExit) as error:
            raise env_fault(f"{self._name} fails in step", error, self.env) from None
        finally:
            if self._generators is not None:
                self._leave_generators()
        if not isinstance(result, tuple) or len(result) != len(RESULTS_OF_STEP):
            raise self._invalid("step", f"returned {_value_text(result)}; it must return {', '.join(RESULTS_OF_STEP)}")
        obs, reward, terminated, truncated, info = result
        self._check_observation("step", obs)
        if not isinstance(reward, float):
            reward = self._number(reward)
        self._check_flag("terminated", terminated)
        self._check_flag("truncated", truncated)
        self._check_info("step", info)
        return obs, reward, terminated, truncated, info

    def close(self) -> None:
        """Close the environment. What its code raises is ignored: nothing depends on the environment any more."""
        with suppress(Exception, SystemExit):
            self.env.close()

    def _enter_generators(self) -> None:
        """Exchange the global generators of the process for those of the environment."""
        assert self._generators is not None
        self._outer_generators = GlobalState.read()
        self._generators.write()

    def _leave_generators(self) -> None:
        """Give the process its global generators back."""
        assert self._outer_generators is not None
        self._generators = GlobalState.read()
        self._outer_generators.write()

    def _check_observation(self, call: str, obs: Any) -> None:
        """Raise EnvFault if an observation does not fit into the observation space of the environment."""
        for path, space in self._arrays.items():
            array = obs
            for key in path:
                try:
                    array = array[key]
                except (KeyError, IndexError, TypeError):
                    raise self._invalid(
                        call, f"returned the observation {_value_text(obs)}, which has no part {name_of(path)!r}"
                    ) from None
            if isinstance(space, Box):
                self._check_box(call, path, array, space)
            elif isinstance(space, Discrete | MultiDiscrete | MultiBinary):
                self._check_states(call, path, array, space)

    def _check_box(self, call: str, path: PartPath, obs: Any, space: Box) -> None:
        """Raise EnvFault if an array of an observation has another shape or type than its space."""
        if not isinstance(obs, np.ndarray):
            obs = self._array(call, path, obs)
        if obs.shape != space.shape:
            raise self._invalid(
                call, f"returned an observation{_of(path)} of shape {obs.shape}; its space has the shape {space.shape}"
            )
        if obs.dtype != space.dtype:
            self._check_conversion(call, path, obs, np.dtype(space.dtype))

    def _check_states(self, call: str, path: PartPath, obs: Any, space: Discrete | MultiDiscrete | MultiBinary) -> None:
        """Raise EnvFault if discrete states are not in their space."""
        states = obs
        if not isinstance(space, Discrete):
            states = self._array(call, path, obs)
        is_whole = isinstance(space, Discrete) or states.dtype.kind in "bui"
        if not is_whole or not space.contains(states):
            raise self._invalid(
                call,
                f"returned the observation{_of(path)} {_value_text(obs)}, which is not in"
                f" {' '.join(str(space).split())}",
            )

    def _array(self, call: str, path: PartPath, obs: Any) -> np.ndarray:
        """Return an observation as an array. Raises EnvFault if it is none."""
        try:
            return np.asarray(obs)
        except ValueError as error:  # lists of different lengths
            raise self._invalid(
                call, f"returned the observation{_of(path)} {_value_text(obs)}; it must be an array"
            ) from error

    def _check_conversion(self, call: str, path: PartPath, obs: np.ndarray, dtype: np.dtype) -> None:
        """Raise EnvFault if a conversion to the type of the observation space would change the observation.

        The rounding of floating-point numbers is allowed: many environments compute in float64 and declare float32.
        """
        if obs.dtype.kind not in "buif":
            raise self._invalid(
                call, f"returned an observation{_of(path)} of type {obs.dtype}; its space has the type {dtype}"
            )
        if dtype.kind == "f":
            return
        with np.errstate(invalid="ignore"):
            converted = obs.astype(dtype)
        if not np.array_equal(converted, obs):
            raise self._invalid(
                call,
                f"returned an observation{_of(path)} of type {obs.dtype} with values that {dtype}, its space's type,"
                " cannot hold",
            )

    def _number(self, reward: Any) -> float:
        """Return a reward as a float. Raises EnvFault if it is not one number."""
        if isinstance(reward, (int, float, np.number, np.bool_, np.ndarray)) and np.ndim(reward) == 0:
            try:
                return float(reward)
            except (TypeError, ValueError, OverflowError):
                pass
        raise self._invalid("step", f"returned the reward {_value_text(reward)}; it must be a number")

    def _check_flag(self, flag: str, value: Any) -> None:
        """Raise EnvFault if `terminated` or `truncated` is neither True nor False (or 1 or 0)."""
        if type(value) is bool or isinstance(value, (np.bool_, int, np.integer)):
            return
        raise self._invalid("step", f"returned {flag} = {_value_text(value)}; it must be True or False")

    def _check_info(self, call: str, info: Any) -> None:
        """Raise EnvFault if an info is not a dict."""
        if not isinstance(info, dict):
            raise self._invalid(call, f"returned the info {_value_text(info)}; it must be a dict")

    def _invalid(self, call: str, problem: str) -> EnvFault:
        """Return the EnvFault of an invalid result of `reset` or `step`."""
        return EnvFault(f"{self._name}: {call} {problem} ({_place_of_class(self.env)})")


def env_fault(what: str, error: BaseException, env: gymnasium.Env | None = None) -> EnvFault:
    """Return an `EnvFault` for an exception that came out of an environment's code.

    The traceback is added as a note, because exceptions lose their tracebacks on the way from a worker process.

    Args:
        what: What failed: "X fails in step".
        error: The exception.
        env: The environment, whose file is named if the traceback does not reach the user's code.
    """
    if isinstance(error, EnvFault):
        return error
    fault = EnvFault(f"{what}: {describe(error, env)}")
    fault.add_note("".join(traceback.format_exception(error)))
    return fault


def describe(error: BaseException, env: gymnasium.Env | None = None) -> str:
    """Return one line: type and message of an exception, and the file and line in the user's code."""
    if isinstance(error, SystemExit):
        summary = f"it called sys.exit({error.code!r})"
    else:
        message = _message_of(error)
        if len(message) > MAX_MESSAGE:
            message = f"{message[:MAX_MESSAGE]} ..."
        summary = f"{type(error).__name__}: {message}" if message else type(error).__name__
    place = _place_in_user_code(error)
    if place is None and env is not None:
        place = _place_of_class(env)
    return f"{summary} ({place})" if place else summary


def _message_of(error: BaseException) -> str:
    """Return the message of an exception without line breaks, or an empty text if it has none."""
    try:
        return " ".join(str(error).split())
    except Exception:  # the class of the exception is the user's
        return ""


def _place_in_user_code(error: BaseException) -> str | None:
    """Return file:line of the innermost frame that is not in a library, or None."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_short_path(error.filename)}:{error.lineno}"
    place = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if not file.startswith("<") and not os.path.realpath(file).startswith(_LIBRARY_FOLDERS):
            place = f"line {line} of a notebook cell" if _is_notebook_cell(file) else f"{_short_path(file)}:{line}"
    return place


def _is_notebook_cell(file: str) -> bool:
    """Return True for the name that ipykernel gives to the code of a cell: a file that does not exist."""
    return f"{os.sep}ipykernel_" in file and not os.path.exists(file)


def _place_of_class(env: gymnasium.Env) -> str:
    """Return the file of an environment's class, or the name of its module."""
    cls = type(env.unwrapped)
    try:
        file = inspect.getsourcefile(cls)
    except (OSError, TypeError):  # defined in a notebook or in an interactive session
        file = None
    return _short_path(file) if file else cls.__module__


def _short_path(file: str) -> str:
    """Return a path relative to the current folder if it is inside, otherwise as it is."""
    try:
        return str(Path(file).resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return file


def _of(path: PartPath) -> str:
    """Return the name of a part of an observation with a space before it, or nothing for a whole observation."""
    return f" {name_of(path)!r}" if path else ""


def _value_text(value: Any) -> str:
    """Return a short description of a value."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}" if value.size > 3 else f"array({value.tolist()})"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)} values"
    try:
        text = " ".join(repr(value).split())
    except Exception:  # the class of the value is the user's
        return f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"a {type(value).__name__}"
