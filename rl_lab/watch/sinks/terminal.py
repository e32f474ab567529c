"""A sink that draws frames in a terminal with 24-bit colours, also over ssh. Each character shows two pixels."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable

import cv2
import numpy as np

from rl_lab.system.printable import printable
from rl_lab.watch.images import RgbImage
from rl_lab.watch.player import PlayerStep

CLEAR_SCREEN = "\x1b[2J"
CLEAR_LINE = "\x1b[K"  # from the cursor to the end of the line
CLEAR_BELOW = "\x1b[J"  # from the cursor to the end of the screen
MOVE_TO_TOP = "\x1b[H"
HIDE_CURSOR = "\x1b[?25l"
SHOW_CURSOR = "\x1b[?25h"
RESET_COLORS = "\x1b[0m"


class TerminalSink:
    """Show each frame in place of the previous one, as large as the terminal, with one line of text below."""

    def __init__(self, title: Callable[[], str]) -> None:
        """Clear the terminal. `title` returns the text of the line below the frame."""
        self.title = title
        sys.stdout.write(CLEAR_SCREEN + HIDE_CURSOR)

    def show(self, frame: RgbImage, player_step: PlayerStep) -> None:
        """Show a frame, scaled to the present size of the terminal."""
        columns, lines = shutil.get_terminal_size()
        height, width = frame.shape[:2]
        scale = min(columns / width, 2 * (lines - 2) / height)
        scaled_width = max(1, int(width * scale))
        scaled_height = max(2, int(height * scale) // 2 * 2)  # even, because a character is two pixels high
        scaled = cv2.resize(frame, (scaled_width, scaled_height), interpolation=cv2.INTER_AREA)
        pixels = half_blocks(np.asarray(scaled, np.uint8))
        text = f"score {player_step.score:g}   {printable(self.title())}   Ctrl-C stops"
        sys.stdout.write(f"{MOVE_TO_TOP}{pixels}{RESET_COLORS}{CLEAR_LINE}{text[: columns - 1]}{CLEAR_BELOW}")
        sys.stdout.flush()

    def poll(self) -> None:
        """Do nothing: the terminal sink has no keys."""

    def close(self) -> None:
        """Restore the colours and the cursor of the terminal."""
        sys.stdout.write(f"{RESET_COLORS}{SHOW_CURSOR}\n")
        sys.stdout.flush()


def half_blocks(image: RgbImage) -> str:
    """Return the text that shows an image of even height in a terminal.

    Each character is the upper half block: its foreground colour is one pixel, its background colour the pixel below.
    Colours are written only where they change.
    """
    lines: list[str] = []
    for upper_row, lower_row in zip(image[::2].tolist(), image[1::2].tolist(), strict=True):
        characters: list[str] = []
        previous = None
        for colors in zip(upper_row, lower_row, strict=True):
            if colors != previous:
                (r, g, b), (r2, g2, b2) = colors
                characters.append(f"\x1b[38;2;{r};{g};{b};48;2;{r2};{g2};{b2}m")
            characters.append("▀")
            previous = colors
        lines.append("".join(characters) + f"{RESET_COLORS}{CLEAR_LINE}\r\n")
    return "".join(lines)
