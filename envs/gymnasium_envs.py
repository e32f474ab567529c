"""Gymnasium environments with discrete actions, except those that ALE's vector environment runs (envs/atari.py).

Agents receive arrays of numbers as float32, discrete states as one-hot vectors, and images as 84 x 84 grey levels. An
image has the type uint8, the bounds 0 and 255, and two sides of at least `MIN_IMAGE_SIDE` pixels. All other arrays of
uint8 are codes or counts, not colours, and are not transformed.
"""

from __future__ import annotations

import importlib
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec as GymnasiumSpec
from gymnasium.envs.registration import load_env_creator
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import (
    DtypeObservation,
    FlattenObservation,
    GrayscaleObservation,
    ReshapeObservation,
    ResizeObservation,
    TimeLimit,
)

import envs.textbook  # noqa: F401  # registers its environments
from envs.atari import find_game
from envs.global_random import global_generators_seeded
from envs.guard import GuardedEnv, describe
from envs.main_module import main_module_hidden
from envs.probe import probe
from envs.spec import EnvError, EnvFault, EnvSpec
from envs.stream import spread_seeds

Vectorization = Literal["auto", "sync", "async"]
"""Run all environments in this process ("sync"), or each in a process of its own ("async"), or choose between the two
by the kind of observations ("auto", see `make_vector_env`)."""

# Episodes of environments with discrete states are truncated after this number of steps, unless the id of the
# environment sets a limit of its own. In a grid world, a greedy policy may otherwise walk forever.
DISCRETE_STATE_MAX_STEPS = 1_000


UNBOUNDED = 1e18
"""A bound of this size or more counts as none."""
MIN_IMAGE_SIDE = 36
"""Smallest height and width of an image in pixels."""
IMAGE_SIDE = 84
"""Height and width of the images that agents receive."""
MAX_STATES = 1_000_000
"""Most states of a Discrete observation space: a state becomes a one-hot vector."""
MAX_ACTIONS = 100_000
"""Most actions of an environment: each has a name in the spec and an output of the network."""


def resolve(env_id: str) -> EnvSpec:
    """Return the spec of a registered id. It may be an Atari id that `envs.atari` does not run, such as Pong-v4.

    The environment is tried for a moment: see `envs.probe`.

    Raises:
        EnvError: The environment cannot be created, fails in its first steps, or has unsupported spaces.
    """
    gymnasium_spec = find_gymnasium_spec(env_id)
    with global_generators_seeded(0):
        env = make_env(gymnasium_spec)
        try:
            env_spec = _spec(env_id, env)
        finally:
            env.close()
    try:
        result = probe(partial(make_env, gymnasium_spec))
    except EnvFault as fault:
        raise EnvError(str(fault)) from fault
    return replace(env_spec, reproducible=result.reproducible, global_random=result.global_random)


def make_env(spec: GymnasiumSpec, render_mode: str | None = None, *, own_generators: bool = False) -> gymnasium.Env:
    """Return one environment with the wrappers for its kind of observations.

    Args:
        spec: Gymnasium's spec of the environment (`find_gymnasium_spec`).
        render_mode: Gymnasium's render mode, such as "rgb_array", or None for no rendering.
        own_generators: See `GuardedEnv`.

    Raises:
        EnvError: The environment cannot be created, does not have the render mode, or has unsupported spaces.
    """
    env = _make_unwrapped(spec, render_mode)
    return _wrap(spec.id, GuardedEnv(env, spec.id, own_generators=own_generators))


def make_vector_env(
    env_spec: EnvSpec, num_envs: int, vectorization: Vectorization = "auto", *, seed: int = 0
) -> VectorEnv:
    """Return `num_envs` environments of `env_spec` as one of Gymnasium's vector environments.

    With the vectorization "auto", environments with vector observations run in this process, because their steps are
    fast. Each other environment runs in a process of its own.

    Args:
        env_spec: Specification of the environments.
        num_envs: Number of environments.
        vectorization: How the environments run.
        seed: From this number the seeds of the global generators are derived from which constructors may draw.

    Raises:
        EnvError: The environments cannot be created.
    """
    if vectorization == "auto":
        vectorization = "sync" if env_spec.family == "vector" else "async"
    # Worker processes receive Gymnasium's spec, because an id that was registered in this process is unknown to them.
    spec = find_gymnasium_spec(env_spec.id)
    creator = os.getpid()

    def make_seeded(env_seed: int) -> gymnasium.Env:
        # AsyncVectorEnv calls the first function in this process too. Only workers may ignore SIGINT, which Ctrl-C
        # sends to all processes: this process closes the workers. In a session of their own, they also receive neither
        # SIGHUP of a lost terminal nor SIGTERM that is sent to the process group.
        if os.getpid() != creator:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            with suppress(OSError):
                os.setsid()
        with global_generators_seeded(env_seed):
            return make_env(spec, own_generators=env_spec.global_random)

    functions = [partial(make_seeded, env_seed) for env_seed in spread_seeds(seed, num_envs).tolist()]
    if vectorization == "sync":
        return SyncVectorEnv(functions, autoreset_mode=AutoresetMode.NEXT_STEP)
    return _start_workers(env_spec.name, functions)


