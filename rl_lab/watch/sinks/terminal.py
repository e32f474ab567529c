"""A sink for terminals with 24-bit colours, also over ssh: the picture in half blocks, and beside it the text as text.

Each character of the picture shows two pixels. Keys are read from standard input, if that is a terminal.
"""

from __future__ import annotations

import os
import select
import shutil
import sys
import termios
import tty
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from envs.spec import EnvSpec
from rl_lab.watch.controls import Controls
from rl_lab.watch.frame_rendering import screen_part
from rl_lab.watch.images import RgbImage
from rl_lab.watch.player import PlayerStep
from rl_lab.watch.text_panel import panel_lines

CLEAR_SCREEN = "\x1b[2J"
CLEAR_LINE = "\x1b[K"  # from the cursor to the end of the line
CLEAR_BELOW = "\x1b[J"  # from the cursor to the end of the screen
MOVE_TO_TOP = "\x1b[H"
HIDE_CURSOR = "\x1b[?25l"
SHOW_CURSOR = "\x1b[?25h"
RESET_COLORS = "\x1b[0m"

PANEL_WIDTH = 40  # columns of the text
GAP = 2  # columns between picture and text
MIN_PICTURE_WIDTH = 24  # columns; on a narrower terminal the text stands below the picture


class TerminalSink:
    """Show the game and the agent's input and output in place of the previous ones, and pass keys to the controls."""

    def __init__(self, title: Callable[[], str], controls: Controls, env_spec: EnvSpec) -> None:
        """Clear the terminal, and let it send keys without waiting for the end of a line.

        Args:
            title: Returns agent, environment and checkpoint.
            controls: Receives the keys.
            env_spec: The environment.
        """
        self.title = title
        self.controls = controls
        self.env_spec = env_spec
        self._keyboard = _descriptor_of_keyboard()
        self._previous_mode: list[Any] | None = None
        if self._keyboard is not None:
            self._previous_mode = termios.tcgetattr(self._keyboard)
            tty.setcbreak(self._keyboard)  # Ctrl-C still sends SIGINT
        sys.stdout.write(CLEAR_SCREEN + HIDE_CURSOR)

    def show(self, frame: RgbImage, player_step: PlayerStep) -> None:
        """Show a frame, scaled to the present size of the terminal."""
        columns, lines = shutil.get_terminal_size()
        picture = frame[screen_part(player_step.screens[-1])]
        is_beside = columns >= MIN_PICTURE_WIDTH + GAP + PANEL_WIDTH
        width = PANEL_WIDTH if is_beside else columns
        panel = panel_lines(player_step, self.env_spec, self.title(), self.controls, width)
        if is_beside:
            rows = _side_by_side(_scaled(picture, columns - PANEL_WIDTH - GAP, lines), panel)
        else:
            panel = panel[: lines // 2]
            rows = [*half_block_lines(_scaled(picture, columns, lines - len(panel))), *panel]
        text = f"{CLEAR_LINE}\r\n".join(rows[:lines])
        sys.stdout.write(f"{MOVE_TO_TOP}{text}{CLEAR_LINE}{CLEAR_BELOW if len(rows) < lines else ''}")
        sys.stdout.flush()

    def poll(self) -> None:
        """Pass new key presses to the controls."""
        while self._keyboard is not None and select.select([self._keyboard], [], [], 0)[0]:
            pressed = os.read(self._keyboard, 64)
            if not pressed:  # the terminal is gone
                self._keyboard = None
                return
            if pressed.startswith(b"\x1b"):  # an arrow or a function key
                continue
            for key in pressed.decode(errors="replace"):
                self.controls.press(key)

    def close(self) -> None:
        """Restore the colours, the cursor and the keyboard of the terminal."""
        if self._keyboard is not None and self._previous_mode is not None:
            termios.tcsetattr(self._keyboard, termios.TCSADRAIN, self._previous_mode)
        sys.stdout.write(f"{RESET_COLORS}{SHOW_CURSOR}\n")
        sys.stdout.flush()


def half_block_lines(image: RgbImage) -> list[str]:
    """Return the lines that show an image of even height in a terminal.

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
        lines.append("".join(characters) + RESET_COLORS)
    return lines


def _scaled(picture: RgbImage, columns: int, lines: int) -> RgbImage:
    """Return the picture as large as it fits into these columns and lines of half blocks, with an even height."""
    height, width = picture.shape[:2]
    scale = min(max(columns, 1) / width, 2 * max(lines, 1) / height)
    scaled_width = max(1, int(width * scale))
    scaled_height = max(2, int(height * scale) // 2 * 2)
    scaled = cv2.resize(picture, (scaled_width, scaled_height), interpolation=cv2.INTER_AREA)
    return np.asarray(scaled, np.uint8)


def _side_by_side(picture: RgbImage, panel: list[str]) -> list[str]:
    """Return lines with the picture at the left and the text at the right."""
    left = half_block_lines(picture)
    num_rows = max(len(left), len(panel))
    left += [" " * picture.shape[1]] * (num_rows - len(left))
    right = panel + [""] * (num_rows - len(panel))
    return [f"{blocks}{' ' * GAP}{text}" for blocks, text in zip(left, right, strict=True)]


def _descriptor_of_keyboard() -> int | None:
    """Return the file descriptor of standard input, or None if it is no terminal."""
    try:
        descriptor = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):  # closed, missing, or replaced by an object without a descriptor
        return None
    return descriptor if os.isatty(descriptor) else None
