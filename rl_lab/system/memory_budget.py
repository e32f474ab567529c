"""Free memory of a device, and how the C library handles freed memory."""

from __future__ import annotations

import contextlib
import ctypes

import psutil
import torch

from rl_lab.errors import LabError
from rl_lab.system.container import container_free_memory

RESERVE = 2**29
"""Bytes that must remain free beside the replay."""

M_MMAP_THRESHOLD = -3  # constants of glibc's malloc.h
M_TRIM_THRESHOLD = -1


def free_memory(device: torch.device) -> int:
    """Return the bytes that can be allocated on the device now, within the limit of a container."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    limit = container_free_memory()
    return free if limit is None else min(free, limit)


def check_memory(needed: int, device: torch.device) -> None:
    """Raise LabError if a replay of `needed` bytes would leave less than `RESERVE` bytes free."""
    free = free_memory(device)
    if needed + RESERVE > free:
        raise LabError(
            f"the replay needs {needed / 1e9:.2f} GB and {device} has {free / 1e9:.2f} GB free; lower replay_size"
        )


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks of up to 64 MB for later allocations. Other C libraries are left unchanged.

    By default glibc returns the memory of a network's activations to Linux after every update, and Linux zeroes each
    page when it is allocated again. In a DQN update with a batch of 32, this causes 800 page faults and takes a tenth
    of the time.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 64 * 2**20)
        libc.mallopt(M_TRIM_THRESHOLD, 512 * 2**20)
