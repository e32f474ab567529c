"""Commands of the lab as text that can be typed into a shell."""

from __future__ import annotations

import shlex

PROG = "python -m rl_lab"

VERBOSE = "--verbose"
"""Flag of every command: print the traceback of an error too."""


def shell_command(*words: object) -> str:
    """Return a command of the lab, with quotes where a shell needs them."""
    return f"{PROG} {shlex.join(map(str, words))}"
