"""Every other Gymnasium environment with discrete actions: vectors as they are, states that are numbers as one-hot vectors,
images 84 x 84 grey."""

from __future__ import annotations

import importlib
import re
import signal
from typing import Literal

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec as GymSpec
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import FlattenObservation, GrayscaleObservation, ResizeObservation, TimeLimit

import envs.textbook  # noqa: F401  # registers its environments
from envs.atari import find_game
from envs.spec import EnvError, EnvSpec

Vectorization = Literal["auto", "sync", "async"]
GRID_STEPS = (
    1_000  # a grid world without a limit of its own is truncated then: a greedy policy may walk in circles for ever
)


def is_image(space: gymnasium.Space) -> bool:
    """Whether observations are pictures: uint8 with two or three dimensions."""
    return isinstance(space, Box) and space.dtype == "uint8" and len(space.shape) in (2, 3)


def make_env(id: str | GymSpec, render_mode: str | None = None) -> gymnasium.Env:
    """One environment, its pictures turned into 84 x 84 grey levels. Raises EnvError where the lab cannot use it."""
    name = id if isinstance(id, str) else id.id
    try:
        env = gymnasium.make(id)
        if render_mode:  # not every environment knows the word
            if render_mode not in env.metadata.get("render_modes", ()):
                raise EnvError(f"{name} cannot be watched: it draws no picture")
            env.close()
            env = gymnasium.make(id, render_mode=render_mode)
    except (gymnasium.error.Error, ImportError) as error:
        raise EnvError(f"{name} cannot be made: {' '.join(str(error).split())}") from error
    obs, action = env.observation_space, env.action_space
    if not isinstance(action, Discrete):
        raise EnvError(f"{name} has the action space {action}; the lab's agents need a Discrete one")
    if isinstance(obs, Discrete):
        assert env.spec is not None
        return FlattenObservation(env if env.spec.max_episode_steps else TimeLimit(env, GRID_STEPS))
    if not isinstance(obs, Box):
        raise EnvError(
            f"{name} has the observation space {obs}; the lab's agents need a Box (a vector or an image) or a Discrete one"
        )
    if is_image(obs):
        if len(obs.shape) == 3 and obs.shape[2] != 3:
            raise EnvError(f"{name} has images of shape {obs.shape}; the lab's agents need [H, W] or [H, W, 3]")
        if len(obs.shape) == 3:
            env = GrayscaleObservation(env)
        env = ResizeObservation(env, (84, 84))
    return env


def game_of(id: str) -> str | None:
    """The Atari game that an id like Pong-v4 names."""
    match = re.fullmatch(r"(?:ALE/)?(\w+?)-v\d", id)
    return find_game(match[1]) if match else None


def resolve(id: str) -> EnvSpec:
    """The card of a registered id; Atari ids that draw their frame skip (Pong-v4) come here too, and are played as they say."""
    env = make_env(id)
    try:
        obs, action = env.observation_space, env.action_space
        assert isinstance(obs, Box)
        assert isinstance(action, Discrete)
        assert env.spec is not None
        image = is_image(obs)
        game = game_of(id) if hasattr(env.unwrapped, "ale") else None
        meanings = getattr(env.unwrapped, "get_action_meanings", None)
        skip = env.spec.kwargs.get("frameskip", 1) if game else 1
        finite = not image and bool(np.isfinite([obs.low, obs.high]).all())
        return EnvSpec(
            name=game or id,
            id=id,
            family="atari" if game else "image" if image else "vector",
            backend="gymnasium",
            protocol="id",
            frame=obs.shape,
            dtype="uint8" if image else "float32",
            actions=tuple(meanings()) if meanings else tuple(str(i) for i in range(int(action.n))),
            frame_skip=skip if isinstance(skip, int) else None,
            sticky=env.spec.kwargs.get("repeat_action_probability", 0.0),
            max_frames=env.spec.kwargs.get("max_num_frames_per_episode") if game else None,
            one_hot=isinstance(env.unwrapped.observation_space, Discrete),
            bounds=tuple(zip(obs.low.flatten().tolist(), obs.high.flatten().tolist(), strict=True)) if finite else None,
        )
    finally:
        env.close()


def find_gymnasium_spec(id: str) -> GymSpec:
    """What is registered under an id; `module:id` imports the module first. Raises EnvError where there is nothing."""
    module, _, name = id.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        return gymnasium.spec(name)
    except (gymnasium.error.Error, ImportError) as error:
        raise EnvError(f"{id} is not registered here: {' '.join(str(error).split())}") from error


def make_vector_env(env_spec: EnvSpec, num_envs: int, vectorization: Vectorization = "auto") -> VectorEnv:
    """Gymnasium's vector env: a process each for pictures ("async"), all in this one for vectors ("sync")."""
    if vectorization == "auto":
        vectorization = "sync" if env_spec.family == "vector" else "async"
    spec = find_gymnasium_spec(env_spec.id)  # a worker process knows only what it is sent, not what was registered here
    if vectorization == "sync":
        return SyncVectorEnv([lambda: make_env(spec)] * num_envs, autoreset_mode=AutoresetMode.NEXT_STEP)

    def worker() -> gymnasium.Env:
        signal.signal(
            signal.SIGINT, signal.SIG_IGN
        )  # Ctrl-C reaches all processes; the runner's stops this one in order
        return make_env(spec)

    return AsyncVectorEnv([worker] * num_envs, autoreset_mode=AutoresetMode.NEXT_STEP, context="forkserver")


def trainable_ids() -> list[str]:
    """The newest version of every registered Gymnasium id that is no Atari game and that an agent can be trained on here."""
    newest: dict[str, str] = {}
    for id, spec in gymnasium.registry.items():
        if spec.namespace is None and find_game(re.sub(r"(NoFrameskip)?-v\d+$", "", id)) is None:
            newest[spec.name] = id
    return sorted(id for id in newest.values() if _is_usable(id))


def _is_usable(id: str) -> bool:
    try:
        make_env(id).close()
    except Exception:  # other people's environments raise what they like
        return False
    return True
