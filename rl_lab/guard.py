"""What keeps a run safe: a lock on its folder, a watch on its environments, a look at the disk, an orderly stop."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from rl_lab.errors import LabError


@contextmanager
def lock(run: Path) -> Iterator[None]:
    """Keep a second process from training in the same folder; the kernel frees the lock when its process ends, however.

    Raises LabError where another process holds it, or where the folder cannot be written.
    """
    try:
        file = (run / "lock").open("a+")
    except OSError as error:
        raise LabError(f"{run} cannot be written: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise LabError(f"{run} is being trained by process {file.read().strip()}; wait for it or stop it") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


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


def check_disk(folder: Path, needed: int) -> None:
    """Raise LabError where the disk of `folder` has not `needed` bytes free, and a reserve of 100 MB."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed + 10**8:
        raise LabError(
            f"a checkpoint needs {needed / 1e9:.2f} GB and the disk of {folder} has {free / 1e9:.2f} GB free"
        )


class Watchdog:
    """Ends the process when nothing has moved for `seconds`: an emulator that hangs cannot be interrupted from Python.

    It counts its own ticks and not the clock, so that a process that was suspended is not taken for one that hangs.
    """

    def __init__(self, seconds: float, last_words: Callable[[], str]) -> None:
        self.seconds, self.last_words = seconds, last_words
        self.silent_ticks = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def pat(self) -> None:
        """Say that something moved."""
        self.silent_ticks = 0

    def __enter__(self) -> Watchdog:
        if self.seconds:
            self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()

    def _watch(self) -> None:
        tick = min(1.0, self.seconds / 4)
        while not self.over.wait(tick):
            self.silent_ticks += 1
            if self.silent_ticks * tick > self.seconds:
                print(self.last_words(), file=sys.stderr, flush=True)
                for child in psutil.Process().children(recursive=True):
                    child.kill()
                os._exit(1)
