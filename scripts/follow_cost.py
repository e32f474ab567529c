"""What watching costs training: Pong trains while a viewer that follows it, with a client on its page, comes and goes in turn.

    python scripts/follow_cost.py --rounds 4 --seconds 60

Prints training's agent steps a second with and without the viewer, and their ratio for each round.
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

LAB = [sys.executable, "-m", "rl_lab"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options = (
            "--env Pong --steps 10000000 --learning-starts 2000 --eval-every 0 --checkpoint-every 2000 --log-every 100"
        )
        command = [*LAB, "train", "dqn", *options.split(), "--wandb", "disabled", "--runs-dir", folder]
        training = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            ratios = [compare(Path(folder), given.seconds) for _ in range(given.rounds)]
        finally:
            training.terminate()
            training.wait()
    print(f"ratio: median {np.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")


def compare(runs: Path, seconds: float) -> float:
    """Training's speed beside a viewer over its speed alone."""
    while not list(runs.glob("*/*/*/checkpoints/step-*")):
        time.sleep(1)
    alone = speed(runs, seconds)
    viewer = subprocess.Popen(
        [*LAB, "watch", "latest", "--follow", "--web", "--port", "0", "--runs-dir", str(runs)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert viewer.stdout is not None
        found = None
        while found is None and (line := viewer.stdout.readline()):
            found = re.search(r"http://\S+", line)
        if found is None:
            raise SystemExit("the viewer has ended")
        pictures = urllib.request.urlopen(f"{found[0]}pictures")
        threading.Thread(target=look, args=(pictures,), daemon=True).start()
        time.sleep(5)
        beside = speed(runs, seconds)
    finally:
        viewer.kill()
        viewer.communicate()
    print(f"alone {alone:.1f}, beside a viewer {beside:.1f} steps/s: {beside / alone:.3f}", flush=True)
    return beside / alone


def look(pictures: IO[bytes]) -> None:
    """Take the pictures as a browser does, until the viewer ends."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        while pictures.read(65536):
            pass


def speed(runs: Path, seconds: float) -> float:
    """Agent steps a second of wall-clock time, from now on for so many seconds."""

    def now() -> tuple[int, float]:
        (path,) = runs.glob("*/*/*/metrics.jsonl")
        last = json.loads(path.read_text().splitlines()[-1])
        return last["global_step"], last["time/minutes"] * 60

    step, at = now()
    time.sleep(seconds)
    later, then = now()
    return (later - step) / (then - at)


if __name__ == "__main__":
    main()
