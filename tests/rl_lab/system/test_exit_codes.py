"""Tests of the exit codes and error lines of commands."""

import errno
from collections.abc import Callable

import pytest

from agents.core.settings import ConfigError
from rl_lab.errors import Fault, LabError
from rl_lab.system.exit_codes import run_command


def raising(error: BaseException) -> Callable[[], None]:
    """Return a command that raises an exception."""

    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (LabError("no such run"), 2, "rl_lab: no such run"),
        (ConfigError("lr is -1"), 2, "rl_lab: lr is -1"),
        (Fault("the loss is nan"), 1, "rl_lab: the loss is nan"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "rl_lab: No space left on device"),
        (OSError(errno.EROFS, "Read-only file system", "x.txt"), 1, "rl_lab: Read-only file system: x.txt"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)
def test_expected_errors_are_one_line(error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        run_command(raising(error))
    assert exit_.value.code == code
    assert capsys.readouterr().err == line + "\n"


@pytest.mark.parametrize("error", [ValueError("a bug"), PermissionError(errno.EACCES, "Permission denied")])
def test_unexpected_errors_are_raised(error: Exception):
    with pytest.raises(type(error)):
        run_command(raising(error))
