"""What a moment tells, and that a person's wishes change nothing of the game."""

from itertools import islice

import numpy as np
import pytest
import torch

from envs.make import make_stream
from rl_lab import api
from rl_lab.watch.game import Game
from rl_lab.watch.picture import HEIGHT, WIDTH, compose
from rl_lab.watch.player import Player


def test_a_moment_tells_what_the_network_says(train):
    """Over two games: scores, V, score, and the returns that came, against a walk through the stream."""
    run = train(steps=600, eval_every=0)
    agent, game = api.load(run), Game(run.env_spec)
    player = iter(Player(agent, run.config, game, epsilon=0.3, seed=4))
    moments = [next(player) for _ in range(60)]
    stream = make_stream(run.env_spec, 1)
    row, score, values, rewards = stream.reset(4), 0.0, [], []
    for moment in moments:
        with torch.no_grad():
            q = agent.network(torch.from_numpy(row.obs)[:, None])[0].numpy()
        assert moment.scores == pytest.approx(q, abs=1e-5)
        assert moment.greedy == q.argmax()
        values.append(q.max())
        assert moment.values == pytest.approx(np.array(values), abs=1e-5)
        assert (moment.score, moment.step, moment.over) == (score, len(rewards), bool(row.is_last[0]))
        after = values[-1]
        for t in reversed(range(len(rewards))):
            after = rewards[t] + run.config.settings.gamma * (0 if moment.over and t == len(rewards) - 1 else after)
            assert moment.realised[t] == pytest.approx(after, rel=1e-4)
        picture = compose(moment, moment.screens[-1], run.env_spec, "title")
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


def test_the_games_are_those_of_an_evaluation(train):
    run = train(steps=600, eval_every=0)
    scored = api.evaluate(run, episodes=1, epsilon=0.4, seed=11)
    for moment in Player(api.load(run), run.config, Game(run.env_spec), epsilon=0.4, seed=11):
        if moment.over:
            break
    assert (moment.score, moment.step) == (scored.returns[0], scored.lengths[0])


def test_a_moment_told_again_and_a_restart_change_nothing(train):
    run = train(steps=600, eval_every=0)

    def play():
        return Player(api.load(run), run.config, Game(run.env_spec), epsilon=0.4, seed=3)

    plain = [(m.step, m.action, m.score) for m in islice(play(), 60)]
    player, told = play(), []
    for i, moment in enumerate(player):
        player.again = i % 3 == 0
        if not player.again:
            told.append((moment.step, moment.action, moment.score))
        if i == 40:
            player.restart, player.again, told = True, False, []
        if len(told) == 60:
            break
    assert told == plain
