"""Tests of `rl_lab.show`: the command `watch` as a function, also for environments that are Python objects."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest
from gymnasium.envs.classic_control import CartPoleEnv

import rl_lab
from agents.core.settings import ConfigError
from rl_lab.errors import LabError
from rl_lab.watch.show_games import ShowResult
from rl_lab.watch.watch_run import print_cut


def test_show_writes_a_video_of_an_environment_that_was_given_as_a_class(tmp_path: Path):
    run = rl_lab.train(
        "dqn", env=CartPoleEnv, steps=50, num_envs=2, eval_episodes=1, wandb="disabled", runs_dir=str(tmp_path / "runs")
    )
    video = tmp_path / "cartpole.mp4"
    rl_lab.show(run, env=CartPoleEnv, video=str(video), max_steps=20)
    capture = cv2.VideoCapture(str(video))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) >= 8  # the shortest episodes of CartPole have eight steps


def test_show_refuses_unknown_options_and_another_environment(tmp_path: Path):
    run = rl_lab.train(
        "dqn",
        env="CartPole-v1",
        steps=50,
        num_envs=2,
        eval_episodes=1,
        wandb="disabled",
        runs_dir=str(tmp_path / "runs"),
        quiet=True,
    )
    with pytest.raises(ConfigError, match="unknown option 'vidoe' of show"):
        rl_lab.show(run, vidoe="x.mp4")
    with pytest.raises(LabError, match="was trained on CartPole-v1, not on python/CartPoleEnv-v0"):
        rl_lab.show(run, env=CartPoleEnv, video=str(tmp_path / "x.mp4"))


def test_the_warning_of_cut_episodes_counts_them(capsys: pytest.CaptureFixture[str]):
    player: Any = SimpleNamespace(max_steps=1_000)
    print_cut(ShowResult([20.0, 7.0], num_frames=30, num_cut=1), player)
    assert capsys.readouterr().out == "WARNING: 1 of 2 episodes cut at 1,000 steps (--max-steps)\n"