def _start_workers(name: str, functions: list[Callable[[], gymnasium.Env]]) -> AsyncVectorEnv:
    """Return the environments that the functions make, each in a process of its own."""
    try:
        with main_module_hidden(), _hangup_blocked():
            return AsyncVectorEnv(functions, autoreset_mode=AutoresetMode.NEXT_STEP, context="forkserver")
    except (EnvError, EnvFault):
        raise
    except Exception as error:  # pickle raises many kinds of exceptions
        raise EnvError(
            f"{name} cannot run in processes of its own: {describe(error)}; use vectorization sync"
        ) from error


@contextmanager
def _hangup_blocked() -> Iterator[None]:
    """Block SIGHUP in the processes that are started inside a `with` block; they inherit this.

    Besides the workers these are the helpers of multiprocessing. A lost terminal would end them, and their messages
    would hide those of the main process.
    """
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def find_gymnasium_spec(env_id: str) -> GymnasiumSpec:
    """Return Gymnasium's spec of an id. For an id of the form `module:id`, import the module first.

    Raises:
        EnvError: The id is malformed or not registered, or the module cannot be imported.
    """
    module, colon, name = env_id.rpartition(":")
    if colon:
        if not name or not all(part.isidentifier() for part in module.split(".")):
            raise EnvError(f"{env_id!r} is not the id of an environment; write Name-v0 or module:Name-v0")
        _import_module(env_id, module)
    try:
        spec = gymnasium.spec(name)
    except (gymnasium.error.Error, ImportError) as error:
        registered = _ids_of_module(module) if module else []
        advice = f"; {module} registers {_some(registered)}" if registered else ""
        raise EnvError(f"the environment {env_id} is not registered: {_one_line(error)}{advice}") from error
    return _with_main_entry_point(spec)


def _import_module(env_id: str, module: str) -> None:
    """Import a module that registers environments. Raises EnvError whatever the module raises."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise EnvError(f"{env_id}: the module {module} cannot be imported: {describe(error)}") from error
        raise EnvError(
            f"{env_id}: there is no module {module} in the current folder or among the installed packages"
        ) from error
    except (Exception, SystemExit) as error:
        raise EnvError(f"{env_id}: the module {module} cannot be imported: {describe(error)}") from error


def _ids_of_module(module: str) -> list[str]:
    """Return the ids whose environments are defined in a module or below it."""
    ids = []
    for env_id, spec in gymnasium.registry.items():
        entry_point = spec.entry_point
        place = (
            entry_point.partition(":")[0] if isinstance(entry_point, str) else getattr(entry_point, "__module__", "")
        )
        if f"{place}.".startswith(f"{module}."):
            ids.append(env_id)
    return sorted(ids)


def _some(names: list[str], most: int = 10) -> str:
    """Return the first names, and how many more there are."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"


def _with_main_entry_point(spec: GymnasiumSpec) -> GymnasiumSpec:
    """Return the spec with the object itself if the entry point is the name of an object in the main script.

    A worker process has another main module, so it could not find the name.
    """
    entry_point = spec.entry_point
    if isinstance(entry_point, str) and entry_point.startswith("__main__:"):
        return replace(spec, entry_point=load_env_creator(entry_point))
    return spec


def trainable_ids() -> list[str]:
    """Return the Gymnasium ids that agents can be trained on: newest versions only, without Atari games."""
    newest: dict[str, str] = {}  # id of the newest version, by name; the registry lists older versions first
    for env_id, spec in gymnasium.registry.items():
        if spec.namespace is None and find_game(re.sub(r"(NoFrameskip)?-v\d+$", "", env_id)) is None:
            newest[spec.name] = env_id
    return sorted(env_id for env_id in newest.values() if _is_trainable(env_id))


def _is_trainable(env_id: str) -> bool:
    """Return True if the environment can be created and agents support its spaces."""
    try:
        make_env(find_gymnasium_spec(env_id)).close()
    except Exception:  # the spaces of other packages may raise any exception
        return False
    return True


