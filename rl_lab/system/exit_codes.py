"""Exit codes and one-line error messages of commands and scripts.

The codes:
    0        success
    1        the command failed: `Fault`, or a disk that is full or read-only
    2        wrong input: `USER_ERRORS`
    128 + n  stopped by signal n; 130 is Ctrl-C
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from typing import NoReturn

from rl_lab.errors import USER_ERRORS, Fault

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Error numbers of a disk that is full, over its quota, or read-only."""


def run_command(command: Callable[[], None]) -> None:
    """Call a command, or the `main` of a script. Print expected errors as one line, and exit with their code.

    Unexpected exceptions are not caught, so Python prints their traceback.
    """
    try:
        _run_with_error_lines(command)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of a pipe has closed it, as `head` does
        sys.stderr.close()
        sys.exit(1)


def exit_with_error(message: str, code: int = 2) -> NoReturn:
    """Print one line to stderr and exit. The default code means wrong input."""
    print(f"rl_lab: {message}", file=sys.stderr)
    sys.exit(code)


def _run_with_error_lines(command: Callable[[], None]) -> None:
    """Call a command, and exit with one line if it raises an expected error."""
    try:
        command()
    except USER_ERRORS as error:
        exit_with_error(str(error))
    except Fault as fault:
        exit_with_error(str(fault), 1)
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        file = f": {error.filename}" if error.filename else ""
        exit_with_error(f"{error.strerror}{file}", 1)
