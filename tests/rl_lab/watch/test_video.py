"""Video files: without PyAV too; what cannot be is refused."""

import cv2
import numpy as np
import pytest

from rl_lab.errors import LabError
from rl_lab.watch.sinks.video import SUFFIX, Video, beginning


def test_a_video_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(LabError, match=r"must end in \.(mp4|webm)"):
        Video(tmp_path / "game.gif", 15)
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="cannot be written"):
        Video(tmp_path / "file" / "game.mp4", 15)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(LabError, match="cannot be written"):
        Video(tmp_path / "folder.mp4", 15)


@pytest.mark.skipif(SUFFIX != ".mp4", reason="PyAV is missing: all of a file is its beginning")
@pytest.mark.parametrize(("seconds", "pictures"), [(2, 30), (60, 75)])
def test_a_beginning_is_the_first_seconds(tmp_path, seconds, pictures):
    video = Video(tmp_path / "game.mp4", 15)
    for level in range(75):
        video.show(np.full((64, 96, 3), 3 * level, np.uint8))
    video.close()
    (tmp_path / "part.mp4").write_bytes(beginning(tmp_path / "game.mp4", seconds))
    read, levels = cv2.VideoCapture(str(tmp_path / "part.mp4")), []
    while (got := read.read())[0]:
        levels.append(int(got[1][32, 48, 0]))
    assert pictures <= len(levels) <= pictures + 3, "pictures come in another order than they are shown in"
    assert levels == pytest.approx([3 * level for level in range(len(levels))], abs=12)
    (tmp_path / "torn.mp4").write_bytes((tmp_path / "game.mp4").read_bytes()[:400])
    with pytest.raises(LabError, match="cannot be read"):
        beginning(tmp_path / "torn.mp4", seconds)


def test_without_pyav_it_is_a_webm_of_opencv(tmp_path, monkeypatch):
    monkeypatch.setattr("rl_lab.watch.sinks.video.av", None)
    monkeypatch.setattr("rl_lab.watch.sinks.video.SUFFIX", ".webm")
    with pytest.raises(LabError, match=r"must end in \.webm: PyAV is not installed"):
        Video(tmp_path / "game.mp4", 15)
    video = Video(tmp_path / "game.webm", 15)
    for level in range(0, 250, 10):
        picture = np.full((64, 96, 3), level, np.uint8)
        picture[:32] = 255 - level
        video.show(picture)
    video.close()
    read = cv2.VideoCapture(str(tmp_path / "game.webm"))
    assert read.get(cv2.CAP_PROP_FPS) == 15
    levels = []
    while (got := read.read())[0]:
        levels.append(int(got[1][48, 48, 0]))
    assert levels == pytest.approx(range(0, 250, 10), abs=12)
