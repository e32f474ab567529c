"""Extras of this project that install the packages of some environments."""

from __future__ import annotations

import re

EXTRAS = {"Box2D": "box2d", "minatar": "minatar", "mujoco": "mujoco"}
"""Extra by the module whose absence makes an environment fail."""

GYMNASIUM_ADVICE = re.compile(r"gymnasium\[(\w+)\]")
"""How an error of Gymnasium names the extra of Gymnasium that is missing. Ours has the same name."""


def install_command(extra: str) -> str:
    """Return the command that installs an extra of this project."""
    return f'pip install "rl-lab[{extra}]"'


def install_advice(error: BaseException) -> str:
    """Return how to install the package whose absence caused an error, or an empty text for other errors.

    Args:
        error: An error of Gymnasium or of an import.

    Returns:
        The end of a message, such as `: pip install "rl-lab[box2d]"`.
    """
    extra = EXTRAS.get((getattr(error, "name", None) or "").partition(".")[0])
    advice = GYMNASIUM_ADVICE.search(str(error))
    if extra is None and advice and advice[1] in EXTRAS.values():
        extra = advice[1]
    return f": {install_command(extra)}" if extra else ""
