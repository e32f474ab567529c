"""Processor cores."""

from __future__ import annotations

import os

from rl_lab.system.container import container_cores


def num_cores() -> int:
    """Return the processor cores that this process may use: the minimum of its affinity and the container's limit."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # absent on macOS
        cores = len(os.sched_getaffinity(0))
    limit = container_cores()
    return cores if limit is None else min(cores, limit)


def share_of_cores(*, runs: int = 1, reserved: int = 0) -> int:
    """Return the threads of each of several runs side by side, at least 1. Threads that share a core would wait.

    Args:
        runs: Runs that train at the same time.
        reserved: Cores that other processes need, such as the collectors of the run.
    """
    return max(1, (num_cores() - reserved) // runs)