def find_game_of_id(env_id: str) -> str | None:
    """Return the name of the Atari game in an id such as Pong-v4 or ALE/Pong-v5, or None for other ids."""
    match = re.fullmatch(r"(?:ALE/)?(\w+?)-v\d", env_id)
    return find_game(match[1]) if match else None


def _make_unwrapped(spec: GymnasiumSpec, render_mode: str | None) -> gymnasium.Env:
    """Return the environment without the wrappers of this module. Raises EnvError whatever its constructor raises."""
    try:
        env = gymnasium.make(spec, disable_env_checker=True)  # `GuardedEnv` checks more
        if render_mode is None:
            return env
        # The environment is created without a render mode first, to read the modes that it supports. The constructor of
        # an environment without rendering may not accept the argument `render_mode`.
        if render_mode not in env.metadata.get("render_modes", ()):
            raise EnvError(f"{spec.id} cannot be watched: it has no render mode {render_mode!r}")
        env.close()
        return gymnasium.make(spec, render_mode=render_mode, disable_env_checker=True)
    except EnvError:
        raise
    except (gymnasium.error.Error, ImportError) as error:
        raise EnvError(f"{spec.id} cannot be made: {_one_line(error)}") from error
    except (Exception, SystemExit) as error:
        raise EnvError(f"{spec.id} cannot be made: {describe(error)}{_advice(error)}") from error


def _advice(error: BaseException) -> str:
    """Return how to give a constructor the arguments that it lacks, or an empty text for other errors."""
    if not isinstance(error, TypeError) or not re.search(r"missing \d+ required", str(error)):
        return ""
    names = re.findall(r"'(\w+)'", str(error))
    arguments = ", ".join(f"{name!r}: ..." for name in names)
    return f"; give them where the environment is registered: gymnasium.register(..., kwargs={{{arguments}}})"


def _wrap(name: str, env: gymnasium.Env) -> gymnasium.Env:
    """Return the environment with the wrappers for its kind of observations. Raises EnvError for unsupported spaces."""
    obs_space = env.observation_space
    _check_actions(name, env.action_space)
    if isinstance(obs_space, Discrete):
        if obs_space.n > MAX_STATES:
            raise EnvError(
                f"{name} has {obs_space.n:,} states; agents receive them as one-hot vectors, of at most {MAX_STATES:,}"
            )
        assert env.spec is not None
        if not env.spec.max_episode_steps:
            env = TimeLimit(env, DISCRETE_STATE_MAX_STEPS)
        return FlattenObservation(env)
    if not isinstance(obs_space, Box):
        raise EnvError(
            f"{name} has the observation space {obs_space}; agents need a Box (a vector or an image) or a Discrete one"
        )
    if 0 in obs_space.shape:
        raise EnvError(f"{name} has observations of shape {obs_space.shape}, without entries")
    if _is_image(obs_space):
        return _wrap_image(name, env, obs_space.shape)
    if obs_space.dtype == np.uint8:  # codes or counts: only images keep the type uint8
        return DtypeObservation(env, np.float32)
    return env


def _check_actions(name: str, space: gymnasium.Space[Any]) -> None:
    """Raise EnvError if agents do not support an action space."""
    if not isinstance(space, Discrete):
        raise EnvError(f"{name} has the action space {space}; agents need a Discrete one")
    if space.n > MAX_ACTIONS:
        raise EnvError(f"{name} has {space.n:,} actions; agents take at most {MAX_ACTIONS:,}")


def _wrap_image(name: str, env: gymnasium.Env, shape: tuple[int, ...]) -> gymnasium.Env:
    """Return the environment with observations of 84 x 84 grey levels. Raises EnvError for an unsupported shape.

    Args:
        name: Name of the environment, for the error message.
        env: Environment with images of type uint8.
        shape: Shape of an image.
    """
    if len(shape) == 3:
        if shape[2] == 3:
            env = GrayscaleObservation(env)
        elif shape[2] == 1:
            env = ReshapeObservation(env, shape[:2])
        else:
            raise EnvError(f"{name} has images of shape {shape}; agents need [H, W], [H, W, 1] or [H, W, 3]")
    if shape[:2] == (IMAGE_SIDE, IMAGE_SIDE):
        return env
    return ResizeObservation(env, (IMAGE_SIDE, IMAGE_SIDE))


