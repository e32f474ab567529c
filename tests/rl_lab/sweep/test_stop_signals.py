"""Tests that Ctrl-C and a lost terminal stop a sweep in order: Ray's processes stay until everything is saved."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SWEEP = "sweep grid --agents dqn --envs CartPole-v1 --seeds 1..9 --steps 10000000 --group study --wandb disabled"
SETTINGS = "--learning-starts 200 --checkpoint-every 1000 --eval-every 0 --eval-episodes 1"


@pytest.mark.slow
@pytest.mark.parametrize(("signals", "exit_code"), [([signal.SIGINT], 130), ([signal.SIGHUP, signal.SIGHUP], 129)])
def test_signals_to_the_process_group_stop_a_sweep(tmp_path: Path, signals: list[int], exit_code: int):
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
        for number in signals:
            os.killpg(process.pid, number)
        out, err = process.communicate(timeout=100)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert process.returncode == exit_code, out + err
    assert "stopped; continue with:  python -m rl_lab sweep resume" in out
    assert " done" not in out
    assert "ended early" not in out
    assert "next:" not in out
