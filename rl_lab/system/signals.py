"""Ctrl-C and SIGTERM as requests to stop after the current row."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_signals(ask: Callable[[int], None]) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM calls `ask` with its number; the second one acts as ever. For the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def first(number: int, frame: object) -> None:
        signal.signal(number, before[signal.Signals(number)])
        ask(number)

    before = {s: signal.signal(s, first) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
