"""The machine: which device trains, what it computes fast in, and how much memory is free."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import torch

from rl_lab.errors import LabError

Bytes = int
CGROUP = Path("/sys/fs/cgroup")  # where Linux tells a container what it may take


def resolve_device(name: str) -> torch.device:
    """The device called `name`; "auto" is cuda, else mps, else cpu. Raises LabError where there is none."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(n for n, there in available.items() if there)
    if not available[name]:
        here = ", ".join(n for n, there in available.items() if there)
        raise LabError(f"device {name} is not on this machine; there is: {here}")
    return torch.device(name)


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """The number format called `name`; "auto" is bfloat16 where the device is fast at it, else float32."""
    if name == "auto":
        return torch.bfloat16 if bfloat16_speedup(device) > 1.5 else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


@cache
def bfloat16_speedup(device: torch.device, size: int = 384) -> float:
    """How much faster than float32 the device multiplies bfloat16 matrices: measured on the CPU, which may emulate it."""
    if device.type == "cuda":
        return 2.0 if torch.cuda.is_bf16_supported(including_emulation=False) else 0.5
    if device.type == "mps":
        return 1.0

    def seconds(dtype: torch.dtype) -> float:
        a = torch.ones(size, size, dtype=dtype)
        best = float("inf")
        for _ in range(5):  # the first one makes the kernel
            start = time.perf_counter()
            torch.mm(a, a)
            best = min(best, time.perf_counter() - start)
        return best

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several would wait for each other wherever another process has a core
    try:
        return seconds(torch.float32) / seconds(torch.bfloat16)
    finally:
        torch.set_num_threads(threads)


def num_cores() -> int:
    """The cores that this process may use: by its affinity, and by its container's share of processor time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if (CGROUP / "cpu.max").exists():
        quota, period = (CGROUP / "cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def on_device(array: Any, device: torch.device) -> torch.Tensor:
    """The array as a tensor there; on its way to a GPU from pinned memory, for which nobody waits. On the CPU nothing is copied."""
    tensor = torch.as_tensor(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def keep_freed_memory() -> None:
    """Let glibc keep blocks up to 64 MB that were freed, where it is the C library.

    By default it gives a network's activations back to the system after each update and asks for them again, zeroed page by
    page: 800 page faults and a tenth of the time of a batch-32 update.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 64 * 2**20)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 512 * 2**20)  # M_TRIM_THRESHOLD


def free_memory(device: torch.device) -> Bytes:
    """Bytes that can be allocated on the device now, within the limit of a container."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    if (CGROUP / "memory.max").exists() and (limit := (CGROUP / "memory.max").read_text().strip()).isdigit():
        stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        used = int((CGROUP / "memory.current").read_text()) - int(stat.get("inactive_file", 0))  # its cache can go
        free = min(free, int(limit) - used)
    return free


def check_memory(needed: Bytes, device: torch.device) -> None:
    """Raise LabError where a replay of `needed` bytes leaves less than half a gigabyte free."""
    free = free_memory(device)
    if needed + 2**29 > free:
        raise LabError(
            f"the replay needs {needed / 1e9:.2f} GB and {device} has {free / 1e9:.2f} GB free; lower replay_size"
        )


def has_display() -> bool:
    """Whether this process can open a window."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
