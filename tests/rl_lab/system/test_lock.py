"""Tests of the lock on a run folder."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rl_lab import api
from rl_lab.errors import LabError
from rl_lab.system.lock import is_locked, lock_run

HOLD_LOCK = """
import sys, time
from pathlib import Path
from rl_lab.system.lock import lock_run
with lock_run(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def hold_lock(run: Path, seconds: float) -> subprocess.Popen[str]:
    """Return a process that holds the lock of a folder."""
    command = [sys.executable, "-c", HOLD_LOCK, str(run), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of `tmp_path`."""
    process = hold_lock(tmp_path, 60)
    yield process
    process.kill()
    process.communicate()


def test_lock_run_raises_if_another_process_holds_the_lock(holder: subprocess.Popen[str], tmp_path: Path):
    with (
        pytest.raises(LabError, match=f"is being trained by process {holder.pid}; wait for it or stop it"),
        lock_run(tmp_path),
    ):
        pass


def test_lock_run_succeeds_after_the_owner_was_killed(holder: subprocess.Popen[str], tmp_path: Path):
    holder.kill()
    holder.wait()
    with lock_run(tmp_path):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_lock_run_waits_until_the_timeout(tmp_path: Path):
    process = hold_lock(tmp_path, 0.5)
    start = time.monotonic()
    with lock_run(tmp_path, timeout=60):
        assert time.monotonic() - start < 50
    process.communicate()


def test_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(LabError, match=f"{tmp_path} cannot be locked: No locks available"), lock_run(tmp_path):
        pass
    assert not is_locked(tmp_path)


def test_resume_of_a_locked_run_leaves_its_configuration_unchanged(train):
    run = train(steps=300)
    process = hold_lock(run.path, 60)
    try:
        with pytest.raises(LabError, match="is being trained by process"):
            api.resume(run, steps=400, quiet=True)
        assert run.config.run.steps == 300
    finally:
        process.kill()
        process.communicate()
