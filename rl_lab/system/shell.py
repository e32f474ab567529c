"""Commands of the lab as text that can be typed into a shell."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path


def find_program() -> str:
    """Return "rl-lab" if the shell finds the script of this installation, otherwise "python -m rl_lab"."""
    script = shutil.which("rl-lab")
    if script is not None and Path(script).parent == Path(sys.executable).parent:
        return "rl-lab"
    return "python -m rl_lab"


PROG = find_program()

VERBOSE = "--verbose"
"""Flag of every command: print the traceback of an error too."""


def shell_command(*words: object) -> str:
    """Return a command of the lab, with quotes where a shell needs them."""
    return f"{PROG} {shlex.join(map(str, words))}"
