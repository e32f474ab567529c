"""A long run watched from outside: does memory stay flat, and is no descriptor and no thread leaked?

    OMP_NUM_THREADS=1 python scripts/soak.py --minutes 40 [any option of `train`, such as --agent reinforce]

Trains on Pong with 8 environments, looks at the process every 10 seconds, and prints what it saw for each tenth of the time and
how far memory moved after the warm-up (the first two fifths, in which the replay fills).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time

import numpy as np
import psutil

EVERY = 10.0  # seconds between two looks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--agent", default="dqn")
    given, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        train = f"train {given.agent} --env Pong --num-envs 8 --steps 100000000 --wandb offline --runs-dir {folder}"
        command = [sys.executable, "-m", "rl_lab", *train.split(), *options]
        training = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            rows = np.array(look(psutil.Process(training.pid), given.minutes * 60))
        finally:
            training.terminate()
            training.wait()
    print(f"exit code after SIGTERM: {training.returncode}")
    print("minutes   memory MB   descriptors   threads   children")
    for part in np.array_split(rows, 10):
        minutes, memory, descriptors, threads, children = part.mean(0)
        print(f"{minutes:7.1f}   {memory:9.1f}   {descriptors:11.1f}   {threads:7.1f}   {children:8.1f}")
    late = rows[rows[:, 0] > given.minutes * 2 / 5]
    middle = np.median(late[:, 1])
    print(
        f"after the warm-up memory stays within {100 * np.abs(late[:, 1] / middle - 1).max():.2f}% of {middle:.0f} MB"
    )


def look(process: psutil.Process, seconds: float) -> list[tuple[float, ...]]:
    """(minutes, resident MB, descriptors, threads, children) of the process, over so many seconds."""
    seen, began = [], time.monotonic()
    while time.monotonic() - began < seconds and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        time.sleep(EVERY)
        memory = process.memory_info().rss / 1e6
        threads, children = process.num_threads(), len(process.children(recursive=True))
        seen.append(((time.monotonic() - began) / 60, memory, process.num_fds(), threads, children))
    return seen


if __name__ == "__main__":
    main()
