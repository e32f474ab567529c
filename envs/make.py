"""From a name to a stream: the two calls that the lab makes of this package."""

from __future__ import annotations

import difflib
from dataclasses import replace

import gymnasium
from gymnasium.vector import VectorEnv

from envs import atari, gymnasium_envs
from envs.gymnasium_envs import Vectorization
from envs.spec import EnvError, EnvSpec, Protocol, View
from envs.stream import Stream


def resolve(name: str, protocol: Protocol | None = None) -> EnvSpec:
    """The card of `name`: an Atari game, or any Gymnasium id. Raises EnvError with the nearest matches if it is unknown."""
    if protocol is not None and protocol not in atari.PROTOCOLS:
        raise EnvError(f"protocol is {protocol!r}; it must be one of {', '.join(atari.PROTOCOLS)}")
    env_spec = atari.resolve(name, protocol)
    if env_spec is not None:
        return env_spec
    if protocol is not None:
        game = gymnasium_envs.game_of(name)
        if game:
            raise EnvError(f"{name} is played as its id says; for the protocol {protocol} call it {game}")
        raise EnvError(f"protocol {protocol} is for Atari games; {name} is not one (leave --protocol out)")
    if name not in gymnasium.registry and ":" not in name:
        known = {n.lower(): n for n in [*gymnasium.registry, *atari.games()]}
        near = [known[n] for n in difflib.get_close_matches(name.lower(), known, 3, 0.5)]
        raise EnvError(
            f"unknown environment {name!r}; " + (f"nearest: {', '.join(near)}" if near else "see `list envs`")
        )
    return gymnasium_envs.resolve(name)


VELOCITIES = {  # the entries of the observation that are speeds
    "CartPole-v1": (1, 3),
    "CartPole-v0": (1, 3),
    "MountainCar-v0": (1,),
    "Acrobot-v1": (4, 5),
    "LunarLander-v3": (2, 3, 5),
}


def adapt(
    env_spec: EnvSpec, *, flicker: float = 0.0, mask_velocity: bool = False, view: View = "grey", actions: str = ""
) -> EnvSpec:
    """The same environment, seen or played in another way; `actions` are the names of the only ones allowed, or empty.

    Raises EnvError where it cannot be.
    """
    if mask_velocity and env_spec.id not in VELOCITIES:
        raise EnvError(f"mask_velocity is for {', '.join(VELOCITIES)}; what are speeds in {env_spec.name} is not known")
    env_spec = replace(env_spec, flicker=flicker, masked=VELOCITIES[env_spec.id] if mask_velocity else ())
    if view == "binary":
        if (env_spec.name, env_spec.backend) != ("Pong", "ale"):
            raise EnvError(f"view binary is for Pong, whose background is known; {env_spec.name} has only grey")
        env_spec = replace(env_spec, view=view, frame=(80, 80))
    if actions:
        names = [name.strip() for name in actions.split(",")]
        if not set(names) <= set(env_spec.actions) or len(set(names)) < len(names):
            raise EnvError(f"actions is {actions!r}; it must be some of {', '.join(env_spec.actions)}, each once")
        env_spec = replace(
            env_spec, actions=tuple(names), action_numbers=tuple(env_spec.actions.index(name) for name in names)
        )
    return env_spec


def make_stream(env_spec: EnvSpec, num_envs: int, *, threads: int = 1, vectorization: Vectorization = "auto") -> Stream:
    """`num_envs` copies of the card's environment as one stream; `threads` are for ALE's emulators."""
    if env_spec.backend == "ale":
        env = atari.make_vector_env(env_spec, num_envs, threads)
    else:
        env = gymnasium_envs.make_vector_env(env_spec, num_envs, vectorization)
    return stream_from_env(env, env_spec)


def stream_from_env(env: VectorEnv, env_spec: EnvSpec) -> Stream:
    """A vector environment of the card as a stream, with what the card says of the way from the one to the other."""
    return Stream(
        env,
        life_loss=env_spec.life_loss,
        flicker=env_spec.flicker,
        masked=env_spec.masked,
        view=atari.playing_field if env_spec.view == "binary" else None,
        action_numbers=env_spec.action_numbers,
        independent_episodes=atari.has_independent_episodes(env_spec),
    )
