"""RGB images: their type, their colours, and functions that draw on them with OpenCV."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rl_lab.analysis.saliency import Heatmap
from rl_lab.errors import LabError
from rl_lab.system.printable import ascii_printable

RgbImage = NDArray[np.uint8]
"""An image u8[H, W, 3] with the channels red, green, blue."""

Color = tuple[int, int, int]
"""Red, green and blue, each from 0 to 255."""

BACKGROUND: Color = (24, 26, 31)
TEXT: Color = (225, 228, 232)
HEAT: Color = (255, 60, 40)
HEAT_OPACITY = 0.6  # of the largest value of a heatmap

MAX_SIDE = 2048  # pixels; larger images lose rows and columns, because no viewer shows that many
CHANNELS = (1, 3, 4)  # grey, RGB, RGBA
EXPECTED = "it must return an image, such as uint8[H, W, 3]"


class RenderError(LabError):
    """An environment cannot show itself: its `render` raised an exception, or returned no image."""


def rendered_to_rgb(rendered: Any) -> RgbImage:
    """Return what an environment's `render` returned as an RGB image.

    Grey images, RGBA (without its transparency), channels before rows, numbers from 0.0 to 1.0, other types of numbers,
    and lists of frames, of which the last one counts, are converted.

    Raises:
        RenderError: The result is no image.
    """
    try:
        image = np.asarray(_last_frame(rendered))
    except ValueError:  # lists of different lengths
        image = np.asarray(None)
    if image.dtype.kind not in "buif":
        raise RenderError(f"returned {_describe(rendered)}; {EXPECTED}")
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim == 3 and image.shape[0] in CHANNELS and min(image.shape[1:]) > max(CHANNELS):
        image = image.transpose(1, 2, 0)
    if image.ndim != 3 or image.shape[2] not in CHANNELS or not image.size:
        raise RenderError(f"returned an array of shape {list(image.shape)}; {EXPECTED}")
    step = -(-max(image.shape[:2]) // MAX_SIDE)
    image = _to_uint8(image[::step, ::step, :3])
    if image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    return np.ascontiguousarray(image)


def _last_frame(rendered: Any) -> Any:
    """Return the last frame of a list or an array of frames, and anything else as it is."""
    if isinstance(rendered, (list, tuple)):
        if not rendered:
            raise RenderError(f"returned an empty list; {EXPECTED}")
        if not hasattr(rendered[-1], "shape"):  # no list of arrays: the image itself may be a list of rows
            return rendered
        rendered = rendered[-1]
    if len(getattr(rendered, "shape", ())) == 4 and len(rendered):
        return rendered[-1]
    return rendered


def _to_uint8(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return pixels from 0 to 255. Floating-point numbers that are all in [0, 1] are multiplied by 255."""
    if image.dtype == np.uint8:
        return image
    if image.dtype.kind == "b":
        return image.astype(np.uint8) * np.uint8(255)
    if image.dtype.kind == "f":
        image = np.nan_to_num(image.astype(np.float64), nan=0.0, posinf=255.0, neginf=0.0)
        if image.max() <= 1:
            image = image * 255
    return image.clip(0, 255).astype(np.uint8)


def _describe(rendered: Any) -> str:
    """Return a short description of a value that is no image."""
    return "None" if rendered is None else f"a {type(rendered).__name__}"


def draw_text(
    image: RgbImage, text: str, position: tuple[int, int], *, size: float = 0.42, color: Color = TEXT
) -> None:
    """Draw one line of text into the image.

    Args:
        image: The image, which is changed.
        text: The text. OpenCV's fonts have only ASCII characters, so others become escapes.
        position: Pixel (x, y) of the left end of the baseline.
        size: Scale of the font; 1 is about 22 pixels high.
        color: Color of the text.
    """
    cv2.putText(image, ascii_printable(text), position, cv2.FONT_HERSHEY_SIMPLEX, size, color, 1, cv2.LINE_AA)


def shorten(text: str, max_length: int) -> str:
    """Return a text as `draw_text` draws it, with dots in place of what exceeds the length in characters."""
    drawn = ascii_printable(text)
    return drawn if len(drawn) <= max_length else drawn[: max_length - 2] + ".."


def text_width(text: str, size: float) -> int:
    """Return the width of a line of text in pixels."""
    (width, _), _ = cv2.getTextSize(ascii_printable(text), cv2.FONT_HERSHEY_SIMPLEX, size, 1)
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
