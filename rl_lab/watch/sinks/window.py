"""A sink that shows frames in a window of this machine's display, with pygame."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable

import numpy as np

from envs.headless import has_display
from rl_lab.errors import LabError
from rl_lab.system.printable import printable
from rl_lab.watch.controls import Controls
from rl_lab.watch.frame_rendering import FRAME_HEIGHT, FRAME_WIDTH
from rl_lab.watch.images import RgbImage
from rl_lab.watch.player import PlayerStep

INVISIBLE_DRIVERS = ("offscreen", "dummy", "evdev")  # SDL selects one of these if the display does not respond


class WindowSink:
    """Show frames in a window and pass its key presses to the controls."""

    def __init__(self, controls: Controls, title: Callable[[], str]) -> None:
        """Open the window. `title` returns the text of its title bar. Raises LabError if there is no display."""
        if not has_display():
            raise LabError(
                "there is no display for a window (DISPLAY is not set): use --web, --terminal or --video FILE"
            )
        os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
        import pygame

        self.pygame = pygame
        self.controls = controls
        self.title = title
        try:
            pygame.display.init()
            is_visible = pygame.display.get_driver() not in INVISIBLE_DRIVERS
            if not is_visible and "SDL_VIDEODRIVER" not in os.environ:
                raise pygame.error(f"the display {os.environ.get('DISPLAY', '')} does not respond")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # without a GPU pygame warns of a slow renderer, which is fast enough
                self.surface = pygame.display.set_mode((FRAME_WIDTH, FRAME_HEIGHT), pygame.RESIZABLE | pygame.SCALED)
        except pygame.error as error:
            raise LabError(f"no window can be opened ({error}): use --web, --terminal or --video FILE") from error

    def show(self, frame: RgbImage, player_step: PlayerStep) -> None:
        """Show a frame, scaled to the size of the window."""
        self.pygame.display.set_caption(printable(self.title()))
        self.pygame.surfarray.blit_array(self.surface, np.swapaxes(frame, 0, 1))
        self.pygame.display.flip()

    def poll(self) -> None:
        """Pass new key presses to the controls. Closing the window is equivalent to the key "q"."""
        for event in self.pygame.event.get():
            if event.type == self.pygame.QUIT:
                self.controls.press("q")
            elif event.type == self.pygame.KEYDOWN:
                self.controls.press(event.unicode)

    def close(self) -> None:
        """Close the window."""
        self.pygame.display.quit()
