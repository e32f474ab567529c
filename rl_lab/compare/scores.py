"""Reference scores of environments, which make scores of different environments comparable."""

from __future__ import annotations

from typing import NamedTuple

import gymnasium

from envs.spec import EnvSpec

# Game -> score of a random policy and of a professional human tester, from Wang et al. 2015, table 2 (up to 30 no-op
# actions at the start). The human scores of Mnih et al. 2015 come from other testers (Pong: 9.3).
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


class ScoreScale(NamedTuple):
    """The scores of an environment that are normalised to 0 and to 1."""

    zero: float
    one: float
    description: str


def score_scale(env_spec: EnvSpec) -> ScoreScale | None:
    """Return the scale for normalised scores, or None if no reference scores are known.

    Atari games: a random policy scores 0 and a human 1. Other environments: the score from which Gymnasium regards the
    environment as solved is normalised to 1, if that score is positive, and a score of 0 stays 0.
    """
    if env_spec.backend == "ale":
        game = env_spec.id.removeprefix("ALE/").rsplit("-", 1)[0]
        if game not in RANDOM_AND_HUMAN:
            return None
        random_score, human_score = RANDOM_AND_HUMAN[game]
        return ScoreScale(random_score, human_score, "human-normalised")
    gym_spec = gymnasium.registry.get(env_spec.id)
    if gym_spec is None or gym_spec.reward_threshold is None or gym_spec.reward_threshold <= 0:
        return None
    return ScoreScale(0.0, gym_spec.reward_threshold, "share of the score that counts as solved")
