"""A sink that writes a video file or an animated picture.

The suffix of the file decides: .mp4 (H.264), .gif or .webp by PyAV, and .webm (VP8) by OpenCV, also without PyAV.
"""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import cv2

from rl_lab.errors import LabError
from rl_lab.watch.images import RgbImage, to_bgr
from rl_lab.watch.player import PlayerStep
from rl_lab.watch.sinks.animation import AnimationWriter

av: Any
try:
    import av
except ImportError:  # PyAV has no wheel for this platform
    av = None
SUFFIX = ".mp4" if av else ".webm"
"""Suffix of the videos that the lab names itself."""

SUFFIXES = (".mp4", ".gif", ".webp", ".webm")
"""Suffixes of the files that can be written; without PyAV only .webm."""


ENCODER_ERRORS: tuple[type[Exception], ...] = (OSError, ValueError, cv2.error)
if av:
    ENCODER_ERRORS = (*ENCODER_ERRORS, av.FFmpegError)


class VideoSink:
    """Write frames of one size to a video file.

    The frames go to a temporary file beside it. `close` gives this file its name, so a previous file of the name stays
    until then. Without frames there is no file.
    """

    def __init__(self, path: Path, fps: float) -> None:
        """Create the file.

        Args:
            path: The file, which ends in one of SUFFIXES. Its folder is created.
            fps: Frames per second.

        Raises:
            LabError: The file has another suffix or cannot be written.
        """
        check_video_suffix(path)
        self.path = path
        self.fps = fps
        self.num_frames = 0
        self._temporary = path.with_name(f".{path.stem}.new{path.suffix}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(f"{path} is a folder")
            # Fail now if the file cannot be written: the encoders open it at the first frame.
            self._temporary.open("wb").close()
            self.writer = _make_writer(self._temporary, fps)
        except ENCODER_ERRORS as error:
            raise self._failed(error) from error

    def show(self, frame: RgbImage, player_step: PlayerStep | None = None) -> None:
        """Append a frame u8[H, W, 3]. H and W are even and the same for all frames.

        Raises:
            LabError: The frame cannot be written.
        """
        try:
            self.writer.write(frame)
        except ENCODER_ERRORS as error:
            raise self._failed(error) from error
        self.num_frames += 1

    def poll(self) -> None:
        """Do nothing: a file has no input."""

    def close(self) -> None:
        """Write the remaining frames and give the file its name. Raises LabError if the file cannot be written."""
        if not self.num_frames:
            self._temporary.unlink(missing_ok=True)
            return
        try:
            self.writer.close()
            self._temporary.replace(self.path)
        except ENCODER_ERRORS as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> LabError:
        """Remove the temporary file, and return the error to raise."""
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)
        self.num_frames = 0
        return LabError(f"the video {self.path} cannot be written: {error}")


def check_video_suffix(path: Path) -> None:
    """Raise LabError unless the suffix of a path is that of a video or an animated picture."""
    if not av and path.suffix != ".webm":
        raise LabError(f"the video {path} must end in .webm: PyAV is not installed")
    if path.suffix not in SUFFIXES:
        raise LabError(f"the video {path} must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")


class _VideoWriter(Protocol):
    """Encoder of a video file."""

    def write(self, frame: RgbImage) -> None: ...

    def close(self) -> None: ...


def _make_writer(path: Path, fps: float) -> _VideoWriter:
    """Return the encoder for the suffix of a path."""
    if path.suffix == ".webm":
        return _OpenCvWriter(path, fps)
    if path.suffix == ".mp4":
        return _PyAvWriter(path, fps)
    return AnimationWriter(av, path, fps)


class _PyAvWriter:
    """H.264 in an MP4 file, encoded by PyAV."""

    def __init__(self, path: Path, fps: float) -> None:
        self.container = av.open(str(path), "w")
        self.stream = self.container.add_stream("h264", rate=Fraction(fps).limit_denominator(1000))
        self.stream.pix_fmt = "yuv420p"  # the pixel format that every video player supports
        self.stream.options = {"crf": "20", "preset": "veryfast"}

    def write(self, frame: RgbImage) -> None:
        if not self.stream.codec_context.is_open:
            self.stream.height, self.stream.width = frame.shape[:2]
        self._write_packets(self.stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))

    def close(self) -> None:
        self._write_packets(self.stream.encode())
        self.container.close()

    def _write_packets(self, packets: Any) -> None:
        for packet in packets:
            self.container.mux(packet)


class _OpenCvWriter:
    """VP8 in a WebM file, encoded by OpenCV."""

    def __init__(self, path: Path, fps: float) -> None:
        self.path = path
        self.fps = fps
        self.writer: cv2.VideoWriter | None = None

    def write(self, frame: RgbImage) -> None:
        if self.writer is None:
            self.writer = self._open(frame)
        self.writer.write(to_bgr(frame))

    def close(self) -> None:
        if self.writer is not None:
            self.writer.release()

    def _open(self, frame: RgbImage) -> cv2.VideoWriter:
        """Open the file for frames of the size of the first one."""
        height, width = frame.shape[:2]
        writer = cv2.VideoWriter(str(self.path), cv2.VideoWriter.fourcc(*"VP80"), self.fps, (width, height))
        if not writer.isOpened():
            raise LabError(f"the video {self.path} cannot be written: this build of OpenCV has no VP8 encoder")
        return writer
