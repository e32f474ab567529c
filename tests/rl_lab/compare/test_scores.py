"""Tests of the reference scores of Atari games."""

from __future__ import annotations

import pytest

from envs.atari import games
from envs.make import resolve
from rl_lab.compare.scores import RANDOM_AND_HUMAN, score_scale


def test_all_57_games_have_a_scale_from_a_random_policy_to_a_human():
    assert len(RANDOM_AND_HUMAN) == 57
    assert set(RANDOM_AND_HUMAN) <= set(games())
    for game in RANDOM_AND_HUMAN:
        scale = score_scale(resolve(game))
        assert scale is not None
        assert scale.zero < scale.one


@pytest.mark.parametrize(
    ("game", "score", "percent"),
    [
        ("Pong", 18.9, 112),
        ("Breakout", 401.2, 1387),
        ("Seaquest", 5286, 12),
        ("SpaceInvaders", 1976, 120),
    ],
)
def test_normalised_scores_of_dqn(game: str, score: float, percent: float):
    """The scores are those of Mnih et al. 2015, the percentages follow from the table of Wang et al. 2016 by hand."""
    scale = score_scale(resolve(game))
    assert scale is not None
    assert 100 * (score - scale.zero) / (scale.one - scale.zero) == pytest.approx(percent, abs=0.7)


@pytest.mark.parametrize("env", ["AirRaid", "Pong-v4"])
def test_other_games_have_no_scale(env: str):
    assert score_scale(resolve(env)) is None
