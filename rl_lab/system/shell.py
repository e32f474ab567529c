"""Commands as a person would type them."""

from __future__ import annotations

import shlex

PROG = "python -m rl_lab"


def as_typed(*words: object) -> str:
    """The lab's command with these words, as it can be typed into a shell."""
    return f"{PROG} {shlex.join(map(str, words))}"
