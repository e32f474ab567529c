"""The question before a command removes something."""

from __future__ import annotations

import sys

from rl_lab.errors import LabError
from rl_lab.system.printable import printable


def confirm(question: str, *, yes: bool) -> bool:
    """Return True if the person agrees.

    Args:
        question: The question, without the possible answers.
        yes: The person has agreed by --yes.

    Raises:
        LabError: There is nobody to ask.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise LabError("nothing was removed: standard input is no terminal, so the question needs the answer --yes")
    try:
        answer = input(f"{printable(question)} [y/N] ")
    except EOFError:
        answer = ""
    return answer.strip().lower() in ("y", "yes")


def megabytes(num_bytes: int) -> str:
    """Return a number of bytes as text, such as "12.3 MB"."""
    return f"{num_bytes / 1e6:,.1f} MB"
