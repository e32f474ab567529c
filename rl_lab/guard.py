"""What keeps a run safe: a lock on its folder, a watch on its environments, a look at the disk."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from rl_lab.errors import LabError


@contextmanager
def lock(run: Path) -> Iterator[None]:
    """Keep a second process from training in the same folder; the lock of a process that is gone is taken over.

    Raises LabError where another one holds it.
    """
    path, me = run / "lock", psutil.Process()
    mine = json.dumps({"pid": me.pid, "started": me.create_time()})
    while True:
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            break
        except FileExistsError:
            if pid := _holder(path):
                raise LabError(f"{run} is being trained by process {pid}; wait for it or stop it") from None
            path.unlink(missing_ok=True)
    with os.fdopen(handle, "w") as file:
        file.write(mine)
    try:
        yield
    finally:
        if path.exists() and path.read_text() == mine:
            path.unlink()


def _holder(path: Path) -> int | None:
    """The process that holds a lock, if it still runs."""
    try:
        data = json.loads(path.read_text())
        process = psutil.Process(data["pid"])
        return data["pid"] if abs(process.create_time() - data["started"]) < 1 else None
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None


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
