"""From the name of an environment to its specification, and from the specification to a stream."""

from __future__ import annotations

import difflib
import importlib.util
import re
import sys
from dataclasses import replace

import gymnasium
from gymnasium.vector import VectorEnv

from envs import atari, gymnasium_envs
from envs.errors import EnvError
from envs.observations import ViewFunction
from envs.options import DEFAULT_OPTIONS, EnvOptions, Vectorization
from envs.spec import AtariProtocol, EnvSpec, View
from envs.stream import Stream

JAX_NAMESPACES = ("phys2d", "tabular")
"""Namespaces of Gymnasium's environments in JAX, which is not among the lab's packages. They are not suggested."""

VELOCITIES = {  # indices of the entries of the observation that are velocities
    "CartPole-v1": (1, 3),
    "CartPole-v0": (1, 3),
    "MountainCar-v0": (1,),
    "Acrobot-v1": (4, 5),
    "LunarLander-v3": (2, 3, 5),
}


def resolve(name: str, protocol: AtariProtocol | None = None, options: EnvOptions = DEFAULT_OPTIONS) -> EnvSpec:
    """Return the spec of an environment.

    Args:
        name: The name of an Atari game, or a Gymnasium id.
        protocol: Protocol of an Atari game, instead of the one that the name implies.
        options: How the environment is made.

    Raises:
        EnvError: The name is unknown (the message lists the nearest ones), the environment is not supported, or the
            protocol does not apply to it.
    """
    if protocol is not None and protocol not in atari.PROTOCOLS:
        raise EnvError(f"protocol is {protocol!r}; it must be one of {', '.join(atari.PROTOCOLS)}")
    env_spec = atari.resolve(name, protocol)
    if env_spec is not None:
        return atari.with_options(env_spec, options)
    if protocol is not None:
        raise EnvError(_why_no_protocol(name, protocol))
    if name not in gymnasium.registry and ":" not in name:
        raise EnvError(f"unknown environment {name!r}; {_suggestion(name)}")
    return gymnasium_envs.resolve(name, options)


def _why_no_protocol(name: str, protocol: AtariProtocol) -> str:
    """Return the message for an environment whose protocol cannot be chosen."""
    game = gymnasium_envs.find_game_of_id(name)
    if game:
        return f"the id {name} has settings of its own; for the protocol {protocol} use --env {game}"
    return f"protocol {protocol} is for Atari games; {name} is not one (omit --protocol)"


def _suggestion(name: str) -> str:
    """Return the names that are most similar to an unknown name, or how to list all names."""
    ids = [env_id for env_id, spec in gymnasium.registry.items() if spec.namespace not in JAX_NAMESPACES]
    known = {candidate.lower(): candidate for candidate in [*ids, *atari.games()]}
    nearest = difflib.get_close_matches(name.lower(), known, 3, 0.5)
    suggestions = []
    module = _module_of_name(name)
    if module is not None:
        suggestions.append(f"if the package {module} registers it, write {module}:{name}")
    if nearest:
        suggestions.append(f"nearest: {', '.join(known[match] for match in nearest)}")
    return "; ".join(suggestions) or "see `list envs`"


def _module_of_name(name: str) -> str | None:
    """Return the installed module that may register an unknown id, or None: minigrid for MiniGrid-DoorKey-5x5-v0.

    The module is not imported, because nobody asked for this module.
    """
    words = re.match(r"[A-Za-z]\w*", name, re.ASCII)
    module = words[0].lower() if words else ""
    if not module or module in sys.stdlib_module_names:
        return None
    try:
        return module if importlib.util.find_spec(module) is not None else None
    except (ImportError, ValueError):  # a module without a spec
        return None


