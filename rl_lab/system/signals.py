"""Ctrl-C, SIGTERM and SIGHUP as requests to stop."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


def stop_signal_numbers() -> list[int]:
    """Return the signals that ask a program to stop: SIGINT, SIGTERM and SIGHUP, which a lost terminal sends.

    SIGHUP is left out if this process ignores it: `nohup` starts programs in this way.
    """
    numbers: list[int] = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers


@contextmanager
def stop_signals(on_signal: Callable[[int], None]) -> Iterator[None]:
    """Call `on_signal` with the signal number at the first SIGINT, SIGTERM or SIGHUP.

    A second SIGINT or SIGTERM has its usual effect. Further SIGHUPs have none, because a lost terminal may send two of
    them: one comes from the system, and one from the shell.

    Python handles signals in the main thread only; in other threads this context manager has no effect.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: set[int] = set()

    def handle(number: int, frame: object) -> None:
        if number != signal.SIGHUP:
            signal.signal(number, previous[number])
        if number not in received:
            received.add(number)
            on_signal(number)

    with handled_signals(handle) as previous:
        yield


@contextmanager
def stop_signals_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt inside a `with` block, as SIGINT does.

    SDL, with which pygame draws, takes over SIGINT and SIGTERM if they have no handler, and ignores them.

    Python handles signals in the main thread only; in other threads this context manager has no effect.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    with handled_signals(interrupt):
        yield


class SignalRecord:
    """Signals that arrived in this process, whichever handler received them.

    Args:
        reader: The reading end of a socket pair. Python writes the number of each signal to the other end.
    """

    def __init__(self, reader: socket.socket) -> None:
        self._reader = reader
        self._received: list[int] = []

    def received(self) -> list[int]:
        """Return the numbers of the signals in the order of their arrival."""
        with suppress(BlockingIOError):  # raised if there is no further signal
            self._received += self._reader.recv(4096)
        return self._received


@contextmanager
def recorded_signals() -> Iterator[SignalRecord]:
    """Record the signals that arrive inside a `with` block of the main thread and have a handler in Python.

    The record is complete even if a library replaces the handlers, as Ray Tune does with that of SIGINT.
    """
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        previous = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield SignalRecord(reader)
        finally:
            signal.set_wakeup_fd(previous)


@contextmanager
def hangup_blocked() -> Iterator[None]:
    """Block SIGHUP in the processes that are started inside a `with` block; they inherit this.

    A lost terminal sends SIGHUP to all processes of its foreground group. This process needs its helpers to save.
    """
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


@contextmanager
def handled_signals(handler: Callable[[int, object], None]) -> Iterator[dict[int, signal.Handlers]]:
    """Handle the signals of `stop_signal_numbers` inside a `with` block of the main thread.

    Yields:
        The previous handlers by signal. The block ends with these handlers.
    """
    previous: dict[int, signal.Handlers] = {}
    try:
        for number in stop_signal_numbers():
            # None: a library in C has set the previous handler, which Python can neither name nor restore.
            previous[number] = signal.signal(number, handler) or signal.SIG_DFL  # type: ignore[assignment]
        yield previous
    finally:
        for number, previous_handler in previous.items():
            signal.signal(number, previous_handler)