def _is_image(space: gymnasium.Space[Any]) -> bool:
    """Return True if observations are images, see the docstring of this module."""
    if not isinstance(space, Box) or space.dtype != np.uint8 or len(space.shape) not in (2, 3):
        return False
    has_full_range = bool((space.low == 0).all() and (space.high == 255).all())
    return has_full_range and sorted(space.shape)[-2] >= MIN_IMAGE_SIDE


def _spec(env_id: str, env: gymnasium.Env) -> EnvSpec:
    """Return the spec of an environment that `make_env` returned."""
    obs_space = env.observation_space
    action_space = env.action_space
    assert isinstance(obs_space, Box)
    assert isinstance(action_space, Discrete)
    assert env.spec is not None
    original_space = _guarded(env).observation_space
    is_image = _is_image(original_space)
    game = find_game_of_id(env_id) if hasattr(env.unwrapped, "ale") else None
    options = env.spec.kwargs if game else {}
    frame_skip = options.get("frameskip", 1)
    return EnvSpec(
        name=game or env_id,
        id=env_id,
        family=_family(game, is_image),
        backend="gymnasium",
        protocol="id",
        frame=obs_space.shape,
        dtype="uint8" if is_image else "float32",
        actions=_action_names(_guarded(env), int(action_space.n)),
        frame_skip=frame_skip if isinstance(frame_skip, int) else None,
        sticky=env.spec.kwargs.get("repeat_action_probability", 0.0) if game else 0.0,
        max_frames=options.get("max_num_frames_per_episode"),
        one_hot=isinstance(original_space, Discrete),
        bounds=None if is_image else _bounds(obs_space),
        transformations=_transformations(original_space, is_image=is_image),
    )


def _guarded(env: gymnasium.Env) -> GuardedEnv:
    """Return the wrapper around the environment as Gymnasium makes it, without the transformations of this module."""
    while not isinstance(env, GuardedEnv):
        assert isinstance(env, gymnasium.Wrapper)
        env = env.env
    return env


def _transformations(space: gymnasium.Space[Any], *, is_image: bool) -> tuple[str, ...]:
    """Return in words how the observations of a space are changed before agents receive them."""
    if isinstance(space, Discrete):
        return (f"one-hot of {space.n} states",)
    assert isinstance(space, Box)
    if not is_image:
        return () if space.dtype == np.float32 else (f"{space.dtype} as float32",)
    changes = []
    if len(space.shape) == 3 and space.shape[2] == 3:
        changes.append("grey from RGB")
    height, width = space.shape[:2]
    if (height, width) != (IMAGE_SIDE, IMAGE_SIDE):
        changes.append(f"resized from {height} x {width}")
    return tuple(changes)


def _family(game: str | None, is_image: bool) -> Literal["atari", "image", "vector"]:
    """Return the family of an environment, which is the name of a section in the agents' configuration files."""
    if game:
        return "atari"
    return "image" if is_image else "vector"


def _action_names(env: gymnasium.Env, num_actions: int) -> tuple[str, ...]:
    """Return the names of the actions, or their numbers as text if the environment has no fitting names for them.

    Names are labels. They fit if there is one name for each action, and no wrapper changes the actions.
    """
    numbers = tuple(str(i) for i in range(num_actions))
    get_meanings = getattr(env.unwrapped, "get_action_meanings", None)
    if get_meanings is None or _changes_actions(env):
        return numbers
    try:
        names = tuple(str(name) for name in get_meanings())
    except Exception:  # the method is the user's, and names are only labels
        return numbers
    if len(names) != num_actions or len(set(names)) != num_actions:
        return numbers
    return names


def _changes_actions(env: gymnasium.Env) -> bool:
    """Return True if a wrapper may give the actions another meaning."""
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, gymnasium.ActionWrapper) or env.action_space != env.env.action_space:
            return True
        env = env.env
    return False


def _bounds(space: Box) -> tuple[tuple[float, float], ...] | None:
    """Return (low, high) of each entry of a vector, or None if at least one entry is not bounded.

    Many environments declare the largest number of a type instead of infinity. This is no bound either.
    """
    bounds = np.array([space.low, space.high], np.float64)
    dtype = np.dtype(space.dtype)
    largest = np.inf
    if dtype.kind == "f":
        largest = float(np.finfo(dtype.name).max)
    elif dtype.itemsize >= 4:
        largest = float(np.iinfo(dtype.name).max)
    if not np.isfinite(bounds).all() or np.abs(bounds).max(initial=0) >= min(largest / 2, UNBOUNDED):
        return None
    return tuple(zip(space.low.flatten().tolist(), space.high.flatten().tolist(), strict=True))


def _one_line(error: Exception) -> str:
    """Return the message of an error without line breaks."""
    return " ".join(str(error).split())
