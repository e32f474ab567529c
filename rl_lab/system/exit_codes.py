"""Exit codes and one-line error messages of commands and scripts."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from typing import NoReturn


def answer(command: Callable[[], None]) -> None:
    """Run a command, or a script's main, and say in one line what it raises that a person can mend, with the exit codes of `main`."""
    try:
        _answer(command)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # `... | head`
        sys.stderr.close()
        sys.exit(1)


def _answer(command: Callable[[], None]) -> None:
    from rl_lab.errors import USER_ERRORS, Fault  # not at once: they import torch

    try:
        command()
    except USER_ERRORS as error:
        fail(str(error))
    except Fault as fault:
        print(f"rl_lab: {fault}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        print(f"rl_lab: {error.strerror}{f': {error.filename}' if error.filename else ''}", file=sys.stderr)
        sys.exit(1)


def fail(message: str) -> NoReturn:
    """One line on stderr, exit code 2."""
    print(f"rl_lab: {message}", file=sys.stderr)
    sys.exit(2)
