"""Measure whether a long training leaks memory, file descriptors, threads or child processes.

    OMP_NUM_THREADS=1 python scripts/soak.py --minutes 40 [--agent ppo] [any option of `train`]

The script trains on Pong with 8 environments and samples the process every 10 seconds. It prints the mean of the
samples for each tenth of the time, and the largest deviation of the memory from its median after the warm-up. The
warm-up is the first two fifths of the time, in which the replay fills.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

import numpy as np
import psutil

SAMPLE_SECONDS = 10.0  # time between two samples
WARM_UP = 2 / 5  # share of the time


class Sample(NamedTuple):
    """Resources of a process at one time."""

    minutes: float  # since the first sample
    memory: float  # resident memory in MB
    descriptors: int
    threads: int
    children: int


def main() -> None:
    """Train for the given time and print the resources of the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--agent", default="dqn")
    options, train_options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        train = f"train {options.agent} --env Pong --num-envs 8 --steps 100000000 --wandb offline --runs-dir {folder}"
        command = [sys.executable, "-m", "rl_lab", *train.split(), *train_options]
        training = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            samples = sample_resources(psutil.Process(training.pid), options.minutes * 60)
        finally:
            training.terminate()
            training.wait()
    print(f"exit code after SIGTERM: {training.returncode}")
    print_summary(samples, options.minutes)


def sample_resources(process: psutil.Process, seconds: float) -> list[Sample]:
    """Sample the resources of a process until the time is over or the process ends."""
    samples: list[Sample] = []
    start = time.monotonic()
    while time.monotonic() - start < seconds and is_alive(process):
        time.sleep(SAMPLE_SECONDS)
        memory = process.memory_info().rss / 1e6
        threads = process.num_threads()
        children = len(process.children(recursive=True))
        minutes = (time.monotonic() - start) / 60
        samples.append(Sample(minutes, memory, process.num_fds(), threads, children))
    return samples


def is_alive(process: psutil.Process) -> bool:
    """Return True if the process has not ended."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def print_summary(samples: list[Sample], minutes: float) -> None:
    """Print a table with the mean of each tenth of the samples, and the deviation of the memory."""
    table = np.array(samples)
    print("minutes   memory MB   descriptors   threads   children")
    for part in np.array_split(table, 10):
        mean = Sample(*part.mean(0))
        print(
            f"{mean.minutes:7.1f}   {mean.memory:9.1f}   {mean.descriptors:11.1f}   {mean.threads:7.1f}"
            f"   {mean.children:8.1f}"
        )
    memory = np.array([sample.memory for sample in samples if sample.minutes > minutes * WARM_UP])
    median = np.median(memory)
    deviation = 100 * np.abs(memory / median - 1).max()
    print(f"after the warm-up, memory stays within {deviation:.2f}% of {median:.0f} MB")


if __name__ == "__main__":
    main()
