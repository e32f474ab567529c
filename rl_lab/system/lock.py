"""A lock on a run folder, so that only one process trains the run."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rl_lab.errors import LabError

RETRY_SECONDS = 0.2


@contextmanager
def lock_run(run: Path, *, timeout: float = RETRY_SECONDS) -> Iterator[None]:
    """Hold the lock of a run folder. The kernel releases the lock when the process ends, even after a crash.

    Args:
        run: The run folder. The file `lock` in the folder holds the process id of the owner.
        timeout: Seconds to wait for another process to release the lock. `is_locked` holds it for a moment.

    Raises:
        LabError: Another process holds the lock, the folder is not writable, or its file system has no locks.
    """
    try:
        file = (run / "lock").open("a+")
    except OSError as error:
        raise LabError(f"{run} cannot be written: {error.strerror}") from error
    with file:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(RETRY_SECONDS)
                    continue
                file.seek(0)
                owner = file.read().strip()
                raise LabError(f"{run} is being trained by process {owner}; wait for it or stop it") from None
            except OSError as error:  # some network file systems have no locks
                raise LabError(f"{run} cannot be locked: {error.strerror}") from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def is_locked(run: Path) -> bool:
    """Return True if a process trains the run. False if the file system has no locks."""
    try:
        file = os.open(run / "lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # there is no such file: the run was never trained here
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # the file system has no locks, so no process could train the run
        return False
    finally:
        os.close(file)
    return False
