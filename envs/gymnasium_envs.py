"""Gymnasium environments with discrete actions, except those that ALE's vector environment runs (envs/atari.py).

Agents receive vectors unchanged, discrete states as one-hot vectors, and images as 84 x 84 grey levels.
"""

from __future__ import annotations

import importlib
import re
import signal
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec as GymnasiumSpec
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import FlattenObservation, GrayscaleObservation, ResizeObservation, TimeLimit

import envs.textbook  # noqa: F401  # registers its environments
from envs.atari import find_game
from envs.spec import EnvError, EnvSpec

Vectorization = Literal["auto", "sync", "async"]
"""Run all environments in this process ("sync"), or each in a process of its own ("async"), or choose between the two
by the kind of observations ("auto", see `make_vector_env`)."""

# Episodes of environments with discrete states are truncated after this number of steps, unless the id of the
# environment sets a limit of its own. In a grid world, a greedy policy may otherwise walk forever.
DISCRETE_STATE_MAX_STEPS = 1_000


def resolve(env_id: str) -> EnvSpec:
    """Return the spec of a registered id. It may be an Atari id that `envs.atari` does not run, such as Pong-v4.

    Raises:
        EnvError: The environment cannot be created, or has unsupported spaces.
    """
    env = make_env(env_id)
    try:
        return _spec(env_id, env)
    finally:
        env.close()


def make_env(env: str | GymnasiumSpec, render_mode: str | None = None) -> gymnasium.Env:
    """Return one environment with the wrappers for its kind of observations.

    Args:
        env: Gymnasium id of the environment, or Gymnasium's spec of this id.
        render_mode: Gymnasium's render mode, such as "rgb_array", or None for no rendering.

    Raises:
        EnvError: The environment cannot be created, does not have the render mode, or has unsupported spaces.
    """
    name = env if isinstance(env, str) else env.id
    return _wrap(name, _make_unwrapped(name, env, render_mode))


def make_vector_env(env_spec: EnvSpec, num_envs: int, vectorization: Vectorization = "auto") -> VectorEnv:
    """Return `num_envs` environments of `env_spec` as one of Gymnasium's vector environments.

    With the vectorization "auto", environments with vector observations run in this process, because their steps are
    fast. Each other environment runs in a process of its own.
    """
    if vectorization == "auto":
        vectorization = "sync" if env_spec.family == "vector" else "async"
    # Worker processes receive Gymnasium's spec, because an id that was registered in this process is unknown to them.
    spec = find_gymnasium_spec(env_spec.id)
    if vectorization == "sync":
        return SyncVectorEnv([lambda: make_env(spec)] * num_envs, autoreset_mode=AutoresetMode.NEXT_STEP)

    def make_worker_env() -> gymnasium.Env:
        # Ctrl-C sends SIGINT to all processes. Workers ignore the signal, because the main process closes the workers.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return make_env(spec)

    return AsyncVectorEnv([make_worker_env] * num_envs, autoreset_mode=AutoresetMode.NEXT_STEP, context="forkserver")


def find_gymnasium_spec(env_id: str) -> GymnasiumSpec:
    """Return Gymnasium's spec of an id. For an id of the form `module:id`, import the module first.

    Raises:
        EnvError: The id is not registered, or the module cannot be imported.
    """
    module, _, name = env_id.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        return gymnasium.spec(name)
    except (gymnasium.error.Error, ImportError) as error:
        raise EnvError(f"the environment {env_id} is not registered: {_one_line(error)}") from error


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
        make_env(env_id).close()
    except Exception:  # the constructors of other packages may raise any exception
        return False
    return True


def find_game_of_id(env_id: str) -> str | None:
    """Return the name of the Atari game in an id such as Pong-v4 or ALE/Pong-v5, or None for other ids."""
    match = re.fullmatch(r"(?:ALE/)?(\w+?)-v\d", env_id)
    return find_game(match[1]) if match else None


