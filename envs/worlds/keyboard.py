"""Keys that a program presses: on X11 by the extension XTEST (python-xlib), on Windows and macOS by pynput."""

from __future__ import annotations

import os
import re
import sys
from typing import Any, Protocol

from envs.errors import EnvError
from envs.worlds.extras import import_extra

KEYSYMS = {  # names of keys, which are also pynput's, and the names of X11's symbols
    "left": "Left",
    "right": "Right",
    "up": "Up",
    "down": "Down",
    "space": "space",
    "enter": "Return",
    "esc": "Escape",
    "tab": "Tab",
    "backspace": "BackSpace",
    "shift": "Shift_L",
    "ctrl": "Control_L",
    "alt": "Alt_L",
    **{f"f{number}": f"F{number}" for number in range(1, 13)},
}


class Keyboard(Protocol):
    """A keyboard whose keys a program holds down."""

    def press(self, key: str) -> None:
        """Hold a key down."""

    def release(self, key: str) -> None:
        """Release a key. A key that is not held stays as it is."""

    def close(self) -> None:
        """Give the connection back."""


def is_key(name: object) -> bool:
    """Return True for the name of a key: one of `KEYSYMS`, a letter from a to z, or a digit."""
    return isinstance(name, str) and (name in KEYSYMS or re.fullmatch("[a-z0-9]", name) is not None)


def check_display(env_name: str) -> None:
    """Raise EnvError if this process has no screen to read and no keyboard to use."""
    if sys.platform in ("win32", "darwin") or os.environ.get("DISPLAY"):
        return
    raise EnvError(
        f"{env_name} needs a screen: the variable DISPLAY is not set (xvfb-run starts a command with a virtual screen)"
    )


def open_keyboard(env_name: str) -> Keyboard:
    """Return the keyboard of this computer.

    Args:
        env_name: The environment that needs it, for messages.

    Raises:
        EnvError: The package for keys is missing, or there is no screen.
    """
    check_display(env_name)
    if sys.platform in ("win32", "darwin"):
        return _PynputKeyboard(import_extra("pynput.keyboard", env_name, "screen"))
    return _X11Keyboard(env_name)


class _X11Keyboard:
    """Keys of the display that the variable DISPLAY names."""

    def __init__(self, env_name: str) -> None:
        display = import_extra("Xlib.display", env_name, "screen")
        self.x11 = import_extra("Xlib.X", env_name, "screen")
        self.symbols = import_extra("Xlib.XK", env_name, "screen")
        self.test = import_extra("Xlib.ext.xtest", env_name, "screen")
        try:
            self.display: Any = display.Display()
        except Exception as error:  # Xlib raises errors of several classes
            reason = " ".join(str(error).split())
            raise EnvError(
                f"{env_name} needs a screen: {os.environ.get('DISPLAY')} cannot be opened ({reason})"
            ) from error

    def press(self, key: str) -> None:
        """Hold a key down."""
        self._send(self.x11.KeyPress, key)

    def release(self, key: str) -> None:
        """Release a key."""
        self._send(self.x11.KeyRelease, key)

    def close(self) -> None:
        """Close the connection to the display."""
        self.display.close()

    def _send(self, event: int, key: str) -> None:
        symbol = self.symbols.string_to_keysym(KEYSYMS.get(key, key))
        self.test.fake_input(self.display, event, self.display.keysym_to_keycode(symbol))
        self.display.sync()


class _PynputKeyboard:
    """Keys by pynput."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.controller = module.Controller()

    def press(self, key: str) -> None:
        """Hold a key down."""
        self.controller.press(self._key(key))

    def release(self, key: str) -> None:
        """Release a key."""
        self.controller.release(self._key(key))

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def _key(self, key: str) -> Any:
        return getattr(self.module.Key, key) if key in KEYSYMS else self.module.KeyCode.from_char(key)
