"""Pictures of worlds: text, bars and lines on an RGB image, drawn with cv2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]

WIDTH = 500  # pixels; viewers show a picture of this width unscaled
HEIGHT = 400
PAPER: Color = (250, 250, 247)
INK: Color = (40, 44, 52)
GREY: Color = (176, 182, 190)
BLUE: Color = (66, 120, 190)
GREEN: Color = (70, 160, 105)
RED: Color = (206, 78, 66)
ORANGE: Color = (226, 150, 54)

POSITION_NAMES = {-1: "short", 0: "none", 1: "long"}
"""Names of a trader's positions."""
POSITION_COLORS = {-1: RED, 0: PAPER, 1: GREEN}

TEXT_SIZE = 0.42  # scale of cv2's Hershey font


class Area(NamedTuple):
    """A rectangle of a picture, in pixels from the upper left corner."""

    left: int
    top: int
    right: int
    bottom: int


class Picture:
    """An RGB picture to draw on. Coordinates are pixels, x to the right and y downwards."""

    def __init__(self, width: int = WIDTH, height: int = HEIGHT) -> None:
        """Create an empty picture."""
        self.pixels: NDArray[np.uint8] = np.empty((height, width, 3), np.uint8)
        self.pixels[:] = PAPER

    def text(self, text: str, x: int, y: int, color: Color = INK, *, size: float = TEXT_SIZE) -> None:
        """Write a line of ASCII text whose baseline starts at (x, y)."""
        write_text(self.pixels, text, (x, y), size, color)

    def centred_text(self, text: str, x: int, y: int, color: Color = INK, *, size: float = TEXT_SIZE) -> None:
        """Write a line of ASCII text whose baseline is centred at (x, y)."""
        (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
        self.text(text, x - width // 2, y, color, size=size)

    def rectangle(self, area: Area, color: Color) -> None:
        """Fill a rectangle. The parts outside the picture are left out."""
        height, width, _ = self.pixels.shape
        rows = slice(max(area.top, 0), min(max(area.bottom, 0), height))
        columns = slice(max(area.left, 0), min(max(area.right, 0), width))
        self.pixels[rows, columns] = color

    def bars(self, area: Area, values: Sequence[float], labels: Sequence[str], colors: Sequence[Color], top: float):
        """Draw labelled bars side by side.

        Args:
            area: Rectangle of the bars. The labels stand below, the values above each bar.
            values: Heights of the bars. A negative value is drawn without a bar.
            labels: One short text for each bar.
            colors: One colour for each bar.
            top: The value that fills the height of the area. Larger values are cut.
        """
        self.axis(area)
        column_width = (area.right - area.left) / len(values)
        for i, (value, label, color) in enumerate(zip(values, labels, colors, strict=True)):
            centre = round(area.left + (i + 0.5) * column_width)
            half = max(1, round(0.35 * column_width))
            height = round((area.bottom - area.top) * min(max(value / top, 0.0), 1.0))
            self.rectangle(Area(centre - half, area.bottom - height, centre + half, area.bottom), color)
            self.centred_text(f"{value:g}", centre, area.bottom - height - 4)
            self.centred_text(label, centre, area.bottom + 15)

    def axis(self, area: Area) -> None:
        """Draw a thin line along the lower edge of an area."""
        cv2.line(self.pixels, (area.left, area.bottom), (area.right, area.bottom), GREY, 1)

    def level(self, area: Area, value: float, low: float, high: float, color: Color = GREY) -> None:
        """Draw a horizontal line at a value of the vertical scale [low, high] of an area."""
        y = _row(area, value, low, high)
        cv2.line(self.pixels, (area.left, y), (area.right, y), color, 1)

    def line(
        self, area: Area, values: Sequence[float], length: int, low: float, high: float, color: Color = BLUE
    ) -> None:
        """Draw a curve from the left edge of an area.

        Args:
            area: Rectangle of the curve.
            values: The values, in order.
            length: Number of values that fill the width of the area.
            low: The value at the lower edge. Values beyond an edge are drawn at the edge.
            high: The value at the upper edge.
            color: Colour of the curve.
        """
        points = [(_column(area, i, length), _row(area, value, low, high)) for i, value in enumerate(values[-length:])]
        if len(points) == 1:
            cv2.circle(self.pixels, points[0], 2, color, -1, cv2.LINE_AA)
        elif points:
            cv2.polylines(self.pixels, [np.array(points, np.int32)], False, color, 1, cv2.LINE_AA)

    def columns(self, area: Area, colors: Sequence[Color], length: int) -> None:
        """Fill one column of an area for each colour, from the left. `length` columns fill the area."""
        for i, color in enumerate(colors[-length:]):
            left = _column(area, i, length)
            right = max(left + 1, _column(area, i + 1, length))
            self.rectangle(Area(left, area.top, right, area.bottom), color)


def write_text(
    pixels: NDArray[np.uint8], text: str, place: tuple[int, int], size: float = TEXT_SIZE, color: Color = INK
) -> None:
    """Write a line of ASCII text on an RGB picture. The lines of letters are twice as thick from size 1 on.

    Args:
        pixels: The picture u8[H, W, 3].
        text: The text.
        place: x and y of the left end of the baseline, in pixels.
        size: Scale of the font.
        color: Colour of the text.
    """
    thickness = 1 if size < 1 else 2
    cv2.putText(pixels, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, color, thickness, cv2.LINE_AA)


def _column(area: Area, i: int, length: int) -> int:
    """Return the x-coordinate of the i-th of `length` values."""
    return round(area.left + (area.right - area.left) * i / max(1, length - 1))


def _row(area: Area, value: float, low: float, high: float) -> int:
    """Return the y-coordinate of a value."""
    share = (value - low) / (high - low) if high > low else 0.5
    return round(area.bottom - (area.bottom - area.top) * min(max(share, 0.0), 1.0))
