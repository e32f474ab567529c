"""A watchdog that ends a process whose environments hang."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

import psutil


class Watchdog:
    """Ends the process when nothing has moved for `seconds`: an emulator that hangs cannot be interrupted from Python.

    It counts its own ticks and not the clock, so that a process that was suspended is not taken for one that hangs.
    """

    def __init__(self, seconds: float, last_words: Callable[[], str]) -> None:
        self.seconds, self.last_words = seconds, last_words
        self.silent_ticks = 0
        self.over = threading.Event()

    def pat(self) -> None:
        """Say that something moved."""
        self.silent_ticks = 0

    def __enter__(self) -> Watchdog:
        if self.seconds:
            self.silent_ticks, self.over = 0, threading.Event()
            threading.Thread(target=self._watch, args=(self.over,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()

    def _watch(self, over: threading.Event) -> None:
        tick = min(1.0, self.seconds / 4)
        while not over.wait(tick):
            self.silent_ticks += 1
            if self.silent_ticks * tick > self.seconds:
                print(self.last_words(), file=sys.stderr, flush=True)
                for child in psutil.Process().children(recursive=True):
                    child.kill()
                os._exit(1)
