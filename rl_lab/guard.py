"""What keeps a run safe: a lock on its folder, a watch on its environments, a look at the disk, an orderly stop, a last word."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import torch

from rl_lab import checkpoint
from rl_lab.cli import as_typed
from rl_lab.errors import Fault, LabError
from rl_lab.registry import is_resumable
from rl_lab.run import Run


@contextmanager
def lock(run: Path, *, patience: float = 0) -> Iterator[None]:
    """Keep a second process from training in the same folder; the kernel frees the lock when its process ends, however.

    Raises LabError where another process holds it, for `patience` seconds, or where the folder cannot be written.
    """
    try:
        file = (run / "lock").open("a+")
    except OSError as error:
        raise LabError(f"{run} cannot be written: {error.strerror}") from error
    with file:
        until = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() < until:
                    time.sleep(0.2)
                    continue
                file.seek(0)
                owner = file.read().strip()
                raise LabError(f"{run} is being trained by process {owner}; wait for it or stop it") from None
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


def how_to_resume(run: Run) -> str:
    """The end of a message about a run that stopped too early."""
    if not checkpoint.generations(run.path):
        return f"{run} had no checkpoint yet"
    if not is_resumable(run.config.agent):
        anew = as_typed("train", run.config.agent, "--env", run.config.run.env, "--init-from", run)
        return f"begin a new run with its best network:  {anew}"
    return f"go on from the last checkpoint with:  {as_typed('resume', run)}"


@contextmanager
def faults(run: Run, device: torch.device) -> Iterator[None]:
    """Whatever breaks becomes a Fault that says how to go on; the traceback of what we did not foresee goes to a file."""
    try:
        yield
    except Fault as fault:
        raise Fault(f"{fault}; {how_to_resume(run)}") from fault
    except torch.OutOfMemoryError as error:
        advice = "lower replay_size or batch_size"
        raise Fault(f"{device} is out of memory: {advice}; {how_to_resume(run)}") from error
    except Exception as error:
        path = run.path / "traceback.txt"
        with suppress(OSError):
            path.write_text(traceback.format_exc())
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise Fault(f"{what} (see {path}); {how_to_resume(run)}") from error


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
