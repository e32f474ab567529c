"""Tests of the video sink, with PyAV and with OpenCV, and of video excerpts."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from rl_lab.errors import LabError
from rl_lab.watch.recorded_video import RecordedVideo
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
    with pytest.raises(LabError, match=r"the video .*/game\.avi must end in \.(mp4, \.gif, \.webp or \.)?webm"):
        VideoSink(tmp_path / "game.avi", 15)
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="cannot be written"):
        VideoSink(tmp_path / "file" / "game.mp4", 15)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(LabError, match="cannot be written"):
        VideoSink(tmp_path / "folder.mp4", 15)


@pytest.mark.skipif(SUFFIX != ".mp4", reason="animated pictures need PyAV")
@pytest.mark.parametrize(("suffix", "tolerance"), [(".gif", 4), (".webp", 12)])
@pytest.mark.parametrize(("fps", "interval"), [(15, 1), (60, 2)])
def test_animated_pictures_have_half_the_size_and_the_speed_of_the_game(tmp_path, suffix, tolerance, fps, interval):
    """OpenCV decodes the file by other libraries. A square in a new colour appears after the palette is chosen."""
    path = tmp_path / f"game{suffix}"
    video = VideoSink(path, fps)
    for index in range(200):
        frame = np.full((64, 96, 3), (24, 26, 31), np.uint8)
        frame[:32, : 48 if index % 40 < 20 else 96] = (229, 152, 64)
        if index >= 160:
            frame[32:, :48] = (0, 85, 255)
        video.show(frame)
    video.close()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    is_read, animation = cv2.imreadanimation(str(path))
    assert is_read
    assert animation.loop_count == 0, "it repeats"
    assert animation.frames[0].shape[:2] == (32, 48)
    seconds = sum(animation.durations) / 1000
    assert seconds == pytest.approx(200 / fps, rel=0.05)
    end = 0.0
    for picture, duration in zip(animation.frames, animation.durations, strict=True):
        middle = end + duration / 2
        end += duration
        index = int(middle / 1000 * fps) // interval * interval
        right = (229, 152, 64) if index % 40 >= 20 else (24, 26, 31)
        below = (0, 85, 255) if index >= 160 else (24, 26, 31)
        assert picture[8, 12, 2::-1].tolist() == pytest.approx((229, 152, 64), abs=tolerance)
        assert picture[8, 36, 2::-1].tolist() == pytest.approx(right, abs=tolerance)
        assert picture[24, 12, 2::-1].tolist() == pytest.approx(below, abs=tolerance)


def test_notebooks_show_animated_pictures_as_pictures(tmp_path):
    (tmp_path / "game.gif").write_bytes(b"GIF89a")
    html = RecordedVideo.read(tmp_path / "game.gif", [1.0])._repr_html_()
    assert html == '<img style="max-width: 100%" src="data:image/gif;base64,R0lGODlh">'


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
