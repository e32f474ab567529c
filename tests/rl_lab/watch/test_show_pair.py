"""Two agents side by side: the same games as alone, the waiting of the one whose game ends first, and bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rl_lab import api
from rl_lab.cli.main import main
from rl_lab.experiment.run import Run
from rl_lab.watch.controls import Controls
from rl_lab.watch.player import Player, PlayerStep
from rl_lab.watch.rendered_env import RenderedEnv
from rl_lab.watch.show_pair import show_pair
from rl_lab.watch.watch_pair import common_seed


class RecordingSink:
    """Keep the frames; the viewer may act at a frame."""

    def __init__(self, viewer: Any = lambda frames: None) -> None:
        self.frames: list[NDArray[np.uint8]] = []
        self.is_closed = False
        self.viewer = viewer

    def show(self, frame: NDArray[np.uint8], player_step: PlayerStep) -> None:
        self.frames.append(frame)
        self.viewer(self.frames)

    def poll(self) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def runs(train: Any) -> list[Run]:
    """Return two short runs of CartPole whose agents differ."""
    settings = {"steps": 60, "learning_starts": 20, "eval_every": 0, "eval_episodes": 1}
    return [train(seed=seed, **settings) for seed in (1, 2)]


def make_player(run: Run, epsilon: float) -> Player:
    return Player(api.load_agent(run), run.config, RenderedEnv(run.env_spec), epsilon=epsilon, seed=7)


def lengths_alone(run: Run, epsilon: float, num_games: int) -> list[int]:
    """Return the agent steps of the first games that an agent plays alone."""
    player = make_player(run, epsilon)
    lengths: list[int] = []
    for step in player:
        if step.is_last:
            lengths.append(step.step_number)
        if len(lengths) == num_games:
            break
    player.env.close()
    return lengths


def test_both_play_the_games_that_they_play_alone_and_the_first_one_waits(runs: list[Run]):
    epsilons = (0.1, 0.9)
    sink = RecordingSink()
    players = [make_player(run, epsilon) for run, epsilon in zip(runs, epsilons, strict=True)]
    results = show_pair(players, sink, titles=lambda: ["first", "second"], episodes=3)
    alone = [lengths_alone(run, epsilon, 3) for run, epsilon in zip(runs, epsilons, strict=True)]
    assert alone[0] != alone[1]
    assert [result.scores for result in results] == alone, "CartPole gives 1 for each step"
    assert len(sink.frames) == sum(max(pair) + 1 for pair in zip(*alone, strict=True))
    assert sink.is_closed
    assert {frame.shape for frame in sink.frames} == {(640, 1760, 3)}
    shorter = int(alone[1][0] < alone[0][0])
    halves = [frame[:, 880 * shorter : 880 * (shorter + 1)] for frame in sink.frames]
    first, last = alone[shorter][0], alone[1 - shorter][0]
    assert all(np.array_equal(halves[first], halves[index]) for index in range(first, last + 1))
    assert not np.array_equal(halves[first], halves[first - 1])


def test_the_viewer_restarts_and_quits(runs: list[Run]):
    controls = Controls()
    controls.speed = 8.0

    def act(frames: list[Any]) -> None:
        controls.restart = len(frames) == 4
        controls.quit = len(frames) == 9

    sink = RecordingSink(act)
    results = show_pair(
        [make_player(run, 0.5) for run in runs], sink, titles=lambda: ["a", "b"], episodes=None, controls=controls
    )
    assert [result.scores for result in results] == [[], []]
    assert len(sink.frames) == 9
    for index in range(4):
        assert np.array_equal(sink.frames[index], sink.frames[4 + index])


def test_common_seed_is_that_of_no_training():
    assert common_seed(3, [1, 2]) == 3
    assert common_seed(1, [1, 2]) == common_seed(1, [2, 1]) not in (1, 2)


def test_command_writes_a_video_of_two_runs(runs: list[Run], tmp_path: Path, capsys: Any):
    video = tmp_path / "pair.mp4"
    paths = [str(run.path) for run in runs]
    main(["watch", *paths, "--video", str(video), "--seed", "1", "--max-steps", "15"])
    capture = cv2.VideoCapture(str(video))
    assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) == 1760
    output = capsys.readouterr().out
    for path in paths:
        assert f"dqn of {path}: score " in output
    assert output.count("pair.mp4: ") == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--terminal"], "--terminal shows one run"),
        (["--video", "x.mp4", "--follow"], "--follow shows one run"),
        (["--video", "x.avi"], "must end in"),
    ],
)
def test_bad_options_are_one_line(runs: list[Run], args: list[str], message: str, capsys: Any):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["watch", *(str(run.path) for run in runs), *args])
    assert stop.value.code == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.count("\n") == 0


def test_runs_of_different_games_are_refused(runs: list[Run], capsys: Any):
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["watch", "demo", str(runs[0].path), "--video", "x.mp4"])
    error = capsys.readouterr().err
    assert "play different games: Pong" in error
    assert "CartPole-v1" in error
