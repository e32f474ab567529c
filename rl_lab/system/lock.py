"""A lock on a run folder: one training process at a time."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rl_lab.errors import LabError


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
