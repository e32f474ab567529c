"""Ctrl-C and SIGTERM as requests to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_signals(on_signal: Callable[[int], None]) -> Iterator[None]:
    """Call `on_signal` with the signal number at the first SIGINT or SIGTERM. A second signal has its usual effect.

    Python handles signals in the main thread only; in other threads this context manager has no effect.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle_first(number: int, frame: object) -> None:
        signal.signal(number, handlers[signal.Signals(number)])
        on_signal(number)

    handlers = {number: signal.signal(number, handle_first) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
