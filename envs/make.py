"""From a name to a stream: the two calls that the lab makes of this package."""

from __future__ import annotations

import difflib

import gymnasium

from envs import atari, gym
from envs.card import EnvCard, EnvError, Protocol
from envs.gym import Vectorization
from envs.stream import Stream


def resolve(name: str, protocol: Protocol | None = None) -> EnvCard:
    """The card of `name`: an Atari game, or any Gymnasium id. Raises EnvError with the nearest matches if it is unknown."""
    if protocol is not None and protocol not in atari.PROTOCOLS:
        raise EnvError(f"protocol is {protocol!r}; it must be one of {', '.join(atari.PROTOCOLS)}")
    card = atari.resolve(name, protocol)
    if card is not None:
        return card
    if protocol is not None:
        raise EnvError(f"protocol {protocol} is for Atari games; {name} is not one (leave --protocol out)")
    if name not in gymnasium.registry and ":" not in name:
        known = {n.lower(): n for n in [*gymnasium.registry, *atari.games()]}
        near = [known[n] for n in difflib.get_close_matches(name.lower(), known, 3, 0.5)]
        raise EnvError(
            f"unknown environment {name!r}; " + (f"nearest: {', '.join(near)}" if near else "see `list envs`")
        )
    return gym.resolve(name)


def make_stream(card: EnvCard, num_envs: int, *, threads: int = 0, vectorization: Vectorization = "auto") -> Stream:
    """`num_envs` copies of the card's environment as one stream; `threads` for ALE's emulators, 0 for one a core."""
    if card.backend == "ale":
        env = atari.make_vector_env(card, num_envs, threads)
    else:
        env = gym.make_vector_env(card, num_envs, vectorization)
    return Stream(env, life_loss=card.life_loss)
