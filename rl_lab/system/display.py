"""The graphical display."""

from __future__ import annotations

import os
import sys


def has_display() -> bool:
    """Return True if this process can open a window."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
