"""Runs that are trained in processes of their own, for scripts that train many runs and continue after an interruption.

A run has a folder, which holds the folder of rl_lab's run, the command and the commits of the code. If a script is
interrupted, the processes save checkpoints. The next call of the script resumes the runs that can be resumed.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parent.parent
RL_LAB = (sys.executable, "-m", "rl_lab")
REFUSED = 2  # exit code of wrong input
INTERRUPTED = 130  # exit code of a process that Ctrl-C ended
IN_USE = " is being trained by process "  # text of the message of a run that another process trains
POLL_SECONDS = 1.0  # between two questions whether a process is to be stopped
FAST_FORMATS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16"}  # flag in /proc/cpuinfo -> name
SAVE_SECONDS = 600.0  # that a stopped process may take to save its checkpoint

Training = TypeVar("Training")

file_lock = Lock()  # only one thread at a time changes a file of results
_is_interrupted = Event()  # no process may start any more
_processes: set[subprocess.Popen[str]] = set()  # that run now


def train_all(train: Callable[[Training], bool], trainings: Iterable[Training], jobs: int) -> bool:
    """Call `train` for each training, `jobs` of them side by side. Return False if a call returned False.

    Raises:
        KeyboardInterrupt: Ctrl-C or `signal.default_int_handler`. All processes have saved their checkpoints.
    """
    pool = ThreadPoolExecutor(jobs)
    try:
        return all(list(pool.map(train, trainings)))
    except KeyboardInterrupt:
        _is_interrupted.set()
        for process in list(_processes):
            process.terminate()  # the run saves a checkpoint
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def train_or_resume(
    command: Sequence[str],
    folder: Path,
    environment: dict[str, str],
    *,
    record: str,
    is_resumable: bool,
    should_stop: Callable[[], bool] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Train a run in a process of its own, or resume the run that an earlier call has left in the folder.

    Args:
        command: The command that trains the run.
        folder: Folder of the run. An unfinished run in the folder that cannot be resumed is deleted.
        environment: Environment variables of the process.
        record: Text that identifies the run. A run with another text is not resumed.
        is_resumable: The agent's runs can be resumed.
        should_stop: As for `run_process`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    recorded = folder / "command.txt"
    is_same = recorded.exists() and recorded.read_text() == record
    runs = run_folders(folder)
    if is_same and is_resumable and len(runs) == 1 and any((runs[0] / "checkpoints").glob("*")):
        record_commit(folder)
        done = run_process([*RL_LAB, "resume", str(runs[0])], folder, environment, should_stop)
        if done.returncode != REFUSED or IN_USE in done.stderr:  # the run stays, and can be resumed again
            return done
    shutil.rmtree(folder)
    folder.mkdir()
    recorded.write_text(record)
    record_commit(folder)
    return run_process(command, folder, environment, should_stop)


def run_process(
    command: Sequence[str],
    folder: Path,
    environment: dict[str, str],
    should_stop: Callable[[], bool] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, because some environments write files into the working directory.

    Args:
        command: The command.
        folder: Working directory.
        environment: Environment variables.
        should_stop: Called every POLL_SECONDS. The process receives SIGTERM when the function returns True.
    """
    pipe = subprocess.PIPE
    if _is_interrupted.is_set():
        return subprocess.CompletedProcess(command, INTERRUPTED, "", "interrupted")
    # A session of its own: a signal to the process group of the script would otherwise reach the run twice, and the
    # second signal ends a run without a checkpoint.
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        _processes.add(process)
        if _is_interrupted.is_set():  # the interruption came after the first check
            process.terminate()
        stdout, stderr = _communicate(process, should_stop)
        _processes.remove(process)
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


@contextmanager
def single_instance(folder: Path) -> Iterator[None]:
    """Hold a lock in a folder, so that only one process trains at a time. Exit if another process holds the lock."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"another process of this script is training; it holds {folder / 'lock'}")
        yield


def run_folders(folder: Path) -> list[Path]:
    """Return the folders of rl_lab's runs in the folder of a run: none or one."""
    return [path.parent for path in folder.glob("*/*/*/metrics.jsonl")]


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Return the lines of metrics.jsonl of a run. The last line is left out if it is still being written."""
    path = run / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def read_evaluations(run: Path) -> list[dict[str, Any]]:
    """Return the evaluations of a run: lines of metrics.jsonl."""
    return [line for line in read_metrics(run) if "eval/return_mean" in line]


def record_commit(folder: Path) -> None:
    """Add the commit of the code to those of a run. A run that was resumed may have several."""
    path = folder / "commits.txt"
    commits = path.read_text().split() if path.exists() else []
    path.write_text("\n".join(dict.fromkeys([*commits, commit()])) + "\n")


def recorded_commits(folder: Path) -> str:
    """Return the commits of the code that trained a run, separated by spaces."""
    return " ".join((folder / "commits.txt").read_text().split())


def read_topic_file(path: Path) -> dict[str, Any]:
    """Return the content of a file of results, or an empty dict."""
    return json.loads(path.read_text()) if path.exists() else {}


def find_group(topic: dict[str, Any], group: dict[str, Any], fields: Sequence[str]) -> dict[str, Any] | None:
    """Return the group of a file of results that agrees with `group` in these fields, or None."""
    for old in topic.get("groups", ()):
        if all(old[field] == group[field] for field in fields):
            return old
    return None


def add_run(topic: dict[str, Any], group: dict[str, Any], result: dict[str, Any], fields: Sequence[str]) -> None:
    """Add a run to the group that agrees with `group` in these fields, or to a new group."""
    old = find_group(topic, group, fields)
    if old is None:
        topic["groups"].append({**group, "runs": [result]})
    else:
        old["runs"] = sorted([*old["runs"], result], key=lambda run: run["seed"])


def replace_file(path: Path, text: str) -> None:
    """Write a file. The new file replaces the old one at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def commit() -> str:
    """Return the commit of the code, with -dirty if files differ from it."""
    words = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stdout.strip() or "unknown"


def machine() -> str:
    """Return a description of this machine: cores and processor."""
    models = cpu_info("model name")
    cpu = models or platform.processor() or platform.machine()
    return f"{os.cpu_count()} cores, {cpu}"


def fast_formats() -> list[str]:
    """Return the fast number formats of this processor: AMX and AVX512-BF16 for matrix products in bfloat16."""
    flags = cpu_info("flags").split()
    return [name for flag, name in FAST_FORMATS.items() if flag in flags]


def cpu_info(name: str) -> str:
    """Return the value of the first line of /proc/cpuinfo with this name, or an empty text."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _communicate(process: subprocess.Popen[str], should_stop: Callable[[], bool] | None) -> tuple[str, str]:
    """Wait for the end of a process, and stop the process when `should_stop` says so. Return its stdout and stderr."""
    stopped_at: float | None = None
    while True:
        try:
            return process.communicate(timeout=POLL_SECONDS if should_stop else None)
        except subprocess.TimeoutExpired:
            assert should_stop is not None
        if stopped_at is None and should_stop():
            process.terminate()
            stopped_at = time.monotonic()
        elif stopped_at is not None and time.monotonic() - stopped_at > SAVE_SECONDS:
            process.kill()
