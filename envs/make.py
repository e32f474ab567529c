"""From a name to a stream: the two calls that the lab makes of this package."""

from __future__ import annotations

import difflib
from dataclasses import replace

import gymnasium
from gymnasium.vector import VectorEnv

from envs import atari, gym
from envs.card import EnvCard, EnvError, Protocol, View
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
        game = gym.game_of(name)
        if game:
            raise EnvError(f"{name} is played as its id says; for the protocol {protocol} call it {game}")
        raise EnvError(f"protocol {protocol} is for Atari games; {name} is not one (leave --protocol out)")
    if name not in gymnasium.registry and ":" not in name:
        known = {n.lower(): n for n in [*gymnasium.registry, *atari.games()]}
        near = [known[n] for n in difflib.get_close_matches(name.lower(), known, 3, 0.5)]
        raise EnvError(
            f"unknown environment {name!r}; " + (f"nearest: {', '.join(near)}" if near else "see `list envs`")
        )
    return gym.resolve(name)


VELOCITIES = {  # the entries of the observation that are speeds
    "CartPole-v1": (1, 3),
    "CartPole-v0": (1, 3),
    "MountainCar-v0": (1,),
    "Acrobot-v1": (4, 5),
    "LunarLander-v3": (2, 3, 5),
}


def adapt(
    card: EnvCard, *, flicker: float = 0.0, mask_velocity: bool = False, view: View = "grey", actions: str = ""
) -> EnvCard:
    """The same environment, seen or played in another way; `actions` are the names of the only ones allowed, or empty.

    Raises EnvError where it cannot be.
    """
    if mask_velocity and card.id not in VELOCITIES:
        raise EnvError(f"mask_velocity is for {', '.join(VELOCITIES)}; what are speeds in {card.name} is not known")
    card = replace(card, flicker=flicker, masked=VELOCITIES[card.id] if mask_velocity else ())
    if view == "binary":
        if (card.name, card.backend) != ("Pong", "ale"):
            raise EnvError(f"view binary is for Pong, whose background is known; {card.name} has only grey")
        card = replace(card, view=view, frame=(80, 80))
    if actions:
        names = [name.strip() for name in actions.split(",")]
        if not set(names) <= set(card.actions) or len(set(names)) < len(names):
            raise EnvError(f"actions is {actions!r}; it must be some of {', '.join(card.actions)}, each once")
        card = replace(card, actions=tuple(names), action_numbers=tuple(card.actions.index(name) for name in names))
    return card


def make_stream(card: EnvCard, num_envs: int, *, threads: int = 1, vectorization: Vectorization = "auto") -> Stream:
    """`num_envs` copies of the card's environment as one stream; `threads` are for ALE's emulators."""
    if card.backend == "ale":
        env = atari.make_vector_env(card, num_envs, threads)
    else:
        env = gym.make_vector_env(card, num_envs, vectorization)
    return stream_of(env, card)


def stream_of(env: VectorEnv, card: EnvCard) -> Stream:
    """A vector environment of the card as a stream, with what the card says of the way from the one to the other."""
    return Stream(
        env,
        life_loss=card.life_loss,
        flicker=card.flicker,
        masked=card.masked,
        view=atari.playing_field if card.view == "binary" else None,
        action_numbers=card.action_numbers,
        independent_episodes=atari.has_independent_episodes(card),
    )
