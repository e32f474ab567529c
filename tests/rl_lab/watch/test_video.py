"""Video files: what cannot be is refused."""

import pytest

from rl_lab.errors import LabError
from rl_lab.watch.video import Video


def test_a_video_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(LabError, match=r"must end in \.(mp4|webm)"):
        Video(tmp_path / "game.gif", 15)
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="cannot be written"):
        Video(tmp_path / "file" / "game.mp4", 15)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(LabError, match="cannot be written"):
        Video(tmp_path / "folder.mp4", 15)
