"""Rendering on a machine without a display."""

from __future__ import annotations

import os
import sys


def has_display() -> bool:
    """Return True if this process can open a window."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def initialise_pygame_without_display() -> None:
    """Initialise pygame with SDL's "dummy" driver if there is no display.

    Many environments render with pygame. On a machine without a display, pygame would otherwise search for one and
    print warnings.
    """
    if has_display() or "SDL_VIDEODRIVER" in os.environ:
        return
    os.environ["SDL_VIDEODRIVER"] = "dummy"
    os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
    try:
        import pygame

        pygame.display.init()
    finally:
        del os.environ["SDL_VIDEODRIVER"]
