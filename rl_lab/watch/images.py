"""RGB images: their type, their colours, and functions that draw on them with OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rl_lab.analysis.saliency import Heatmap

RgbImage = NDArray[np.uint8]
"""An image u8[H, W, 3] with the channels red, green, blue."""

Color = tuple[int, int, int]
"""Red, green and blue, each from 0 to 255."""

BACKGROUND: Color = (24, 26, 31)
TEXT: Color = (225, 228, 232)
HEAT: Color = (255, 60, 40)
HEAT_OPACITY = 0.6  # of the largest value of a heatmap


def draw_text(
    image: RgbImage, text: str, position: tuple[int, int], *, size: float = 0.42, color: Color = TEXT
) -> None:
    """Draw one line of text into the image.

    Args:
        image: The image, which is changed.
        text: ASCII characters; OpenCV's fonts have no others.
        position: Pixel (x, y) of the left end of the baseline.
        size: Scale of the font; 1 is about 22 pixels high.
        color: Color of the text.
    """
    cv2.putText(image, text, position, cv2.FONT_HERSHEY_SIMPLEX, size, color, 1, cv2.LINE_AA)


def text_width(text: str, size: float) -> int:
    """Return the width of a line of text in pixels."""
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    return width


def overlay_heatmap(image: RgbImage, heatmap: Heatmap) -> RgbImage:
    """Return the image, coloured red in proportion to a heatmap of the same view."""
    width, height = image.shape[1], image.shape[0]
    scaled = cv2.resize(heatmap, (width, height), interpolation=cv2.INTER_LINEAR)
    opacity = scaled[:, :, None] * HEAT_OPACITY
    return np.asarray(image * (1 - opacity) + np.array(HEAT) * opacity, np.uint8)


def observation_to_rgb(obs: NDArray[np.uint8], max_pixel: int) -> RgbImage:
    """Return a single-channel observation u8[H, W] as an RGB image.

    Args:
        obs: Pixels from 0 to `max_pixel`.
        max_pixel: The pixel value that is drawn white: 255 for grey levels, 1 for a binary view.
    """
    grey = obs * (255 // max_pixel)
    return np.repeat(grey[:, :, None], 3, axis=2)


def to_bgr(image: RgbImage) -> RgbImage:
    """Return a contiguous copy with the channels in the order blue, green, red, which OpenCV's encoders expect."""
    return np.ascontiguousarray(image[:, :, ::-1])
