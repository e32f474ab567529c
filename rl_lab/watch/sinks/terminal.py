"""Pictures in a terminal that knows 24-bit colours, two pixels to a character: works over ssh."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable

import cv2
import numpy as np

from rl_lab.watch.game import Screen
from rl_lab.watch.player import Moment


class Terminal:
    """Shows pictures in place of one another."""

    def __init__(self, title: Callable[[], str]) -> None:
        self.title = title
        sys.stdout.write("\x1b[2J\x1b[?25l")  # clear, hide the cursor

    def show(self, picture: Screen, moment: Moment) -> None:
        """A picture as large as the terminal, and one line of text below."""
        line = f"score {moment.score:g}   {self.title()}   Ctrl-C stops"
        columns, lines = shutil.get_terminal_size()
        scale = min(columns / picture.shape[1], 2 * (lines - 2) / picture.shape[0])
        size = (max(1, int(picture.shape[1] * scale)), max(2, int(picture.shape[0] * scale) // 2 * 2))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        sys.stdout.write(f"\x1b[H{half_blocks(np.asarray(small, np.uint8))}\x1b[0m\x1b[K{line[: columns - 1]}\x1b[J")
        sys.stdout.flush()

    def idle(self) -> None:
        pass

    def close(self) -> None:
        sys.stdout.write("\x1b[0m\x1b[?25h\n")
        sys.stdout.flush()


def half_blocks(picture: Screen) -> str:
    """The upper half of each character is one pixel, its background the one below."""
    lines = []
    for upper, lower in zip(picture[::2].tolist(), picture[1::2].tolist(), strict=True):
        cells, before = [], None
        for pair in zip(upper, lower, strict=True):
            (r, g, b), (r2, g2, b2) = pair
            cells.append("▀" if pair == before else f"\x1b[38;2;{r};{g};{b};48;2;{r2};{g2};{b2}m▀")
            before = pair
        lines.append("".join(cells) + "\x1b[0m\x1b[K\r\n")
    return "".join(lines)
