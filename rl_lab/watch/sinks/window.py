"""A sink that shows frames in a window of this machine's display, with pygame."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Protocol

import cv2
import numpy as np

from envs.headless import has_display
from rl_lab.errors import LabError
from rl_lab.system.printable import printable
from rl_lab.watch.controls import Controls
from rl_lab.watch.frame_rendering import FRAME_HEIGHT, FRAME_WIDTH
from rl_lab.watch.images import RgbImage
from rl_lab.watch.player import PlayerStep

INVISIBLE_DRIVERS = ("offscreen", "dummy", "evdev")  # SDL selects one of these if the display does not respond


class KeyListener(Protocol):
    """Receives the keys of a window."""

    def __call__(self, key: str, *, is_down: bool) -> None:
        """Handle a key, by its name in pygame in lower case, that goes down or up."""
        ...


class WindowSink:
    """Show frames in a window and pass its key presses to the controls."""

    def __init__(
        self,
        controls: Controls,
        title: Callable[[], str],
        *,
        num_agents: int = 1,
        on_key: KeyListener | None = None,
        instead: str = "use --web, --terminal or --video FILE",
    ) -> None:
        """Open the window.

        Args:
            controls: Receives the keys, unless there is `on_key`. Closing the window presses their key "q".
            title: Returns the text of the title bar.
            num_agents: Frames side by side.
            on_key: Receives the keys in place of the controls.
            instead: What the message says to do if there is no display.

        Raises:
            LabError: There is no display.
        """
        if not has_display():
            raise LabError(f"there is no display for a window (DISPLAY is not set): {instead}")
        os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
        import pygame

        self.pygame = pygame
        self.controls = controls
        self.title = title
        self.on_key = on_key
        try:
            pygame.display.init()
            is_visible = pygame.display.get_driver() not in INVISIBLE_DRIVERS
            if not is_visible and "SDL_VIDEODRIVER" not in os.environ:
                raise pygame.error(f"the display {os.environ.get('DISPLAY', '')} does not respond")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # without a GPU pygame warns of a slow renderer, which is fast enough
                size = _fitting_size(num_agents * FRAME_WIDTH, FRAME_HEIGHT, pygame.display.get_desktop_sizes()[0])
                self.surface = pygame.display.set_mode(size, pygame.RESIZABLE | pygame.SCALED)
        except pygame.error as error:
            raise LabError(f"no window can be opened ({error}): {instead}") from error

    def show(self, frame: RgbImage, player_step: PlayerStep | None = None) -> None:
        """Show a frame, scaled to the size of the window."""
        self.pygame.display.set_caption(printable(self.title()))
        size = self.surface.get_size()
        if size != (frame.shape[1], frame.shape[0]):
            frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
        self.pygame.surfarray.blit_array(self.surface, np.swapaxes(frame, 0, 1))
        self.pygame.display.flip()

    def poll(self) -> None:
        """Pass new key presses on. Closing the window is equivalent to the key "q" of the controls."""
        for event in self.pygame.event.get():
            if event.type == self.pygame.QUIT:
                self.controls.press("q")
            elif self.on_key is not None and event.type in (self.pygame.KEYDOWN, self.pygame.KEYUP):
                self.on_key(self.pygame.key.name(event.key).lower(), is_down=event.type == self.pygame.KEYDOWN)
            elif event.type == self.pygame.KEYDOWN:
                self.controls.press(event.unicode)

    def close(self) -> None:
        """Close the window."""
        self.pygame.display.quit()


def _fitting_size(width: int, height: int, desktop: tuple[int, int]) -> tuple[int, int]:
    """Return the size of a window in pixels, in the proportions of the frame and not larger than the desktop."""
    scale = min(1.0, desktop[0] / width, desktop[1] / height)
    return max(1, int(width * scale)), max(1, int(height * scale))
