"""Exit codes and one-line error messages of commands and scripts.

The codes:
    0        success
    1        the command failed: `Fault`, `EnvFault`, or a disk that is full or read-only
    2        wrong input: `USER_ERRORS`
    128 + n  stopped by signal n; 130 is Ctrl-C
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import FrameType
from typing import NoReturn

from rl_lab.errors import FAULTS, USER_ERRORS
from rl_lab.system.printable import print_line

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Error numbers of a disk that is full, over its quota, or read-only."""

PARSERS = ("argparse", "tyro")
"""Packages that end a program by themselves: after `--help`, and after options that they do not know."""


WANDB_EXIT = "wandb.sdk.lib.exit_hooks"
"""Module of the function by which W&B replaces `sys.exit`."""

_is_verbose: ContextVar[bool] = ContextVar("_is_verbose", default=False)


class CommandExit(SystemExit):
    """The end of a command by its own decision. Any other `SystemExit` comes from an environment or a plug-in."""


def run_command(command: Callable[[], None], *, verbose: bool = False) -> None:
    """Call a command, or the `main` of a script. Print expected errors as one line, and exit with their code.

    Unexpected exceptions are not caught, so Python prints their traceback.

    Args:
        command: The command.
        verbose: Print the traceback of an expected error before its line.
    """
    token = _is_verbose.set(verbose)
    try:
        with no_silent_exit():
            _run_with_error_lines(_with_tracebacks(command) if verbose else command)
    except KeyboardInterrupt:
        _print_error("stopped")
        raise CommandExit(130) from None
    except BrokenPipeError:  # the reader of a pipe has closed it, as `head` does
        sys.stderr.close()
        raise CommandExit(1) from None
    finally:
        _is_verbose.reset(token)


def prints_tracebacks() -> bool:
    """Return True if the command that runs prints the tracebacks of expected errors."""
    return _is_verbose.get()


def exit_with_error(message: str, code: int = 2) -> NoReturn:
    """Print one line to stderr and exit. The default code means wrong input."""
    _print_error(f"rl_lab: {message}")
    raise CommandExit(code)


@contextmanager
def no_silent_exit(advice: Callable[[], str] = lambda: "") -> Iterator[None]:
    """Inside a `with` block, `os._exit(0)` in this process prints one line and exits with code 1.

    An environment or an imported module must not end an unfinished command as if it had succeeded. Forked children, and
    other exit codes, are not affected.

    Args:
        advice: Returns the end of the line, such as the command that continues a run.
    """
    original = os._exit
    process_id = os.getpid()
    is_active = True

    def checked_exit(code: int) -> NoReturn:
        if code == 0 and is_active and os.getpid() == process_id:
            caller = sys._getframe(1)
            place = f"{caller.f_code.co_filename}:{caller.f_lineno}"
            with suppress(Exception):  # the process must end in any case
                _print_error(f"rl_lab: {place} called os._exit(0){advice()}")
            code = 1
        original(code)

    os._exit = checked_exit
    try:
        yield
    finally:
        is_active = False
        if os._exit is checked_exit:
            os._exit = original


def describe_exit(stop: SystemExit) -> str:
    """Return which line of code called `sys.exit`."""
    frames = _frames_of(stop)
    place = "the program"
    if frames:
        frame, line = frames[-1]
        place = f"{frame.f_code.co_filename}:{line}"
    return f"{place} called sys.exit({stop.code!r})"


def _frames_of(stop: SystemExit) -> list[tuple[FrameType, int]]:
    """Return the frames, with their lines, up to the call of `sys.exit`.

    W&B replaces `sys.exit` by a function of its own, whose frame is left out.
    """
    frames = traceback.walk_tb(stop.__traceback__)
    return [(frame, line) for frame, line in frames if frame.f_globals.get("__name__") != WANDB_EXIT]


def _run_with_error_lines(command: Callable[[], None]) -> None:
    """Call a command, and exit with one line if it raises an expected error."""
    try:
        command()
    except USER_ERRORS as error:
        exit_with_error(str(error))
    except FAULTS as fault:
        exit_with_error(str(fault), 1)
    except CommandExit:
        raise
    except SystemExit as stop:
        if _is_from_parser(stop):
            raise
        exit_with_error(describe_exit(stop), 1)
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        file = f": {error.filename}" if error.filename else ""
        exit_with_error(f"{error.strerror}{file}", 1)


def _with_tracebacks(command: Callable[[], None]) -> Callable[[], None]:
    """Return a command that prints the traceback of an expected error, with the errors that caused it."""

    def traced_command() -> None:
        try:
            command()
        except (*USER_ERRORS, *FAULTS):
            traceback.print_exc()
            raise

    return traced_command


def _is_from_parser(stop: SystemExit) -> bool:
    """Return True if a parser of options has raised the exception."""
    frames = _frames_of(stop)
    if not frames:
        return False
    innermost, _ = frames[-1]
    module = str(innermost.f_globals.get("__name__", ""))
    return module.split(".")[0] in PARSERS


def _print_error(line: str) -> None:
    """Print a line to stderr. An error stream that is lost must not hide the exit code."""
    with suppress(OSError, ValueError):
        print_line(line, file=sys.stderr)
