"""Tests of the video sink, with PyAV and with OpenCV, and of video excerpts."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from rl_lab.errors import LabError
from rl_lab.watch.sinks.video import SUFFIX, VideoSink
from rl_lab.watch.video_excerpt import read_video_excerpt


def read_frames(path: Path) -> list[np.ndarray]:
    """Return the frames of a video file."""
    video = cv2.VideoCapture(str(path))
    frames = []
    while True:
        is_read, frame = video.read()
        if not is_read:
            return frames
        frames.append(frame)


def test_video_sink_raises_if_the_file_cannot_be_written(tmp_path):
    with pytest.raises(LabError, match=r"must end in \.(mp4|webm)"):
        VideoSink(tmp_path / "game.gif", 15)
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="cannot be written"):
        VideoSink(tmp_path / "file" / "game.mp4", 15)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(LabError, match="cannot be written"):
        VideoSink(tmp_path / "folder.mp4", 15)


@pytest.mark.skipif(SUFFIX != ".mp4", reason="without PyAV an excerpt is the whole file")
@pytest.mark.parametrize(("seconds", "num_frames"), [(2, 30), (60, 75)])
def test_excerpt_contains_the_first_seconds(tmp_path, seconds, num_frames):
    video = VideoSink(tmp_path / "game.mp4", 15)
    for level in range(75):
        video.show(np.full((64, 96, 3), 3 * level, np.uint8))
    video.close()
    (tmp_path / "part.mp4").write_bytes(read_video_excerpt(tmp_path / "game.mp4", seconds))
    levels = [int(frame[32, 48, 0]) for frame in read_frames(tmp_path / "part.mp4")]
    assert num_frames <= len(levels) <= num_frames + 3, "packets are stored in another order than frames are shown"
    assert levels == pytest.approx([3 * level for level in range(len(levels))], abs=12)


@pytest.mark.skipif(SUFFIX != ".mp4", reason="without PyAV an excerpt is the whole file")
def test_excerpt_raises_if_the_file_is_incomplete(tmp_path):
    video = VideoSink(tmp_path / "game.mp4", 15)
    for level in range(75):
        video.show(np.full((64, 96, 3), 3 * level, np.uint8))
    video.close()
    (tmp_path / "torn.mp4").write_bytes((tmp_path / "game.mp4").read_bytes()[:400])
    with pytest.raises(LabError, match="cannot be read"):
        read_video_excerpt(tmp_path / "torn.mp4", 2)


def test_video_is_webm_without_pyav(tmp_path, monkeypatch):
    monkeypatch.setattr("rl_lab.watch.sinks.video.av", None)
    monkeypatch.setattr("rl_lab.watch.sinks.video.SUFFIX", ".webm")
    with pytest.raises(LabError, match=r"must end in \.webm: PyAV is not installed"):
        VideoSink(tmp_path / "game.mp4", 15)
    video = VideoSink(tmp_path / "game.webm", 15)
    for level in range(0, 250, 10):
        frame = np.full((64, 96, 3), level, np.uint8)
        frame[:32] = 255 - level
        video.show(frame)
    video.close()
    assert cv2.VideoCapture(str(tmp_path / "game.webm")).get(cv2.CAP_PROP_FPS) == 15
    levels = [int(frame[48, 48, 0]) for frame in read_frames(tmp_path / "game.webm")]
    assert levels == pytest.approx(range(0, 250, 10), abs=12)