def _make_unwrapped(name: str, env_or_spec: str | GymnasiumSpec, render_mode: str | None) -> gymnasium.Env:
    """Return the environment without the wrappers of this module."""
    try:
        env = gymnasium.make(env_or_spec)
        if render_mode is None:
            return env
        # The environment is created without a render mode first, to read the modes that it supports. The constructor of
        # an environment without rendering may not accept the argument `render_mode`.
        if render_mode not in env.metadata.get("render_modes", ()):
            raise EnvError(f"{name} cannot be watched: it has no render mode {render_mode!r}")
        env.close()
        return gymnasium.make(env_or_spec, render_mode=render_mode)
    except (gymnasium.error.Error, ImportError) as error:
        raise EnvError(f"{name} cannot be made: {_one_line(error)}") from error


def _wrap(name: str, env: gymnasium.Env) -> gymnasium.Env:
    """Return the environment with the wrappers for its kind of observations. Raises EnvError for unsupported spaces."""
    obs_space = env.observation_space
    if not isinstance(env.action_space, Discrete):
        raise EnvError(f"{name} has the action space {env.action_space}; agents need a Discrete one")
    if isinstance(obs_space, Discrete):
        assert env.spec is not None
        if not env.spec.max_episode_steps:
            env = TimeLimit(env, DISCRETE_STATE_MAX_STEPS)
        return FlattenObservation(env)
    if not isinstance(obs_space, Box):
        raise EnvError(
            f"{name} has the observation space {obs_space}; agents need a Box (a vector or an image) or a Discrete one"
        )
    if _is_image(obs_space):
        return _wrap_image(name, env, obs_space.shape)
    return env


def _wrap_image(name: str, env: gymnasium.Env, shape: tuple[int, ...]) -> gymnasium.Env:
    """Return the environment with observations of 84 x 84 grey levels. Raises EnvError for an unsupported shape.

    Args:
        name: Name of the environment, for the error message.
        env: Environment with images of type uint8.
        shape: Shape of an image.
    """
    if len(shape) == 3:
        if shape[2] != 3:
            raise EnvError(f"{name} has images of shape {shape}; agents need [H, W] or [H, W, 3]")
        env = GrayscaleObservation(env)
    return ResizeObservation(env, (84, 84))


def _is_image(space: gymnasium.Space[Any]) -> bool:
    """Return True if observations are images: uint8 with two or three dimensions."""
    return isinstance(space, Box) and space.dtype == "uint8" and len(space.shape) in (2, 3)


def _spec(env_id: str, env: gymnasium.Env) -> EnvSpec:
    """Return the spec of an environment that `make_env` returned."""
    obs_space = env.observation_space
    action_space = env.action_space
    assert isinstance(obs_space, Box)
    assert isinstance(action_space, Discrete)
    assert env.spec is not None
    is_image = _is_image(obs_space)
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
        actions=_action_names(env.unwrapped, int(action_space.n)),
        frame_skip=frame_skip if isinstance(frame_skip, int) else None,
        sticky=env.spec.kwargs.get("repeat_action_probability", 0.0),
        max_frames=options.get("max_num_frames_per_episode"),
        one_hot=isinstance(env.unwrapped.observation_space, Discrete),
        bounds=None if is_image else _bounds(obs_space),
    )


def _family(game: str | None, is_image: bool) -> Literal["atari", "image", "vector"]:
    """Return the family of an environment, which is the name of a section in the agents' configuration files."""
    if game:
        return "atari"
    return "image" if is_image else "vector"


def _action_names(env: gymnasium.Env, num_actions: int) -> tuple[str, ...]:
    """Return the names of the actions, or their numbers as text if the environment has no names for them."""
    get_meanings = getattr(env, "get_action_meanings", None)
    if get_meanings is not None:
        return tuple(get_meanings())
    return tuple(str(i) for i in range(num_actions))


def _bounds(space: Box) -> tuple[tuple[float, float], ...] | None:
    """Return (low, high) of each entry of a vector, or None if at least one entry is not bounded."""
    if not np.isfinite([space.low, space.high]).all():
        return None
    return tuple(zip(space.low.flatten().tolist(), space.high.flatten().tolist(), strict=True))


def _one_line(error: Exception) -> str:
    """Return the message of an error without line breaks."""
    return " ".join(str(error).split())
