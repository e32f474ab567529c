"""A watchdog that ends the process if the environments hang."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

from rl_lab.system.printable import print_line


class Watchdog:
    """Ends the process if `reset` is not called for a number of seconds inside a `with` block.

    Python cannot interrupt an emulator that hangs in C code, so the process and its children are killed.

    A thread counts ticks: it sleeps for `tick_seconds` and then adds one. The thread does not compare clock times,
    because a process that was suspended for hours must not be killed when it continues. No tick passes in a suspended
    process.
    """

    def __init__(self, seconds: float, message: Callable[[], str]) -> None:
        """Create a watchdog.

        Args:
            seconds: Seconds without a call of `reset` after which the process ends with exit code 1. 0 disables the
                watchdog.
            message: Function that returns the text to print to stderr before the process ends.
        """
        self.seconds = seconds
        self.message = message
        self.silent_ticks = 0  # ticks since the last call of `reset`
        self.is_paused = False
        self.finished = threading.Event()  # set at the end of the `with` block; each block has a new event

    def reset(self) -> None:
        """Set the count of ticks to 0. Call this method after every sign of progress."""
        self.silent_ticks = 0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Count no ticks inside a `with` block, in which the environments do not step. Count from 0 again after it."""
        self.is_paused = True
        try:
            yield
        finally:
            self.silent_ticks = 0
            self.is_paused = False

    def __enter__(self) -> Watchdog:
        if self.seconds:
            self.silent_ticks = 0
            self.finished = threading.Event()
            threading.Thread(target=self._watch, args=(self.finished,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finished.set()

    def _watch(self, finished: threading.Event) -> None:
        """Count ticks until `finished` is set. End the process if `seconds` have passed since the last `reset`."""
        tick_seconds = min(1.0, self.seconds / 4)
        while not finished.wait(tick_seconds):
            if self.is_paused:
                continue
            self.silent_ticks += 1
            if self.silent_ticks * tick_seconds > self.seconds:
                self._end_process()

    def _end_process(self) -> None:
        """Print the message, and end the process and its children."""
        print_line(self.message(), file=sys.stderr)
        for child in psutil.Process().children(recursive=True):
            child.kill()
        os._exit(1)
