"""Scores of random play and of people: what makes scores of different games comparable."""

from __future__ import annotations

import gymnasium

from envs.spec import EnvSpec

# Random play and a professional tester: Wang et al. 2015, table 2 (30 no-ops). Mnih et al. 2015 have other people (Pong 9.3).
RANDOM_AND_HUMAN = {
    "Asterix": (210.0, 8503.3),
    "BeamRider": (363.9, 16926.5),
    "Boxing": (0.1, 12.1),
    "Breakout": (1.7, 30.5),
    "Enduro": (0.0, 860.5),
    "Freeway": (0.0, 29.6),
    "MsPacman": (307.3, 6951.6),
    "Pong": (-20.7, 14.6),
    "Qbert": (163.9, 13455.0),
    "Seaquest": (68.4, 42054.7),
    "SpaceInvaders": (148.0, 1668.7),
}


def scale(env_spec: EnvSpec) -> tuple[float, float, str] | None:
    """The scores that count as 0 and as 1 on an environment, and what they are; None where nobody says.

    Atari games: random play and a person. Others: 0 and the score at which Gymnasium calls them solved, where that is positive.
    """
    if env_spec.backend == "ale":
        game = env_spec.id.removeprefix("ALE/").rsplit("-", 1)[0]
        known = RANDOM_AND_HUMAN.get(game)
        return (*known, "human-normalised") if known else None
    spec = gymnasium.registry.get(env_spec.id)
    solved = spec.reward_threshold if spec else None
    return (0.0, solved, "share of the score that counts as solved") if solved and solved > 0 else None
