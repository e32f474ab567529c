"""Reference scores of environments, which make scores of different environments comparable."""

from __future__ import annotations

from typing import NamedTuple

import gymnasium

from envs.spec import EnvSpec

RANDOM_AND_HUMAN = {
    "Alien": (227.8, 7127.7),
    "Amidar": (5.8, 1719.5),
    "Assault": (222.4, 742.0),
    "Asterix": (210.0, 8503.3),
    "Asteroids": (719.1, 47388.7),
    "Atlantis": (12850.0, 29028.1),
    "BankHeist": (14.2, 753.1),
    "BattleZone": (2360.0, 37187.5),
    "BeamRider": (363.9, 16926.5),
    "Berzerk": (123.7, 2630.4),
    "Bowling": (23.1, 160.7),
    "Boxing": (0.1, 12.1),
    "Breakout": (1.7, 30.5),
    "Centipede": (2090.9, 12017.0),
    "ChopperCommand": (811.0, 7387.8),
    "CrazyClimber": (10780.5, 35829.4),
    "Defender": (2874.5, 18688.9),
    "DemonAttack": (152.1, 1971.0),
    "DoubleDunk": (-18.6, -16.4),
    "Enduro": (0.0, 860.5),
    "FishingDerby": (-91.7, -38.7),
    "Freeway": (0.0, 29.6),
    "Frostbite": (65.2, 4334.7),
    "Gopher": (257.6, 2412.5),
    "Gravitar": (173.0, 3351.4),
    "Hero": (1027.0, 30826.4),
    "IceHockey": (-11.2, 0.9),
    "Jamesbond": (29.0, 302.8),
    "Kangaroo": (52.0, 3035.0),
    "Krull": (1598.0, 2665.5),
    "KungFuMaster": (258.5, 22736.3),
    "MontezumaRevenge": (0.0, 4753.3),
    "MsPacman": (307.3, 6951.6),
    "NameThisGame": (2292.3, 8049.0),
    "Phoenix": (761.4, 7242.6),
    "Pitfall": (-229.4, 6463.7),
    "Pong": (-20.7, 14.6),
    "PrivateEye": (24.9, 69571.3),
    "Qbert": (163.9, 13455.0),
    "Riverraid": (1338.5, 17118.0),
    "RoadRunner": (11.5, 7845.0),
    "Robotank": (2.2, 11.9),
    "Seaquest": (68.4, 42054.7),
    "Skiing": (-17098.1, -4336.9),
    "Solaris": (1236.3, 12326.7),
    "SpaceInvaders": (148.0, 1668.7),
    "StarGunner": (664.0, 10250.0),
    "Surround": (-10.0, 6.5),
    "Tennis": (-23.8, -8.3),
    "TimePilot": (3568.0, 5229.2),
    "Tutankham": (11.4, 167.6),
    "UpNDown": (533.4, 11693.2),
    "Venture": (0.0, 1187.5),
    "VideoPinball": (16256.9, 17667.9),
    "WizardOfWor": (563.5, 4756.5),
    "YarsRevenge": (3092.9, 54576.9),
    "Zaxxon": (32.5, 9173.3),
}
"""Game -> score of a random policy, and of a professional human tester (Wang et al. 2016, table 2).

The episodes began with up to 30 no-ops and lasted at most 30 minutes. The numbers are those of DeepMind's dqn_zoo
(https://github.com/google-deepmind/dqn_zoo, dqn_zoo/atari_data.py). Other published tables give 0 as the random score
of VideoPinball. The human scores of Mnih et al. 2015 come from other testers (Pong: 9.3). The table lacks the games of
ALE that are not among these 57.
"""


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
        return _game_scale(env_spec.id.removeprefix("ALE/").rsplit("-", 1)[0])
    return _solved_scale(env_spec.id)


def named_scale(name: str) -> ScoreScale | None:
    """Return the scale of an environment by its name: an Atari game such as Pong, or a Gymnasium id."""
    return _game_scale(name) or _solved_scale(name)


def _game_scale(game: str) -> ScoreScale | None:
    """Return the scale between a random policy and a human, or None for a game without these scores."""
    if game not in RANDOM_AND_HUMAN:
        return None
    random_score, human_score = RANDOM_AND_HUMAN[game]
    return ScoreScale(random_score, human_score, "human-normalised")


def _solved_scale(env_id: str) -> ScoreScale | None:
    """Return the scale up to the score that counts as solved, or None if Gymnasium knows no such positive score."""
    gym_spec = gymnasium.registry.get(env_id)
    if gym_spec is None or gym_spec.reward_threshold is None or gym_spec.reward_threshold <= 0:
        return None
    return ScoreScale(0.0, gym_spec.reward_threshold, "share of the score that counts as solved")
