"""A video file of what is watched, at the speed it was played: H.264 by PyAV, or VP8 by OpenCV where PyAV is missing."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rl_lab.errors import LabError
from rl_lab.watch.game import Screen
from rl_lab.watch.player import Moment

av: Any
try:
    import av
except ImportError:  # no wheel for this platform
    av = None
SUFFIX = ".mp4" if av else ".webm"


class Video:
    """Takes pictures of one size, and is a whole file when it is closed."""

    def __init__(self, path: Path, fps: float) -> None:
        """`path` ends in .mp4, or in .webm where PyAV is missing. Raises LabError where it cannot be written."""
        if path.suffix != SUFFIX:
            raise LabError(f"the video {path} must end in {SUFFIX}" + ("" if av else ": PyAV is not installed"))
        self.path, self.fps = path, fps
        self.container = self.writer = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("wb").close()  # the codecs open it only at the first picture
            if av:
                self.container = av.open(str(path), "w")
                self.stream = self.container.add_stream("h264", rate=Fraction(fps).limit_denominator(1000))
                self.stream.pix_fmt = "yuv420p"  # what every player shows
                self.stream.options = {"crf": "20", "preset": "veryfast"}
        except (OSError, ValueError) as error:
            raise LabError(f"the video {path} cannot be written: {error}") from error

    def show(self, picture: Screen, moment: Moment | None = None) -> None:
        """One more picture, u8[H, W, 3] RGB, H and W even."""
        height, width = picture.shape[:2]
        if self.container is not None:
            if not self.stream.codec_context.is_open:
                self.stream.width, self.stream.height = width, height
            for packet in self.stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                self.container.mux(packet)
            return
        if self.writer is None:
            code = cv2.VideoWriter.fourcc(*"VP80")
            self.writer = cv2.VideoWriter(str(self.path), code, self.fps, (width, height))
            if not self.writer.isOpened():
                raise LabError(f"the video {self.path} cannot be written: OpenCV has no VP8 here")
        self.writer.write(np.ascontiguousarray(picture[:, :, ::-1]))

    def idle(self) -> None:
        pass

    def close(self) -> None:
        if self.container is not None:
            for packet in self.stream.encode():
                self.container.mux(packet)
            self.container.close()
        elif self.writer is not None:
            self.writer.release()


def beginning(path: Path, seconds: float) -> bytes:
    """The first so many seconds of a video file, as a file of its kind; all of it where PyAV is missing.

    Raises LabError where it cannot be read, as one that is still being made.
    """
    if not av:
        return path.read_bytes()
    cut = io.BytesIO()
    try:
        with av.open(str(path)) as whole, av.open(cut, "w", format=path.suffix[1:]) as part:
            (stream,) = whole.streams.video
            copied = part.add_stream_from_template(stream)
            for packet in whole.demux(stream):
                if packet.dts is None or packet.dts * packet.time_base >= seconds:  # the last one is empty
                    break
                packet.stream = copied
                part.mux(packet)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise LabError(f"the video {path} cannot be read: {error}") from error
    return cut.getvalue()
