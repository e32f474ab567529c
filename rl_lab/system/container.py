"""Limits that a Linux container (cgroup v2) sets for its processes."""

from __future__ import annotations

from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
"""Folder in which Linux describes the limits."""


def container_cores() -> int | None:
    """Return the processor cores that the container may use, rounded down but at least 1. None means no limit."""
    path = CGROUP / "cpu.max"
    if not path.exists():
        return None
    quota, period = path.read_text().split()  # microseconds of processor time in each period, or "max"
    if quota == "max":
        return None
    return max(1, int(quota) // int(period))


def container_free_memory() -> int | None:
    """Return the bytes that the container can still allocate. None means no limit."""
    path = CGROUP / "memory.max"
    if not path.exists():
        return None
    limit = path.read_text().strip()  # bytes, or "max"
    if not limit.isdigit():
        return None
    statistics = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
    reclaimable = int(statistics.get("inactive_file", 0))  # file cache, which Linux frees when memory is needed
    used = int((CGROUP / "memory.current").read_text()) - reclaimable
    return int(limit) - used
