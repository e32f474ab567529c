"""A window of this machine's screen, by pygame."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from rl_lab.errors import LabError
from rl_lab.system.device import has_display
from rl_lab.watch.controls import Controls
from rl_lab.watch.game import Screen
from rl_lab.watch.picture import HEIGHT, WIDTH
from rl_lab.watch.player import Moment

NO_SCREEN = ("offscreen", "dummy", "evdev")  # what SDL takes where it finds no display, and shows nobody


class Window:
    """Shows pictures, and tells the controls which keys were pressed."""

    def __init__(self, controls: Controls, title: Callable[[], str]) -> None:
        """Raises LabError where there is no display."""
        if not has_display():
            raise LabError(
                "there is no display for a window (DISPLAY is not set): use --web, --terminal or --video FILE"
            )
        os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
        import pygame

        self.pygame, self.controls, self.title = pygame, controls, title
        try:
            pygame.display.init()
            if pygame.display.get_driver() in NO_SCREEN and "SDL_VIDEODRIVER" not in os.environ:
                raise pygame.error(f"the display {os.environ.get('DISPLAY', '')} does not answer")
            self.surface = pygame.display.set_mode((WIDTH, HEIGHT), pygame.RESIZABLE | pygame.SCALED)
        except pygame.error as error:
            raise LabError(f"no window can be opened ({error}): use --web, --terminal or --video FILE") from error

    def show(self, picture: Screen, moment: Moment) -> None:
        """The picture, as large as the window."""
        self.pygame.display.set_caption(self.title())
        self.pygame.surfarray.blit_array(self.surface, np.swapaxes(picture, 0, 1))
        self.pygame.display.flip()

    def idle(self) -> None:
        """Take what was pressed since the last call."""
        for event in self.pygame.event.get():
            if event.type == self.pygame.QUIT:
                self.controls.press("q")
            elif event.type == self.pygame.KEYDOWN:
                self.controls.press(event.unicode)

    def close(self) -> None:
        self.pygame.display.quit()
