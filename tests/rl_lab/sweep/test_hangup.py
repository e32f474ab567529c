"""A test that a lost terminal stops a sweep in order: Ray's processes stay until everything is saved."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rl_lab.experiment.run import Run

SWEEP = "sweep grid --agents dqn --envs CartPole-v1 --seeds 1 --steps 10000000 --group study --wandb disabled"
SETTINGS = "--learning-starts 200 --checkpoint-every 1000 --eval-every 0 --eval-episodes 1"


@pytest.mark.slow
def test_hangup_of_the_process_group_stops_a_sweep(tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-m", "rl_lab", *SWEEP.split(), *SETTINGS.split()],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("runs/*/*/*/checkpoints/step-*/state.json")):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGHUP)
        os.killpg(process.pid, signal.SIGHUP)
        out, err = process.communicate(timeout=100)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert process.returncode == 129, out + err
    assert "stopped; continue with:  python -m rl_lab sweep resume" in out
    (run,) = Run.of_group("study", tmp_path / "runs")
    assert "dqn CartPole-v1 s1 done" not in out, f"{run} has not all its steps"
