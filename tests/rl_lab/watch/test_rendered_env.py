"""Tests of the environment with screens: it must play the game that training plays."""

import cv2
import gymnasium
import numpy as np
import pytest

from envs.errors import EnvError
from envs.make import adapt, make_stream, resolve
from rl_lab.watch.rendered_env import RenderedEnv


@pytest.mark.parametrize("protocol", ["classic", "machado"])
def test_rows_equal_those_of_a_training_stream_and_match_the_screens(protocol):
    """The screens are compared after the preprocessing of Atari frames: grey, maximum of two, 84 x 84 pixels."""
    env_spec = resolve("Pong", protocol)
    env = RenderedEnv(env_spec)
    stream = make_stream(env_spec, 1)
    row, screens = env.reset(7)
    training_row = stream.reset(7)
    rng = np.random.default_rng(0)
    num_compared, num_games = 0, 0
    for _ in range(1300):
        assert np.array_equal(row.obs, training_row.obs)
        if len(screens) == 4:
            last_two = [cv2.cvtColor(screen, cv2.COLOR_RGB2GRAY) for screen in screens[-2:]]
            grey = cv2.resize(np.maximum(*last_two), (84, 84), interpolation=cv2.INTER_AREA)
            assert np.abs(grey.astype(int) - row.obs[0]).max() <= 1
            num_compared += 1
        action = int(rng.integers(env_spec.num_actions))
        stream.send(np.array([action]))
        training_row = stream.recv()
        row, screens = env.step(action)
        num_games += int(row.is_last[0])
    env.close()
    stream.close()
    assert num_compared > 1000
    assert num_games >= 1


def test_restricted_actions_have_the_same_effect_on_the_screen():
    env_spec = adapt(resolve("Pong"), view="binary", actions="RIGHT,LEFT")
    env = RenderedEnv(env_spec)
    env.reset(1)
    heights = []
    for _ in range(30):
        _, screens = env.step(1)
        is_paddle = (screens[-1][34:194, 140:144] == (92, 186, 92)).all(2)
        heights.append(np.nonzero(is_paddle.any(1))[0].mean())
    env.close()
    assert heights[-1] > heights[0] + 20, "LEFT moves the green paddle down"


def test_environment_without_rendering_is_refused():
    gymnasium.register("Unseen-v0", "toy_envs:NumberedSteps")
    with pytest.raises(EnvError, match="Unseen-v0 cannot be watched"):
        RenderedEnv(resolve("Unseen-v0"))
