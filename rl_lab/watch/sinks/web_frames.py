"""The frames of the web page as JPEG images, each encoded once for all viewers."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import cv2

from rl_lab.watch.images import RgbImage, to_bgr

BOUNDARY = "picture-6f1c09d2a57b4e83"  # separates the parts of the multipart response; no image contains it
PART_START = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n\r\n".encode()
JPEG_QUALITY = 88


class NumberedFrame(NamedTuple):
    """A frame, and what the page shows below it."""

    number: int  # counts the frames from 1; 0 before the first frame
    image: RgbImage | None  # None before the first frame
    game_state: dict[str, Any]  # JSON-compatible


class FrameEncoder:
    """Encode frames for any number of viewers. All calls are made in one event loop."""

    def __init__(self) -> None:
        self.number = 0  # of the frame that `part` belongs to
        self.part: asyncio.Task[bytes] | None = None

    async def jpeg_part(self, frame: NumberedFrame) -> bytes:
        """Return a frame as a part of the multipart response. Viewers of one frame share one encoding."""
        assert frame.image is not None
        if self.part is None or frame.number != self.number:
            self.number = frame.number
            self.part = asyncio.create_task(asyncio.to_thread(encode_part, frame.image))
        return await asyncio.shield(self.part)  # a viewer that leaves must not cancel the encoding of the others


def encode_part(image: RgbImage) -> bytes:
    """Return an image as one part of the multipart response, with the beginning of the next part at its end.

    A browser shows a part when it has received the headers of the next one. Sending these headers at once avoids a
    delay of one frame; so they cannot hold a length.
    """
    _, data = cv2.imencode(".jpg", to_bgr(image), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return data.tobytes() + b"\r\n" + PART_START
