"""A watchdog that ends the process if the environments hang."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

import psutil


class Watchdog:
    """Ends the process if `reset` is not called for a number of seconds.

    Use it as a context manager; it watches inside the `with` block. Python cannot interrupt an emulator that hangs in C
    code, so the process and its children are killed. The watchdog counts its own ticks instead of reading a clock,
    because a process that was suspended for hours must not be killed when it continues.
    """

    def __init__(self, seconds: float, message: Callable[[], str]) -> None:
        """Create a watchdog.

        Args:
            seconds: Seconds without a call of `reset` after which the process ends with exit code 1. 0 means never.
            message: Returns the text that is printed to stderr before the process ends.
        """
        self.seconds = seconds
        self.message = message
        self.silent_ticks = 0  # ticks since the last call of `reset`
        self.finished = threading.Event()

    def reset(self) -> None:
        """Report progress: start counting from 0 again."""
        self.silent_ticks = 0

    def __enter__(self) -> Watchdog:
        if self.seconds:
            self.silent_ticks = 0
            self.finished = threading.Event()
            threading.Thread(target=self._watch, args=(self.finished,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finished.set()

    def _watch(self, finished: threading.Event) -> None:
        """Count ticks until `finished` is set; end the process if there are too many."""
        tick_seconds = min(1.0, self.seconds / 4)
        while not finished.wait(tick_seconds):
            self.silent_ticks += 1
            if self.silent_ticks * tick_seconds > self.seconds:
                print(self.message(), file=sys.stderr, flush=True)
                for child in psutil.Process().children(recursive=True):
                    child.kill()
                os._exit(1)
