"""The end of a command whose training was stopped by a signal."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from rl_lab.system.exit_codes import CommandExit
from rl_lab.system.printable import print_line
from rl_lab.training.faults import how_to_resume
from rl_lab.training.trainer import Interrupted, StoppedWithoutSaving


@contextmanager
def exit_if_interrupted() -> Iterator[None]:
    """If a signal stops training, print how to resume the run, and exit with code 128 + the number of the signal."""
    try:
        yield
    except Interrupted as stop:
        print_line(f"stopped and saved; {how_to_resume(stop.run)}")
        raise CommandExit(128 + stop.signal) from None
    except StoppedWithoutSaving as stop:
        print_line(f"stopped without saving; {how_to_resume(stop.run)}")
        raise CommandExit(128 + signal.SIGINT) from None
