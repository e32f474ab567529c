"""What is watched is what is trained on; pictures, videos and the terminal's blocks."""

from itertools import pairwise

import cv2
import gymnasium
import numpy as np
import pytest
import torch

from envs.card import EnvError
from envs.make import adapt, make_stream, resolve
from envs.toy import NumberedSteps
from rl_lab import api
from rl_lab.errors import LabError
from rl_lab.watch.game import Game
from rl_lab.watch.picture import HEIGHT, WIDTH, compose
from rl_lab.watch.player import Player
from rl_lab.watch.show import show
from rl_lab.watch.terminal import half_blocks
from rl_lab.watch.video import Video


@pytest.mark.parametrize("protocol", ["classic", "machado"])
def test_the_watched_game_is_the_trained_one(protocol):
    """Same seed and actions: the frames of a training stream; and the screens, in grey and scaled, are those frames."""
    card = resolve("Pong", protocol)
    game, stream = Game(card), make_stream(card, 1)
    row, screens = game.reset(7)
    trained, rng, compared, games = stream.reset(7), np.random.default_rng(0), 0, 0
    for _ in range(1300):
        assert np.array_equal(row.obs, trained.obs)
        if len(screens) == 4:  # the last two of a skip are pooled
            pooled = np.maximum(*(cv2.cvtColor(screen, cv2.COLOR_RGB2GRAY) for screen in screens[-2:]))
            grey = cv2.resize(pooled, (84, 84), interpolation=cv2.INTER_AREA)
            assert np.abs(grey.astype(int) - row.obs[0]).max() <= 1
            compared += 1
        action = int(rng.integers(card.num_actions))
        stream.send(np.array([action]))
        trained = stream.recv()
        row, screens = game.step(action)
        games += int(row.dead[0])
    game.close()
    stream.close()
    assert compared > 1000
    assert games >= 1


def test_fewer_actions_reach_the_screen_too():
    card = adapt(resolve("Pong"), view="binary", actions="RIGHT,LEFT")
    game = Game(card)
    game.reset(1)
    heights = []
    for _ in range(30):
        _, screens = game.step(1)
        heights.append(np.nonzero((screens[-1][34:194, 140:144] == (92, 186, 92)).all(2).any(1))[0].mean())
    game.close()
    assert heights[-1] > heights[0] + 20  # LEFT moves the green paddle down


def test_a_moment_tells_what_the_network_says(train):
    """Over two games: scores, V, score, and the returns that came, against a walk through the stream."""
    run = train(steps=600, eval_every=0)
    agent, game = api.load(run), Game(run.card)
    player = iter(Player(agent, run.config, game, epsilon=0.3, seed=4))
    moments = [next(player) for _ in range(60)]
    stream = make_stream(run.card, 1)
    row, score, values, rewards = stream.reset(4), 0.0, [], []
    for moment in moments:
        with torch.no_grad():
            q = agent.network(torch.from_numpy(row.obs)[:, None])[0].numpy()
        assert moment.scores == pytest.approx(q, abs=1e-5)
        assert moment.greedy == q.argmax()
        values.append(q.max())
        assert moment.values == pytest.approx(np.array(values), abs=1e-5)
        assert (moment.score, moment.step, moment.over) == (score, len(rewards), bool(row.dead[0]))
        after = values[-1]
        for t in reversed(range(len(rewards))):
            after = rewards[t] + run.config.settings.gamma * (0 if moment.over and t == len(rewards) - 1 else after)
            assert moment.realised[t] == pytest.approx(after, rel=1e-4)
        picture = compose(moment, moment.screens[-1], run.card, "title")
        assert picture.shape == (HEIGHT, WIDTH, 3)
        stream.send(np.array([moment.action]))
        row = stream.recv()
        if moment.over:
            score, values, rewards = 0.0, [], []
        else:
            score += float(row.reward[0])
            rewards.append(float(row.reward[0]))
    assert any(moment.over for moment in moments)
    assert any(moment.action != moment.greedy for moment in moments)
    game.close()
    stream.close()


@pytest.mark.parametrize("agent", ["dqn", "rainbow", "drqn", "reinforce", "tabular_sarsa", "sb3_ppo"])
def test_a_video_of_every_agent(agent, tmp_path):
    """The right rate, length and number of pictures; none is blank, and they move."""
    av = pytest.importorskip("av")
    env = "RandomWalk-v0" if agent.startswith("tabular") else "CartPole-v1"
    settings = {"env": env, "steps": 300, "eval_every": 0, "eval_episodes": 1, "wandb": "disabled", "quiet": True}
    run = api.train(agent, **settings, runs_dir=str(tmp_path))
    shown = show(run, episodes=1, seed=2, epsilon=0.5, video=tmp_path / "game.mp4")
    with av.open(str(tmp_path / "game.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == (4 if env.startswith("Random") else 50)
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert float(stream.duration * stream.time_base) == pytest.approx(shown.seconds, abs=0.05)
    assert len(pictures) == shown.pictures
    assert all(picture.std() > 5 for picture in pictures)
    changed = [np.abs(a.astype(int) - b).max() > 20 for a, b in pairwise(pictures)]
    assert np.mean(changed) > 0.9


def test_what_draws_no_picture_is_refused():
    gymnasium.register("Unseen-v0", NumberedSteps)
    with pytest.raises(EnvError, match="Unseen-v0 cannot be watched: it draws no picture"):
        Game(resolve("Unseen-v0"))


def test_a_video_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(LabError, match=r"must end in \.(mp4|webm)"):
        Video(tmp_path / "game.gif", 15)
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="cannot be written"):
        Video(tmp_path / "file" / "game.mp4", 15)


def test_two_pixels_to_a_character():
    picture = np.array([[[1, 2, 3], [1, 2, 3]], [[4, 5, 6], [4, 5, 6]]], np.uint8)
    assert half_blocks(picture) == "\x1b[38;2;1;2;3;48;2;4;5;6m▀▀\x1b[0m\x1b[K\r\n"
