"""Tests of Ctrl-C with environments in processes of their own: a real SIGINT to the whole process group."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
COMMAND = [sys.executable, "-u", "-m", "rl_lab"]
TRAIN = """train dqn --env odd_envs:Grey-v0 --steps 1000000 --num-envs 2 --eval-every 50 --eval-episodes 1
    --learning-starts 1000000 --replay-size 2000 --checkpoint-every 0 --checkpoint-minutes 0 --wandb disabled
    --runs-dir runs --epsilon-steps 1000"""


@contextmanager
def started(command: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a command as the leader of a new process group, as a shell does. Kill the group at the end."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Read lines of the output up to the first one that holds `text`. Return all of them."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"the output ended without {text!r}: {''.join(lines)}")


def group_ends(group: int, seconds: float = 10) -> bool:
    """Return True if no process of a group exists after at most so many seconds."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_ctrl_c_after_an_evaluation_stops_and_saves(tmp_path):
    with started([*COMMAND, *TRAIN.split()], tmp_path) as process:
        read_until(process, "eval at step")
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "stopped and saved; go on from the last checkpoint with:  python -m rl_lab resume" in output
    assert "Traceback" not in output
    assert list(tmp_path.glob("runs/*/*/*/checkpoints/*/state.json"))


@pytest.mark.slow
def test_ctrl_c_stops_eval_and_its_workers(tmp_path):
    train = [*COMMAND, *TRAIN.replace("1000000 --num", "60 --num").split()]
    environment = os.environ | {"PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"}
    subprocess.run(train, cwd=tmp_path, env=environment, check=True, capture_output=True)
    evaluate = [*COMMAND, "eval", "latest", "--runs-dir", "runs", "--episodes", "1000000"]
    with started(evaluate, tmp_path) as process:
        time.sleep(8)  # the command prints nothing until its episodes are played
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert group_ends(process.pid)


@pytest.mark.parametrize("vectorization", [pytest.param("sync", marks=pytest.mark.slow), "async"])
def test_train_from_python_gives_the_signal_handler_back(vectorization, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import os, signal
import odd_envs
import rl_lab
from rl_lab.errors import LabError

mine = signal.getsignal(signal.SIGINT)
run = rl_lab.train("dqn", env="odd_envs:Grey-v0", steps=40, num_envs=2, eval_every=20, eval_episodes=1,
                   vectorization={vectorization!r}, replay_size=2000, wandb="disabled", runs_dir="runs")
assert signal.getsignal(signal.SIGINT) is mine
print("once")
rl_lab.evaluate(run, episodes=1)
assert signal.getsignal(signal.SIGINT) is mine
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""
    )
    with started([sys.executable, "-u", str(script)], tmp_path) as process:
        output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    assert output.endswith("interrupted\n")
    assert output.count("once") == 1
    assert len(list(tmp_path.glob("runs/*/*/*"))) == 1
