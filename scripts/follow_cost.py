"""Measure how much a viewer slows down the training that it follows.

    python scripts/follow_cost.py --rounds 4 --seconds 60

DQN trains on Pong. In each round, its speed is measured first alone and then beside `watch --follow --web` with one
client of the page. The script prints both speeds in agent steps per second and their ratio for each round, and the
median ratio.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import IO

import numpy as np

RL_LAB = [sys.executable, "-m", "rl_lab"]
TRAIN_OPTIONS = (
    "--env Pong --steps 10000000 --learning-starts 2000 --eval-every 0 --checkpoint-every 2000 --log-every 100"
    " --wandb disabled"
)
VIEWER_START_SECONDS = 5  # until the viewer shows frames at its full rate


def main() -> None:
    """Train, and measure all rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=60.0, help="duration of each measurement")
    options = parser.parse_args()
    ratios: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        command = [*RL_LAB, "train", "dqn", *TRAIN_OPTIONS.split(), "--runs-dir", folder]
        training = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while len(ratios) < options.rounds:
                ratios.append(measure_round(Path(folder), options.seconds))
        finally:
            training.terminate()
            training.wait()
    print(f"ratio: median {np.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")


def measure_round(runs_dir: Path, seconds: float) -> float:
    """Return the training speed beside a viewer divided by the speed without a viewer."""
    while not list(runs_dir.glob("*/*/*/checkpoints/step-*")):
        time.sleep(1)
    speed_alone = measure_speed(runs_dir, seconds)
    watch = ["watch", "latest", "--follow", "--web", "--port", "0", "--runs-dir", str(runs_dir)]
    viewer = subprocess.Popen([*RL_LAB, *watch], stdout=subprocess.PIPE, text=True)
    try:
        assert viewer.stdout is not None
        frames = urllib.request.urlopen(f"{read_address(viewer.stdout)}pictures")
        threading.Thread(target=read_to_end, args=(frames,), daemon=True).start()
        time.sleep(VIEWER_START_SECONDS)
        speed_beside = measure_speed(runs_dir, seconds)
    finally:
        viewer.kill()
        viewer.communicate()
    ratio = speed_beside / speed_alone
    print(f"alone {speed_alone:.1f}, beside a viewer {speed_beside:.1f} steps/s: {ratio:.3f}", flush=True)
    return ratio


def read_address(output: IO[str]) -> str:
    """Return the address of the page, which the viewer prints."""
    for line in output:
        match = re.search(r"http://\S+", line)
        if match is not None:
            return match[0]
    raise SystemExit("the viewer ended before it printed its address")


def read_to_end(stream: IO[bytes]) -> None:
    """Read the frames as a browser does, until the viewer ends."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        while stream.read(65536):
            pass


def measure_speed(runs_dir: Path, seconds: float) -> float:
    """Return the agent steps per second of wall-clock time during the next `seconds`."""
    first_step, first_seconds = read_progress(runs_dir)
    time.sleep(seconds)
    last_step, last_seconds = read_progress(runs_dir)
    return (last_step - first_step) / (last_seconds - first_seconds)


def read_progress(runs_dir: Path) -> tuple[int, float]:
    """Return the agent step and the wall-clock seconds of the last line of metrics.jsonl."""
    (path,) = runs_dir.glob("*/*/*/metrics.jsonl")
    metrics = json.loads(path.read_text().splitlines()[-1])
    return metrics["global_step"], metrics["time/minutes"] * 60


if __name__ == "__main__":
    main()
