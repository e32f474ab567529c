"""Tests of showing games: videos of all kinds of agents, and the errors of the command `watch`."""

import dataclasses
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rl_lab import api
from rl_lab.cli.main import main
from rl_lab.experiment.run import Run
from rl_lab.watch.controls import Controls
from rl_lab.watch.images import RgbImage
from rl_lab.watch.player import Player, PlayerStep
from rl_lab.watch.rendered_env import RenderedEnv
from rl_lab.watch.show_games import ShowResult, frame_rate, show_games
from rl_lab.watch.sinks.video import VideoSink


def write_video(
    run: Run, path: Path, *, env_spec=None, smooth: bool = False, epsilon: float
) -> tuple[ShowResult, float]:
    """Write a video of one game. Returns the result and the frames per second."""
    env = RenderedEnv(env_spec or run.env_spec)
    player = Player(api.load_agent(run), run.config, env, seed=2, epsilon=epsilon)
    video = VideoSink(path, frame_rate(player, smooth=smooth))
    return show_games(player, video, title=lambda: "title", episodes=1, smooth=smooth), video.fps


@pytest.mark.parametrize(
    "agent",
    [
        "dqn",
        "rainbow",
        "qr_dqn",
        "drqn",
        "reinforce",
        "ppo",
        "recurrent_ppo",
        "pqn",
        "tabular_sarsa",
        "sb3_ppo",
        "sb3_recurrent_ppo",
    ],
)
def test_video_has_the_right_rate_length_and_moving_frames(agent, tmp_path):
    av = pytest.importorskip("av")
    env = "RandomWalk-v0" if agent.startswith("tabular") else "CartPole-v1"
    settings: dict[str, Any] = {"steps": 300, "eval_every": 0, "eval_episodes": 1, "wandb": "disabled"}
    run = api.train(agent, env=env, quiet=True, **settings, runs_dir=str(tmp_path))
    result, fps = write_video(run, tmp_path / "game.mp4", epsilon=0.5)
    with av.open(str(tmp_path / "game.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == (4 if env == "RandomWalk-v0" else 50)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert float(stream.duration * stream.time_base) == pytest.approx(result.num_frames / fps, abs=0.05)
    assert len(frames) == result.num_frames
    assert all(frame.std() > 5 for frame in frames)
    changed = [np.abs(a.astype(int) - b).max() > 20 for a, b in pairwise(frames)]
    assert np.mean(changed) > 0.9


@pytest.mark.parametrize(("smooth", "fps"), [(False, 15), (True, 60)])
def test_video_of_an_atari_game_has_its_own_speed(demo, tmp_path, smooth, fps):
    """15 actions or 60 screens per second: both videos take the same time."""
    av = pytest.importorskip("av")
    short = dataclasses.replace(demo.env_spec, max_frames=600)
    result, _ = write_video(demo, tmp_path / "game.mp4", env_spec=short, smooth=smooth, epsilon=1.0)
    with av.open(str(tmp_path / "game.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == fps
        assert stream.frames == result.num_frames
        assert float(stream.duration * stream.time_base) == pytest.approx(result.num_frames / fps, abs=0.1)
    assert result.num_frames == pytest.approx(600 / (1 if smooth else 4), abs=10)


class KeyPressSink:
    """A sink that records which steps are shown. In the third frame, it pauses and presses "s" and "r" at once."""

    def __init__(self, controls: Controls) -> None:
        self.controls = controls
        self.step_numbers: list[int] = []

    def show(self, frame: RgbImage, player_step: PlayerStep) -> None:
        self.step_numbers.append(player_step.step_number)

    def poll(self) -> None:
        num_frames = len(self.step_numbers)
        if num_frames == 3:
            self.controls.paused = True
            self.controls.press("s")
            self.controls.press("r")
        elif num_frames == 4:
            self.controls.paused = False
        elif num_frames >= 6:
            self.controls.press("q")

    def close(self) -> None:
        pass


def test_restart_is_not_lost_if_a_redraw_is_requested_at_the_same_time(train):
    run = train(steps=300, eval_every=0, eval_episodes=1)
    player = Player(api.load_agent(run), run.config, RenderedEnv(run.env_spec), seed=2, epsilon=0)
    controls = Controls()
    controls.speed = 8.0
    sink = KeyPressSink(controls)
    result = show_games(player, sink, title=lambda: "title", episodes=None, controls=controls)
    assert sink.step_numbers == [0, 1, 2, 0, 1, 2]
    assert result.scores == []


@pytest.mark.slow
def test_watch_demo_writes_a_video_of_a_good_game(tmp_path):
    """In a folder without runs."""
    command = [sys.executable, "-m", "rl_lab", "watch", "demo", "--video", "demo.mp4", "--seed", "3"]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stderr
    assert float(finished.stdout.split("score ")[1].split()[0]) >= 17
    assert (tmp_path / "demo.mp4").stat().st_size > 50_000


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--web", "--terminal"], "choose one of --web, --terminal"),
        (["--saliency", "--occlusion"], "choose either --saliency or --occlusion"),
        (["--follow", "--checkpoint", "best"], "--follow plays with the newest checkpoint; remove --checkpoint"),
        (["--checkpoint", "12"], "no checkpoint '12'"),
        (["--web", "--port", "70000"], "port is 70000; it must be from 0 to 65535"),
        (["--web", "--host", "nowhere.invalid"], "the page cannot be served on nowhere.invalid"),
        (["--episodes", "0"], "episodes is 0; it must be at least 1"),
        (["--video", "game.avi"], "must end in"),
    ],
)
def test_bad_options_are_reported_in_one_line(args, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["watch", "demo", *args])
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert message in error
    assert len(error.splitlines()) == 1


def test_saliency_is_refused_without_image_observations(train, capsys):
    run = train(steps=300, eval_every=0, eval_episodes=1)
    with pytest.raises(SystemExit) as stop:
        main(["watch", str(run), "--saliency", "--video", "x.mp4"])
    assert stop.value.code == 2
    expected = "dqn on CartPole-v1 has no grad-cam map, which needs grey images as observations"
    assert expected in capsys.readouterr().err