def adapt(
    env_spec: EnvSpec, *, flicker: float = 0.0, mask_velocity: bool = False, view: View = "grey", actions: str = ""
) -> EnvSpec:
    """Return the spec with changed observations or actions.

    Args:
        env_spec: The spec to change.
        flicker: Probability that an observation is blank.
        mask_velocity: Set the velocities in the observation to 0.
        view: Preprocessing of an Atari screen.
        actions: Comma-separated names of the allowed actions. Empty means all actions.

    Raises:
        EnvError: The environment does not support a change.
    """
    changed = replace(env_spec, flicker=flicker, masked=())
    if mask_velocity and env_spec.obs_kind != "vector" and env_spec.id in VELOCITIES:
        raise EnvError(f"mask_velocity needs vectors without action masks; {env_spec.name} has other observations")
    if mask_velocity:
        changed = replace(changed, masked=_velocities(env_spec))
    if view == "binary":
        if (env_spec.name, env_spec.backend) != ("Pong", "ale"):
            raise EnvError(f"view binary is only for Pong; {env_spec.name} has only the view grey")
        description = "playing field of one frame as zeros and ones"
        if env_spec.options != DEFAULT_OPTIONS:
            raise EnvError("view binary has its own size and colours: leave out image and image_size")
        changed = replace(changed, view=view, frame=(80, 80), transformations=(description,))
    if actions:
        _check_restrictable(env_spec)
        changed = _restrict_actions(changed, [name.strip() for name in actions.split(",")])
    return changed


def _velocities(env_spec: EnvSpec) -> tuple[int, ...]:
    """Return the indices of the velocities in an observation."""
    if env_spec.options.wrappers:
        raise EnvError("mask_velocity is for environments without wrappers, which may move the velocities")
    if env_spec.id not in VELOCITIES:
        raise EnvError(f"mask_velocity is for {', '.join(VELOCITIES)}; the velocities of {env_spec.name} are not known")
    return VELOCITIES[env_spec.id]


def _check_restrictable(env_spec: EnvSpec) -> None:
    """Raise EnvError if the actions of an environment cannot be restricted to some of them."""
    kind = ""
    if env_spec.mask_source:
        kind = "masks its actions (--no-action-masks ignores the masks)"
    elif env_spec.action_parts:
        kind = "has actions of several parts"
    elif env_spec.is_continuous:
        kind = "has continuous actions"
    if kind:
        raise EnvError(f"actions cannot be chosen, because {env_spec.name} {kind}")


def _restrict_actions(env_spec: EnvSpec, names: list[str]) -> EnvSpec:
    """Return the spec with only the actions called `names`, in this order."""
    if not set(names) <= set(env_spec.actions) or len(set(names)) < len(names):
        given = ", ".join(names)
        raise EnvError(f"actions is {given!r}; it must be some of {', '.join(env_spec.actions)}, each at most once")
    numbers = tuple(env_spec.actions.index(name) for name in names)
    return replace(env_spec, actions=tuple(names), action_numbers=numbers)


def make_stream(
    env_spec: EnvSpec, num_envs: int, *, threads: int = 1, vectorization: Vectorization = "auto", seed: int = 0
) -> Stream:
    """Return a stream of `num_envs` environments.

    Args:
        env_spec: Specification of the environments.
        num_envs: Number of environments.
        threads: Number of emulator threads, for the backend "ale".
        vectorization: How the environments run, for the backend "gymnasium".
        seed: Seed of what the environments draw while they are created, for the backend "gymnasium".
    """
    if env_spec.backend == "ale":
        env: VectorEnv = atari.make_vector_env(env_spec, num_envs, threads)
    else:
        env = gymnasium_envs.make_vector_env(env_spec, num_envs, vectorization, seed=seed)
    return stream_from_env(env, env_spec)


def stream_from_env(env: VectorEnv, env_spec: EnvSpec) -> Stream:
    """Return a vector environment of `env_spec` as a stream, with the spec's observations and actions."""
    return Stream(
        env,
        name=env_spec.name,
        life_loss=env_spec.life_loss,
        flicker=env_spec.flicker,
        masked=env_spec.masked,
        view=_view_function(env_spec),
        action_numbers=env_spec.action_numbers,
        packed=env_spec.packed,
        independent_episodes=atari.has_independent_episodes(env_spec),
    )


def _view_function(env_spec: EnvSpec) -> ViewFunction | None:
    """Return the function that changes observations after the vector environment, or None."""
    if env_spec.view == "binary":
        return atari.pong_playing_field
    if env_spec.backend == "ale" and len(env_spec.frame) == 3:
        return atari.channels_first
    return None
