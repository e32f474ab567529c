"""A video of episodes in memory, which a notebook shows."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rl_lab.errors import LabError

MIME_TYPES = {".mp4": "video/mp4", ".webm": "video/webm", ".gif": "image/gif", ".webp": "image/webp"}


@dataclass(frozen=True)
class RecordedVideo:
    """A video of episodes. As the last value of a notebook's cell, it is shown there."""

    data: bytes = field(repr=False)
    """The content of the file."""
    suffix: str
    """.mp4, .gif, .webp or .webm."""
    scores: list[float]
    """Scores of the episodes: undiscounted sums of raw rewards."""

    @classmethod
    def read(cls, path: Path, scores: list[float]) -> RecordedVideo:
        """Return the video in a file."""
        return cls(path.read_bytes(), path.suffix, scores)

    def save(self, path: str | Path) -> None:
        """Write the video to a file. Raise LabError if its suffix is wrong, or if it cannot be written."""
        path = Path(path)
        if path.suffix != self.suffix:
            raise LabError(f"the video {path} must end in {self.suffix}")
        try:
            path.write_bytes(self.data)
        except OSError as error:
            raise LabError(f"the video {path} cannot be written: {error.strerror}") from error

    def frames(self) -> list[NDArray[np.uint8]]:
        """Return the frames as RGB images, uint8 [height, width, 3] each.

        Raises:
            LabError: The package av is not installed.
        """
        try:
            import av
        except ImportError as error:
            raise LabError("the frames of a video need the package av, which is not installed") from error
        with av.open(io.BytesIO(self.data), "r") as container:
            return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]

    def _repr_html_(self) -> str:
        """Return the video as HTML that holds its whole content."""
        mime_type = MIME_TYPES[self.suffix]
        source = f"data:{mime_type};base64,{base64.b64encode(self.data).decode()}"
        if mime_type.startswith("image/"):
            return f'<img style="max-width: 100%" src="{source}">'
        return f'<video controls autoplay loop muted style="max-width: 100%" src="{source}"></video>'
