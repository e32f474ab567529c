"""Tests of the player: its steps, its games, and its requests."""

from itertools import islice

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from envs.make import make_stream
from rl_lab import api, checkpoint
from rl_lab.watch.frame_rendering import FRAME_HEIGHT, FRAME_WIDTH, render_frame
from rl_lab.watch.player import Player
from rl_lab.watch.rendered_env import RenderedEnv


@pytest.mark.parametrize("settings", [{}, {"normalize_reward": True, "reward_scale": 0.5}], ids=["plain", "normalised"])
def test_steps_equal_the_output_of_the_network_along_a_stream(train, settings):
    """Scores, values, score and returns of 60 steps, against a second stream with the same seed and actions."""
    run = train(steps=600, eval_every=0, **settings)
    agent, env = api.load_agent(run), RenderedEnv(run.env_spec)
    gamma = run.config.settings.gamma
    reward_scale = 1.0
    if settings:
        weights = load_file(checkpoint.generations(run.path)[0] / "network.safetensors")
        reward_scale = 0.5 / (float(weights["return_moments.variance"]) + 1e-8) ** 0.5
        assert reward_scale < 0.2
    player = iter(Player(agent, run.config, env, epsilon=0.3, seed=4))
    steps = [next(player) for _ in range(60)]
    stream = make_stream(run.env_spec, 1)
    row = stream.reset(4)
    score, values, rewards = 0.0, [], []
    magnitudes = np.zeros(4)
    for step in steps:
        magnitudes = np.maximum(magnitudes, np.abs(row.obs[0]))
        np.testing.assert_array_equal(step.obs_magnitudes, magnitudes)
        with torch.no_grad():
            q = agent.network(torch.from_numpy(row.obs)[:, None])[0].numpy()
        assert step.action_scores == pytest.approx(q, abs=1e-5)
        assert step.greedy_action == q.argmax()
        values.append(q.max())
        assert step.values == pytest.approx(np.array(values), abs=1e-5)
        assert step.score == score
        assert step.step_number == len(rewards)
        assert step.is_last == bool(row.is_last[0])
        discounted_return = values[-1]
        for t in reversed(range(len(rewards))):
            terminated = step.is_last and t == len(rewards) - 1
            discounted_return = rewards[t] + gamma * (0 if terminated else discounted_return)
            assert step.returns[t] == pytest.approx(discounted_return, rel=1e-4)
        frame = render_frame(step, step.screens[-1], run.env_spec, "title")
        assert frame.shape == (FRAME_HEIGHT, FRAME_WIDTH, 3)
        stream.send(np.array([step.action]))
        row = stream.recv()
        if step.is_last:
            score, values, rewards = 0.0, [], []
            magnitudes = np.zeros(4)
        else:
            score += float(row.reward[0])
            rewards.append(reward_scale * float(row.reward[0]))
    assert any(step.is_last for step in steps)
    assert any(step.action != step.greedy_action for step in steps)
    env.close()
    stream.close()


def test_games_are_those_of_an_evaluation_with_the_same_seed(train):
    run = train(steps=600, eval_every=0)
    evaluation = api.evaluate(run, episodes=1, epsilon=0.4, seed=11)
    player = Player(api.load_agent(run), run.config, RenderedEnv(run.env_spec), epsilon=0.4, seed=11)
    last_step = next(step for step in player if step.is_last)
    assert last_step.score == evaluation.returns[0]
    assert last_step.step_number == evaluation.lengths[0]


def test_repeated_steps_and_a_restart_do_not_change_the_games(train):
    run = train(steps=600, eval_every=0)

    def make_player() -> Player:
        return Player(api.load_agent(run), run.config, RenderedEnv(run.env_spec), epsilon=0.4, seed=3)

    expected = [(step.step_number, step.action, step.score) for step in islice(make_player(), 60)]
    player = make_player()
    received = []
    for i, step in enumerate(player):
        player.repeat_step = i % 3 == 0
        if not player.repeat_step:
            received.append((step.step_number, step.action, step.score))
        if i == 40:
            player.restart = True
            player.repeat_step = False
            received = []
        if len(received) == 60:
            break
    assert received == expected
