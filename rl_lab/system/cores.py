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
