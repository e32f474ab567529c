"""What is watched is what is trained on."""

import cv2
import gymnasium
import numpy as np
import pytest
from rl_lab.watch.game import Game
from toy_envs import NumberedSteps

from envs.make import adapt, make_stream, resolve
from envs.spec import EnvError


@pytest.mark.parametrize("protocol", ["classic", "machado"])
def test_the_watched_game_is_the_trained_one(protocol):
    """Same seed and actions: the frames of a training stream; and the screens, in grey and scaled, are those frames."""
    env_spec = resolve("Pong", protocol)
    game, stream = Game(env_spec), make_stream(env_spec, 1)
    row, screens = game.reset(7)
    trained, rng, compared, games = stream.reset(7), np.random.default_rng(0), 0, 0
    for _ in range(1300):
        assert np.array_equal(row.obs, trained.obs)
        if len(screens) == 4:  # the last two of a skip are pooled
            pooled = np.maximum(*(cv2.cvtColor(screen, cv2.COLOR_RGB2GRAY) for screen in screens[-2:]))
            grey = cv2.resize(pooled, (84, 84), interpolation=cv2.INTER_AREA)
            assert np.abs(grey.astype(int) - row.obs[0]).max() <= 1
            compared += 1
        action = int(rng.integers(env_spec.num_actions))
        stream.send(np.array([action]))
        trained = stream.recv()
        row, screens = game.step(action)
        games += int(row.is_last[0])
    game.close()
    stream.close()
    assert compared > 1000
    assert games >= 1


def test_fewer_actions_reach_the_screen_too():
    env_spec = adapt(resolve("Pong"), view="binary", actions="RIGHT,LEFT")
    game = Game(env_spec)
    game.reset(1)
    heights = []
    for _ in range(30):
        _, screens = game.step(1)
        heights.append(np.nonzero((screens[-1][34:194, 140:144] == (92, 186, 92)).all(2).any(1))[0].mean())
    game.close()
    assert heights[-1] > heights[0] + 20  # LEFT moves the green paddle down


def test_what_draws_no_picture_is_refused():
    gymnasium.register("Unseen-v0", NumberedSteps)
    with pytest.raises(EnvError, match="Unseen-v0 cannot be watched: it has no render mode"):
        Game(resolve("Unseen-v0"))
