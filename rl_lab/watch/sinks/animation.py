"""Writers of animated pictures, GIF and WebP, which web pages and README files show as pictures. They need PyAV."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rl_lab.watch.images import RgbImage

MAX_FPS = 30  # browsers show GIF files with more frames a second too slowly
SHRINK = 2  # a side of a frame, divided by a side of the animation
WEBP_QUALITY = 70  # from 0 to 100
PALETTE_FRAMES = 60  # frames at the beginning whose colours the palette of a GIF file contains
COMMON_COLORS = 191  # most frequent colours in a palette; the others are evenly spaced, for colours that come later
BINS = 32  # bins of each channel in which colours are counted
TRANSPARENT = 255  # entry of a palette that the encoder uses for pixels which do not change


class AnimationWriter:
    """Write frames, at half their size, to a file of the format that its suffix names: .gif or .webp.

    Frames are left out if there are more than MAX_FPS a second.
    """

    def __init__(self, av: Any, path: Path, fps: float) -> None:
        """Create the file.

        Args:
            av: The module PyAV.
            path: The file.
            fps: Frames a second that `write` receives.
        """
        self.av = av
        self.is_gif = path.suffix == ".gif"
        self.interval = math.ceil(fps / MAX_FPS)  # every `interval`-th frame is written
        self.container = av.open(str(path), "w", options={"loop": "0"})  # 0: the animation repeats for ever
        rate = Fraction(fps / self.interval).limit_denominator(1000)
        self.stream = self.container.add_stream("gif" if self.is_gif else "libwebp_anim", rate=rate)
        self.stream.pix_fmt = "pal8" if self.is_gif else "yuv420p"
        if not self.is_gif:
            self.stream.options = {"quality": str(WEBP_QUALITY)}
        self.num_received = 0
        self._first_frames: list[RgbImage] = []  # of a GIF file, until the palette is known
        self._palette: _Palette | None = None

    def write(self, frame: RgbImage) -> None:
        """Append a frame u8[H, W, 3]."""
        self.num_received += 1
        if (self.num_received - 1) % self.interval:
            return
        height, width = frame.shape[:2]
        size = (max(width // SHRINK // 2 * 2, 2), max(height // SHRINK // 2 * 2, 2))  # even, as for H.264
        small = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
        if self.is_gif and self._palette is None:
            self._first_frames.append(small)
            if len(self._first_frames) == PALETTE_FRAMES:
                self._encode_first_frames()
            return
        self._encode(small)

    def close(self) -> None:
        """Write the remaining frames."""
        if self._first_frames:
            self._encode_first_frames()
        self._write_packets(self.stream.encode())
        self.container.close()

    def _encode_first_frames(self) -> None:
        """Choose the palette, and encode the frames that waited for it."""
        self._palette = _Palette(self._first_frames)
        for frame in self._first_frames:
            self._encode(frame)
        self._first_frames = []

    def _encode(self, frame: RgbImage) -> None:
        if not self.stream.codec_context.is_open:
            self.stream.height, self.stream.width = frame.shape[:2]
        if self._palette is None:
            video_frame = self.av.VideoFrame.from_ndarray(frame, format="rgb24")
        else:
            indices = self._palette.indices(frame)
            video_frame = self.av.VideoFrame.from_ndarray((indices, self._palette.argb), format="pal8")
        self._write_packets(self.stream.encode(video_frame))

    def _write_packets(self, packets: Any) -> None:
        for packet in packets:
            self.container.mux(packet)


class _Palette:
    """256 colours: the most frequent ones of some frames, evenly spaced ones, and one that is transparent.

    A palette that stays the same lets the encoder store only the pixels that change.

    Attributes:
        argb: u8[256, 4], the colours with their opacity.
    """

    def __init__(self, frames: list[RgbImage]) -> None:
        pixels = np.concatenate([frame.reshape(-1, 3) for frame in frames])
        bins = _bins(pixels)
        counts = np.bincount(bins, minlength=BINS**3)
        common = np.argsort(-counts, kind="stable")[:COMMON_COLORS]
        common = common[counts[common] > 0]
        # A bin is represented by its mean colour, so that a plain area keeps its colour exactly.
        sums = np.stack([np.bincount(bins, pixels[:, channel], BINS**3) for channel in range(3)], 1)
        common_colors = sums[common] / counts[common, None]
        spaced = np.linspace(0, 255, 4)
        spaced_colors = np.stack(np.meshgrid(spaced, spaced, spaced), -1).reshape(-1, 3)
        colors = np.concatenate([common_colors, spaced_colors]).round().clip(0, 255).astype(np.uint8)
        self.argb = np.zeros((256, 4), np.uint8)
        self.argb[: len(colors), 0] = 255
        self.argb[: len(colors), 1:] = colors
        self._index_of_bin = _nearest_colors(colors)

    def indices(self, frame: RgbImage) -> NDArray[np.uint8]:
        """Return the entry u8[H, W] of the palette for each pixel of a frame u8[H, W, 3]."""
        return self._index_of_bin[_bins(frame)]


def _bins(colors: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the bins [...] of colours u8[..., 3]."""
    levels = colors.astype(np.int64) * BINS // 256
    return (levels[..., 0] * BINS + levels[..., 1]) * BINS + levels[..., 2]


def _nearest_colors(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return for each bin the index of the colour that is nearest to its middle, u8[BINS ** 3].

    A colour that lies in a bin is nearer to it than any colour of another bin.
    """
    side = 256 // BINS
    levels = np.arange(BINS) * side + (side - 1) / 2
    middles = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3).astype(np.float32)
    own_bins = _bins(colors)
    palette = colors.astype(np.float32)
    squares = (palette**2).sum(1)
    nearest = (squares - 2 * middles @ palette.T).argmin(1).astype(np.uint8)
    # Several colours may lie in a bin: the first one counts, which is a frequent one.
    nearest[own_bins[::-1]] = np.arange(len(colors), dtype=np.uint8)[::-1]
    return nearest
