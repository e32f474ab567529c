"""A show of every agent, whole games and the right number of pictures, and the command's own words."""

import dataclasses
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from rl_lab import api
from rl_lab.cli.main import main
from rl_lab.experiment.run import DEMO
from rl_lab.watch.game import Game
from rl_lab.watch.player import Player
from rl_lab.watch.show import picture_rate, show
from rl_lab.watch.sinks.video import Video


def film(run, path, *, env_spec=None, smooth=False, episodes=1, **options):
    player = Player(api.load(run), run.config, Game(env_spec or run.env_spec), seed=2, **options)
    video = Video(path, picture_rate(player, smooth=smooth))
    return show(player, video, title=lambda: "title", episodes=episodes, smooth=smooth), video.fps


@pytest.mark.parametrize("agent", ["dqn", "rainbow", "drqn", "reinforce", "tabular_sarsa", "sb3_ppo"])
def test_a_video_of_every_agent(agent, tmp_path):
    """The right rate, length and number of pictures; none is blank, and they move."""
    av = pytest.importorskip("av")
    env = "RandomWalk-v0" if agent.startswith("tabular") else "CartPole-v1"
    settings = {"env": env, "steps": 300, "eval_every": 0, "eval_episodes": 1, "wandb": "disabled", "quiet": True}
    run = api.train(agent, **settings, runs_dir=str(tmp_path))
    shown, fps = film(run, tmp_path / "game.mp4", epsilon=0.5)
    with av.open(str(tmp_path / "game.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == (4 if env.startswith("Random") else 50)
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert float(stream.duration * stream.time_base) == pytest.approx(shown.pictures / fps, abs=0.05)
    assert len(pictures) == shown.pictures
    assert all(picture.std() > 5 for picture in pictures)
    changed = [np.abs(a.astype(int) - b).max() > 20 for a, b in pairwise(pictures)]
    assert np.mean(changed) > 0.9


@pytest.mark.parametrize(("smooth", "fps"), [(False, 15), (True, 60)])
def test_an_atari_game_at_its_own_speed(demo, tmp_path, smooth, fps):
    """15 decisions a second, or all 60 frames: the same seconds."""
    av = pytest.importorskip("av")
    short = dataclasses.replace(demo.env_spec, max_frames=600)
    shown, _ = film(demo, tmp_path / "game.mp4", env_spec=short, smooth=smooth, epsilon=1.0)
    with av.open(str(tmp_path / "game.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == fps
        assert stream.frames == shown.pictures
        assert float(stream.duration * stream.time_base) == pytest.approx(shown.pictures / fps, abs=0.1)
    assert shown.pictures == pytest.approx(600 / (1 if smooth else 4), abs=10)


def lab(*args, cwd, **env):
    command = [sys.executable, "-m", "rl_lab", *args]
    return subprocess.run(command, cwd=cwd, env=env or None, capture_output=True, text=True, timeout=120)


def test_the_demo_is_small_and_says_how_it_came_about():
    files = [path for path in DEMO.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 4e6
    said = (DEMO / "README.md").read_text()
    assert "python -m rl_lab train dqn --env Pong --seed" in said
    assert "whole games" in said


@pytest.mark.slow
def test_the_demo_plays_into_a_video(tmp_path):
    """From anywhere, without a run, and as well as it says."""
    done = lab("watch", "demo", "--video", "demo.mp4", "--seed", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split("score ")[1].split()[0]) >= 17
    assert (tmp_path / "demo.mp4").stat().st_size > 50_000


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--web", "--terminal"], "it is shown in one place at a time, not in web and terminal"),
        (["--saliency", "--occlusion"], "either --saliency or --occlusion"),
        (["--follow", "--checkpoint", "best"], "--follow plays with the newest checkpoint; leave --checkpoint out"),
        (["--checkpoint", "12"], "holds no checkpoint '12' yet"),
        (["--web", "--port", "70000"], "port is 70000; it must be from 0 to 65535"),
        (["--web", "--host", "nowhere.invalid"], "the page cannot be served on nowhere.invalid"),
        (["--episodes", "0"], "episodes is 0; it must be at least 1"),
        (["--video", "game.avi"], "must end in"),
    ],
)
def test_what_cannot_be_is_one_line(args, words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["watch", "demo", *args])
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert words in said
    assert len(said.splitlines()) == 1


def test_saliency_needs_pictures(train, capsys):
    run = train(steps=300, eval_every=0, eval_episodes=1)
    with pytest.raises(SystemExit) as stop:
        main(["watch", str(run), "--saliency", "--video", "x.mp4"])
    assert stop.value.code == 2
    assert "dqn on CartPole-v1 has no grad-cam map: that needs pictures" in capsys.readouterr().err
