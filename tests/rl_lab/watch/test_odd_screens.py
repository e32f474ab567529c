"""Tests of environments whose screens are odd: what can be converted is shown, and nothing else costs a run."""

from pathlib import Path
from typing import Any

import cv2
import gymnasium
import numpy as np
import pytest

import rl_lab
from rl_lab.cli.main import main
from rl_lab.experiment.run import Run
from rl_lab.watch.images import RenderError, rendered_to_rgb

RED = np.zeros((5, 6, 3), np.uint8)
RED[..., 0] = 200
GREY = np.full((5, 6), 100, np.uint8)


@pytest.mark.parametrize(
    ("rendered", "expected"),
    [
        (RED, RED),
        (GREY, np.full((5, 6, 3), 100)),
        (GREY[:, :, None], np.full((5, 6, 3), 100)),
        (GREY > 0, np.full((5, 6, 3), 255)),
        (np.dstack([RED, np.zeros((5, 6), np.uint8)]), RED),
        (RED.transpose(2, 0, 1), RED),
        ([RED * 0, RED], RED),
        ((RED,), RED),
        (np.stack([RED * 0, RED]), RED),
        (RED.tolist(), RED),
        (RED / 255, RED),
        (RED.astype(np.float32), RED),
        (RED.astype(np.int64) - 1, RED - (RED > 0)),
        (np.where(RED > 0, np.inf, np.nan), np.where(RED > 0, 255, 0)),
    ],
    ids="rgb grey grey1 bool rgba first list tuple stack lists float01 float255 int64 infinite".split(),
)
def test_image_is_converted(rendered: Any, expected: np.ndarray):
    image = rendered_to_rgb(rendered)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert np.array_equal(image, expected)


def test_large_image_loses_rows_and_columns():
    assert rendered_to_rgb(np.zeros((5000, 3000, 3), np.uint8)).shape == (1667, 1000, 3)
    assert rendered_to_rgb(np.zeros((1, 9000, 3), np.uint8)).shape == (1, 1800, 3)


@pytest.mark.parametrize(
    ("rendered", "message"),
    [
        (None, r"returned None; it must return an image, such as uint8\[H, W, 3\]"),
        ("a text", "returned a str"),
        ({"image": RED}, "returned a dict"),
        ([], "returned an empty list"),
        ([None], "returned a list"),
        ([[1, 2], [3]], "returned a list"),
        (np.zeros(5), r"returned an array of shape \[5\]"),
        (np.zeros((4, 6, 2)), r"returned an array of shape \[4, 6, 2\]"),
        (np.zeros((0, 6, 3)), r"returned an array of shape \[0, 6, 3\]"),
        (np.zeros((0, 4, 6, 3)), r"returned an array of shape \[0, 4, 6, 3\]"),
    ],
)
def test_anything_else_is_one_error(rendered: Any, message: str):
    with pytest.raises(RenderError, match=message):
        rendered_to_rgb(rendered)


def odd_env(screen: str, **settings: Any) -> str:
    """Register an environment, and return its id."""
    name = f"Odd-{screen}-v0"
    if name not in gymnasium.registry:
        gymnasium.register(name, "toy_envs:OddScreens", kwargs={"screen": screen, **settings})
    return name


def train_short(tmp_path: Path, env: str, **settings: Any) -> Run:
    """Train a short run that prints."""
    short: dict[str, Any] = {"steps": 300, "eval_every": 0, "eval_episodes": 1, "learning_starts": 100, "hidden": 4}
    return rl_lab.train("dqn", env=env, wandb="disabled", runs_dir=str(tmp_path / "runs"), **{**short, **settings})


SHOWN = ("grey", "rgba", "list", "float", "channels_first", "growing", "thin", "huge")


@pytest.mark.parametrize("screen", SHOWN)
def test_training_records_a_video_of_an_odd_screen(screen: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = train_short(tmp_path, odd_env(screen), video_every=200)
    assert "WARNING: no video" not in capsys.readouterr().out
    (video,) = (run.path / "videos").glob("*")
    assert cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FRAME_COUNT) == 13


REFUSED = {
    "raises": "cannot be shown: render fails: RuntimeError: No available video device (",
    "late": "cannot be shown: render fails: RuntimeError: No available video device (",
    "exits": "cannot be shown: render fails: it called sys.exit(0) (",
    "none": "cannot be shown: render returned None; it must return an image, such as uint8[H, W, 3]",
    "empty": "cannot be shown: render returned an array of shape [0, 60, 3]",
    "flat": "cannot be shown: render returned an array of shape [7]",
}


@pytest.mark.parametrize("screen", REFUSED)
def test_screen_that_cannot_be_shown_costs_no_run(screen: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = train_short(tmp_path, odd_env(screen), video_every=100)
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("WARNING: no video")]
    assert len(warnings) == 1, "three videos are due, and the reason is printed once"
    assert f"at step 104: Odd-{screen}-v0 {REFUSED[screen]}" in warnings[0]
    assert list((run.path / "videos").glob("*")) == []
    assert run.metrics()[-1]["global_step"] >= 300


@pytest.mark.parametrize("screen", REFUSED)
def test_watch_reports_it_in_one_line_and_leaves_no_empty_file(
    screen: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    run = train_short(tmp_path, odd_env(screen), quiet=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "game.mp4").write_bytes(b"an earlier video")
    for args in (["--video", "game.mp4"], ["--terminal"], ["--web", "--port", "0"]):
        with pytest.raises(SystemExit) as stop:
            main(["watch", str(run), *args])
        error = capsys.readouterr().err
        assert stop.value.code == 2
        assert REFUSED[screen] in error
        assert len(error.splitlines()) == 1, error
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["game.mp4", "runs"]
    if screen != "late":
        assert (tmp_path / "game.mp4").read_bytes() == b"an earlier video"


def test_any_error_of_a_video_costs_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise cv2.error("no\nmemory")

    monkeypatch.setattr("rl_lab.watch.show_games.render_frame", fail)
    train_short(tmp_path, odd_env("grey"), video_every=200)
    assert "WARNING: no video at step 200: error: no memory" in capsys.readouterr().out


@pytest.mark.parametrize("fps", [0, -3, float("nan"), float("inf"), "fast", None, [1]])
def test_invalid_frame_rate_is_replaced(fps: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("toy_envs.OddScreens.metadata", {"render_modes": ["rgb_array"], "render_fps": fps})
    run = train_short(tmp_path, odd_env("grey"), quiet=True, video_every=200)
    (video,) = (run.path / "videos").glob("*")
    assert cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FPS) == 15
