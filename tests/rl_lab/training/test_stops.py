"""Tests of signals, lost terminals, lost readers and full disks, with training in processes of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rl_lab import checkpoint

TESTS = Path(__file__).parents[2]
LONG = 10_000_000

REGISTRATION = """
import time
import gymnasium
from toy_envs import NumberedSteps

class Slow(NumberedSteps):
    def step(self, action):
        time.sleep(3.0)
        return super().step(action)

gymnasium.register("Steps-v0", NumberedSteps)
gymnasium.register("Slow-v0", Slow)
"""


class Lab:
    """Starts training commands in a folder, each in a process group of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []
        (folder / "stops.py").write_text(REGISTRATION)

    def train(self, *args: str, env: str = "Steps", steps: int = LONG, **popen: Any) -> subprocess.Popen[str]:
        """Start `train dqn`."""
        options = "--hidden 4 --learning-starts 200 --eval-every 0 --eval-episodes 1 --log-every 100 --wandb disabled"
        command = [sys.executable, "-m", "rl_lab", "train", "dqn", "--env", f"stops:{env}-v0", "--steps", str(steps)]
        process = subprocess.Popen(
            [*command, *options.split(), *args],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(self.folder), str(TESTS)]), "COLUMNS": "200"},
            text=True,
            start_new_session=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **popen},
        )
        self.processes.append(process)
        return process

    def wait_for_rows(self, num_runs: int = 1) -> None:
        """Wait until the runs train."""
        deadline = time.monotonic() + 60
        while len([file for file in self.run_files("metrics.jsonl") if file.stat().st_size]) < num_runs:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def run_files(self, name: str) -> list[Path]:
        """Return the files of this name in all run folders."""
        return list(self.folder.glob(f"runs/*/*/*/{name}"))

    def saved_steps(self) -> int:
        """Return the agent steps of the newest checkpoint of the only run."""
        (config,) = self.run_files("config.yaml")
        generations = checkpoint.generations(config.parent)
        return checkpoint.read_state(generations[0])["steps"] if generations else 0


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Return a lab in a temporary folder, whose processes are ended after the test."""
    lab = Lab(tmp_path)
    yield lab
    for process in lab.processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def ignore_hangup() -> None:
    """Ignore SIGHUP, as `nohup` does for the program that it starts."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


@pytest.mark.parametrize(
    ("number", "vectorization"),
    [
        (signal.SIGHUP, "sync"),
        (signal.SIGHUP, "async"),
        pytest.param(signal.SIGTERM, "async", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, "async", marks=pytest.mark.slow),
    ],
)
def test_signal_to_the_process_group_saves_the_run(lab: Lab, number: int, vectorization: str):
    """A lost terminal sends SIGHUP twice: the system and the shell do."""
    process = lab.train("--vectorization", vectorization)
    lab.wait_for_rows()
    os.killpg(process.pid, number)
    if number == signal.SIGHUP:
        os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, out + err
    assert "stopped and saved; go on from the last checkpoint with:" in out
    assert err == ""
    assert lab.saved_steps() > 0


@pytest.mark.slow
def test_hangup_is_ignored_under_nohup(lab: Lab):
    process = lab.train(preexec_fn=ignore_hangup)
    lab.wait_for_rows()
    os.killpg(process.pid, signal.SIGHUP)
    time.sleep(1)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, out + err


@pytest.mark.slow
def test_second_ctrl_c_ends_at_once_and_says_how_to_resume(lab: Lab):
    process = lab.train("--num-envs", "1", "--checkpoint-every", "1", "--learning-starts", "100000", env="Slow")
    while len(lab.run_files("checkpoints/step-*/state.json")) < 1:
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "stopped without saving; go on from the last checkpoint with:  python -m rl_lab resume runs/" in out
    assert err == ""


def close_reader(process: subprocess.Popen[str]) -> None:
    """Read one line and close the pipe, as `head -1` does."""
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()


@pytest.mark.parametrize("stderr", [subprocess.STDOUT, pytest.param(subprocess.PIPE, marks=pytest.mark.slow)])
def test_training_goes_on_without_its_reader(lab: Lab, stderr: int):
    process = lab.train(steps=3000, stderr=stderr)
    close_reader(process)
    assert process.wait(60) == 0
    assert lab.saved_steps() >= 3000
    if process.stderr is not None:
        assert process.stderr.read() == ""


def test_training_goes_on_with_its_output_on_a_full_disk(lab: Lab):
    with open("/dev/full", "w") as full:
        process = lab.train(steps=3000, stdout=full, stderr=full)
        assert process.wait(60) == 0
    assert lab.saved_steps() >= 3000


@pytest.mark.slow
def test_run_without_a_reader_can_be_stopped(lab: Lab):
    process = lab.train()
    close_reader(process)
    lab.wait_for_rows()
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(60) == 143
    assert lab.saved_steps() > 0


def start_in_terminal(lab: Lab, prepare: Callable[[], None] = lambda: None, **options: Any) -> tuple[Any, int]:
    """Start a training command in a terminal of its own. Returns the process and the other end of the terminal."""
    master, slave = pty.openpty()

    def take_terminal() -> None:
        prepare()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = lab.train(stdin=slave, stdout=slave, stderr=slave, preexec_fn=take_terminal, **options)
    os.close(slave)
    return process, master


def wait_for_text(master: int, expected: str) -> None:
    """Read what a process writes to its terminal, until a text appears."""
    os.set_blocking(master, False)
    text = b""
    deadline = time.monotonic() + 60
    while expected not in text.decode(errors="replace"):
        assert time.monotonic() < deadline, text
        try:
            text += os.read(master, 65536)
        except BlockingIOError:
            time.sleep(0.05)


def test_lost_terminal_saves_the_run(lab: Lab):
    process, master = start_in_terminal(lab)
    wait_for_text(master, "run folder runs/")
    lab.wait_for_rows()
    os.close(master)
    assert process.wait(60) == 129
    assert lab.saved_steps() > 0


@pytest.mark.slow
def test_training_under_nohup_goes_on_without_its_terminal(lab: Lab):
    process, master = start_in_terminal(lab, ignore_hangup, steps=3000)
    wait_for_text(master, "run folder runs/")
    os.close(master)
    assert process.wait(120) == 0
    assert lab.saved_steps() >= 3000


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_signal_to_a_group_saves_its_runs(lab: Lab, number: int):
    process = lab.train("--seeds", "1..2", "--jobs", "2", "--group", "study")
    lab.wait_for_rows(2)
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, out + err
    assert out.startswith("group study: seeds 1, 2\n")
    assert out.count("stopped and saved; go on from the last checkpoint with:") == 2
    assert "the same command with --group study continues the group" in out
    folders = [file.parent for file in lab.run_files("config.yaml")]
    assert all(checkpoint.generations(folder) for folder in folders)


@pytest.mark.slow
def test_group_goes_on_without_its_reader(lab: Lab):
    process = lab.train("--seeds", "1..2", "--jobs", "2", steps=3000)
    close_reader(process)
    assert process.wait(120) == 0
    assert len(lab.run_files("checkpoints/best/state.json")) == 2
